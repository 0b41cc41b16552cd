"""Replications of the blog experiments."""
