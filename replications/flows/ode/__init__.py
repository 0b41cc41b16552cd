"""Initial value problems and their gradients."""
