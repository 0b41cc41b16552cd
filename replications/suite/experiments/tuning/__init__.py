"""Experiment `suite.tuning`."""
