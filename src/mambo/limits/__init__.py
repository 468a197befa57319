"""How often: every limit in one table (`rules.py`), counted once for all workers."""
