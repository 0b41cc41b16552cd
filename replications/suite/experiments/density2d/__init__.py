"""Experiment `suite.density2d`."""
