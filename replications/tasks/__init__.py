"""What every method is tried on: data, budget, evaluation and figures; no task knows a method."""
