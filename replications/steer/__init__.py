"""STEER: simple temporal regularization for neural ODEs."""
