"""Densities carried along differential equations."""
