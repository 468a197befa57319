"""What a machine without services gets: an embedded PostgreSQL and demo content."""
