"""Experiment `flow_matching.toy`."""
