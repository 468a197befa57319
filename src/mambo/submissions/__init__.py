"""Boss battles: learners submit videos of themselves, and staff grades them."""
