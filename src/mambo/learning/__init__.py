"""What a learner does with a course: reading it with their own progress and locks, and completing lessons."""
