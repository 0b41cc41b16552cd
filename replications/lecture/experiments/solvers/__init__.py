"""Experiment `lecture.solvers`."""
