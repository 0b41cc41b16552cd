"""The one exception that stands for a fault of the input rather than of the program."""

from __future__ import annotations


class UserError(Exception):
    """A fault the user can mend: one line that names fault and mend; the command line exits with 2."""


class Unwritable(UserError):
    """A folder that is read-only or full; it ends the whole call, not only the run that met it."""


class RunFailure(Exception):
    """A run that ended early for a reason with a name of its own; the record keeps it.

    Args:
        status: the record's status, one of `diverged underflow nfe-budget`.
        message: one line.
        last_t: the integration time reached, where an integration failed.
        nfe: function evaluations spent until then, where known.
    """

    def __init__(
        self, status: str, message: str, last_t: float | None = None, nfe: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.last_t = last_t
        self.nfe = nfe
