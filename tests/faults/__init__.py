"""Attacks of a hostile or unlucky user against the real command and library, counted."""
