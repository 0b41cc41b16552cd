"""Which runs to make first, what they cost, and what they settle."""
