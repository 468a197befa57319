"""Completing lessons, and how far a learner is."""
