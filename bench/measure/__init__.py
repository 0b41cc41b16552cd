"""Instruments: clock, memory, function evaluations, environment."""
