"""What steers an integration: method, tolerances or steps, budget. Free of torch, for configs to hold it."""

from __future__ import annotations

from dataclasses import dataclass

from replications.flows.errors import RequestError

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
ONE_STEP = ("euler", "midpoint", "heun2", "heun3", "rk4")
MULTI_STEP = ("explicit_adams", "implicit_adams")
SCIPY = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")
METHODS = (*ADAPTIVE, *ONE_STEP, *MULTI_STEP, *(f"scipy:{name}" for name in SCIPY))


@dataclass(frozen=True)
class Solver:
    """How a solve of dy/dt = f(t, y) from t0 to t1 steps; its `protocol` is part of a metric's protocol id.

    An adaptive method accepts a step where rms(error / (atol + rtol max(|y|, |y_next|))) <= 1; for a tuple
    state it takes the largest rms of the parts, so that each of them steers the step.

    Args:
        method: one of torchdiffeq's, or `scipy:` and one of SciPy's (Radau, BDF, LSODA for stiff problems).
        rtol: relative tolerance; fixed steps have none, but for the corrector of `implicit_adams`.
        atol: absolute tolerance, likewise.
        steps: number of equal steps from t0 to t1, for methods with fixed steps.
        max_nfe: largest number of function evaluations of one forward solve; None for no limit.
        step_to_end: an adaptive method shortens its last step to end on t1, else it steps past it and interpolates.

    Raises:
        RequestError: unknown method, a number out of range, or steps for a method that chooses its own.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    steps: int | None = None
    max_nfe: int | None = None
    step_to_end: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RequestError(f"unknown solver method {self.method!r}; use one of {', '.join(METHODS)}")
        if self.steps is not None and not self.fixed:
            raise RequestError(f"{self.method} chooses its own steps; leave out steps={self.steps}")
        if min(self.rtol, self.atol) < 0 or self.rtol + self.atol <= 0:
            raise RequestError(f"tolerances must be positive, got rtol={self.rtol}, atol={self.atol}")
        for name, limit in (("steps", self.steps), ("max_nfe", self.max_nfe)):
            if limit is not None and limit < 1:
                raise RequestError(f"{name} must be at least 1, got {limit}")

    @property
    def fixed(self) -> bool:
        """Whether the steps are given, rather than chosen by an error estimate."""
        return self.method in ONE_STEP or self.method in MULTI_STEP

    @property
    def adaptive(self) -> bool:
        """Whether it is one of torchdiffeq's own adaptive Runge-Kutta methods."""
        return self.method in ADAPTIVE

    @property
    def protocol(self) -> str:
        """Its name in a protocol id: method, then rtol and atol, or the steps.

        >>> Solver("dopri5", rtol=1e-3, atol=1e-4).protocol, Solver("rk4", steps=100).protocol
        ('dopri5-1e-3-1e-4', 'rk4-100')
        """
        parts = [self.method]
        if self.steps is not None:
            parts.append(str(self.steps))
        if not self.fixed or self.method == "implicit_adams":
            parts += dict.fromkeys((_short(self.rtol), _short(self.atol)))
        if self.adaptive and not self.step_to_end:
            parts.append("interpolated")
        return "-".join(parts)


def _short(x: float) -> str:
    """Return a tolerance as `1e-5`, `2.5e-3`."""
    mantissa, exponent = f"{x:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
