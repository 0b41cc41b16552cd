"""FFJORD: free-form continuous dynamics for scalable reversible generative models."""
