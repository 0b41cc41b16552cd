"""Experiment `suite.mixture`."""
