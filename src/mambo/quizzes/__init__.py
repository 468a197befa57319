"""Attempts at the quizzes of lessons: graded on the server, unlimited in number over time, paid once."""
