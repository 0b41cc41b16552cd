"""Experiment `blog.crescent`."""
