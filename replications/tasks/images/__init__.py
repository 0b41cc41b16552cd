"""Density estimation on images."""
