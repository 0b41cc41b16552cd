"""Ways to the divergence of a network, and what each costs."""
