"""Density of 8 x 8 digits."""
