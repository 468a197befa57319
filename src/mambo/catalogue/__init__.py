"""The published courses, as the read model that all readers share."""
