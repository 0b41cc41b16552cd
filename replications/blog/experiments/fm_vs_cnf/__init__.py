"""Experiment `blog.fm_vs_cnf`."""
