"""Experiment `steer.tabular`."""
