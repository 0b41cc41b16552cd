"""Experiment `ot_flow.trace`."""
