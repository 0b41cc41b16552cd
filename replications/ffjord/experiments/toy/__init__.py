"""Experiment `ffjord.toy`."""
