"""Training of flows and fields."""
