"""Experiment `blog.spiral`."""
