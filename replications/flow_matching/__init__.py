"""Flow Matching and OT-CFM: velocities learned by regression, on 2-D densities and images."""
