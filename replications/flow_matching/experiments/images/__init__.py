"""Experiment `flow_matching.images`."""
