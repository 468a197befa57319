"""The published courses and lessons as visitors read them, kept in memory by each worker."""
