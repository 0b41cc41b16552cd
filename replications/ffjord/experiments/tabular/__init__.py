"""Experiment `ffjord.tabular`."""
