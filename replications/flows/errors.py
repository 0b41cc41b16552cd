"""What goes wrong in this library, by type: a request that can not be met, and a solve that fails."""

from __future__ import annotations


class RequestError(ValueError):
    """A request that can not be met: one line that names the fault and the mend."""


class SolveFailure(Exception):
    """A solve or training that ended early for a reason with a name.

    Args:
        status: the reason, one of `diverged`, `underflow`, `nfe-budget`.
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
