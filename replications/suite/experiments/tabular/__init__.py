"""Experiment `suite.tabular`."""
