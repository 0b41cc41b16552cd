"""Experiment `rnode.images`."""
