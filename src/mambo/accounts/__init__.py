"""A person's own profile, and the administration of users."""
