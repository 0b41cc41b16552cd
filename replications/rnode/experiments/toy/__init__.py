"""Experiment `rnode.toy`."""
