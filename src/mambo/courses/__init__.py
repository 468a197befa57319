"""Authoring of courses: worlds, levels, lessons, their content and order."""
