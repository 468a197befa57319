"""What is taught: worlds, levels, lessons, their content and their order."""
