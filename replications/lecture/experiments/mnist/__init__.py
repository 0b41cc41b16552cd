"""Experiment `lecture.mnist`."""
