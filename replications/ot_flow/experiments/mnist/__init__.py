"""Experiment `ot_flow.mnist`."""
