"""Experiment `steer.toy`."""
