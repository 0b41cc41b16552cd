"""Experiment `ffjord.images`."""
