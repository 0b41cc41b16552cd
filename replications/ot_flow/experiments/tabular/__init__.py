"""Experiment `ot_flow.tabular`."""
