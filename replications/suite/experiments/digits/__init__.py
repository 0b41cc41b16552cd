"""Experiment `suite.digits`."""
