"""Mutants that no test could notice, each with the reason; they are left out of the count."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {}
"""(source, text of the line, text before, text after) -> why no test can see it."""
