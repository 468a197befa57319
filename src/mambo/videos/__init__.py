"""Videos: direct uploads to Mux, and the webhook with which Mux reports on them."""
