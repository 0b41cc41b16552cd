"""Experiment `neural_ode.mnist`."""
