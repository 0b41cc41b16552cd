"""Replications of the neural_ode experiments."""
