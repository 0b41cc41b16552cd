"""Experiment `blog.adjoint_memory`."""
