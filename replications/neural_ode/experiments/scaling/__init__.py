"""Experiment `neural_ode.scaling`."""
