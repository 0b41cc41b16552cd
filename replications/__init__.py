"""Replications: one package a paper or tutorial."""
