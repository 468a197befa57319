"""Quizzes: graded here by what the lesson holds, tried again and again, paid once."""
