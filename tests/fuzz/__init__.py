"""Damaged inputs for every parser, in processes with limits, counted."""
