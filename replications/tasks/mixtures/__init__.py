"""Gaussian mixtures, whose density and whose paths from noise are known in closed form."""
