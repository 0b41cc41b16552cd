"""Experiment `neural_ode.planar_cnf`."""
