"""Density estimation on tables."""
