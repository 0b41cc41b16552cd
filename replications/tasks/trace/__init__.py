"""The trace of a Jacobian: methods to get it, what each costs, and the variance of an estimate."""
