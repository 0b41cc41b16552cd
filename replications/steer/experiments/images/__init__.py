"""Experiment `steer.images`."""
