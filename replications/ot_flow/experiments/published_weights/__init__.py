"""Experiment `ot_flow.published_weights`."""
