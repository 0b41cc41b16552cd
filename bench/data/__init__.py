"""Data sets: a checksum registry and one module a family."""
