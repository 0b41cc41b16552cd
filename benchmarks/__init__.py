"""Benchmarks for asv: costs only, lower is better."""
