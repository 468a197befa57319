"""Clients of the services that Mambo depends on: Mux, R2, Redis and SMTP, each behind a protocol."""
