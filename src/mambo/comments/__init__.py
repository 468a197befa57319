"""What people say about a lesson, and the replies to it."""
