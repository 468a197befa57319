"""Boss battles: learners send videos of themselves, and staff grades them."""
