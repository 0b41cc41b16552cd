"""Experiment `lecture.inversion`."""
