"""Metrics and the catalogue of their names, units and directions."""
