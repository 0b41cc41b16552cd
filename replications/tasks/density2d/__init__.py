"""Densities in the plane."""
