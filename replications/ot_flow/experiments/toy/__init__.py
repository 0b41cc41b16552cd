"""Experiment `ot_flow.toy`."""
