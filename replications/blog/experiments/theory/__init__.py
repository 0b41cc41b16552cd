"""Experiment `blog.theory`."""
