"""Plans runs and executes them, each in a process of its own."""
