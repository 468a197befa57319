"""Comments on lessons, and replies to them."""
