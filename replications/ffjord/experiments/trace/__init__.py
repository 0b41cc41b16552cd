"""Experiment `ffjord.trace`."""
