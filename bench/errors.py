"""The one exception that stands for a fault of the input rather than of the program."""

from __future__ import annotations


class UserError(Exception):
    """A fault the user can mend: one line that names the fault and the mend; the command line exits with 2."""
