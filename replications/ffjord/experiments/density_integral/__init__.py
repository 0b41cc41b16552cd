"""Experiment `ffjord.density_integral`."""
