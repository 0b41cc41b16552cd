"""Experiment `flow_matching.claims`."""
