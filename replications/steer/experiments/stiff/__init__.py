"""Experiment `steer.stiff`."""
