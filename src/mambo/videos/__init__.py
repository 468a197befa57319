"""Videos: direct uploads to Mux, and the webhook that reports on them."""
