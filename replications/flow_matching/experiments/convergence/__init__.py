"""Experiments `flow_matching.claims` and `blog.fm_vs_cnf`."""
