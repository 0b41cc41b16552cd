"""Sample quality behind torch-fidelity: feature extractors, cached features, and the scores of `quality`."""
