"""The experiments of a Neural ODE lecture notebook: its solver comparison and its MNIST classifier."""
