"""Experiment `rnode.tabular`."""
