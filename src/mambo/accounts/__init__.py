"""A person's own profile, and the administration of accounts by admins and by commands."""
