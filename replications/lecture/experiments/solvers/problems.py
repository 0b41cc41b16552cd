"""Initial value problems with known solutions, h' = f(t, h) on [0, t1], state `(d,)` in float64.

| name           | f(t, h)                            | h(0)   | solution                                 |
|----------------|------------------------------------|--------|------------------------------------------|
| decay          | -h                                 | 1      | e^-t                                     |
| forced         | -2 h + sin t                       | 0      | (2 sin t - cos t + e^-2t) / 5            |
| forced_printed | -2 h + sin t                       | 0      | what the lecture prints, which is wrong  |
| oscillator     | (h_2, -h_1)                        | (1, 0) | (cos t, -sin t)                          |
| logistic       | h (1 - h)                          | 1/10   | 1 / (1 + 9 e^-t)                         |
| linear         | A h, A random and stable           | random | e^(At) h(0)                              |
| stiff          | A h, eigenvalues -1 and -lambda    | (1, 0) | 2 e^-t (1, -1/2) - e^(-lambda t) (1, -1) |
| vanderpol      | (h_2, mu (1 - h_1^2) h_2 - h_1)    | (2, 0) | reference: Radau at tolerance 1e-12      |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Problem(ABC):
    """An initial value problem on [0, t1] whose solution is known."""

    name: str
    t1: float = 5.0

    @abstractmethod
    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return f(t, h), `(d,)`."""

    @abstractmethod
    def initial(self) -> Tensor:
        """Return h(0), `(d,)`."""

    @abstractmethod
    def exact(self, times: Tensor) -> Tensor:
        """Return the solution at times `(N,)`, as `(N, d)`."""


def _vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True)
class Decay(Problem):
    """The lecture's second problem; with a larger rate, the test equation of linear stability."""

    rate: float = 1.0
    t1: float = 5.0
    name = "decay"

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return -rate h."""
        return -self.rate * h

    def initial(self) -> Tensor:
        """Return (1,)."""
        return _vector(1.0)

    def exact(self, times: Tensor) -> Tensor:
        """Return e^(-rate t)."""
        return torch.exp(-self.rate * times)[:, None]


@dataclass(frozen=True)
class Forced(Problem):
    """The lecture's first problem, with its solution: h = (2 sin t - cos t + e^-2t) / 5."""

    name = "forced"

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return -2 h + sin t."""
        return -2 * h + torch.sin(t)

    def initial(self) -> Tensor:
        """Return (0,)."""
        return _vector(0.0)

    def exact(self, times: Tensor) -> Tensor:
        """Return (2 sin t - cos t + e^-2t) / 5; substitution gives h' + 2 h = sin t."""
        return ((2 * times.sin() - times.cos() + torch.exp(-2 * times)) / 5)[:, None]


@dataclass(frozen=True)
class ForcedPrinted(Forced):
    """The lecture's first problem with the formula it prints as exact, which solves another equation.

    Its sine and cosine have each other's coefficients: it satisfies h' + 2 h = (4 sin t - 3 cos t) / 5, so
    every solver that solves h' + 2 h = sin t seems to be 0.28 off.
    """

    name = "forced_printed"

    def exact(self, times: Tensor) -> Tensor:
        """Return (sin t - 2 cos t + 2 e^-2t) / 5, as printed."""
        return ((times.sin() - 2 * times.cos() + 2 * torch.exp(-2 * times)) / 5)[:, None]


@dataclass(frozen=True)
class Oscillator(Problem):
    """The harmonic oscillator: purely imaginary eigenvalues."""

    name = "oscillator"

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return (h_2, -h_1)."""
        return torch.stack((h[1], -h[0]))

    def initial(self) -> Tensor:
        """Return (1, 0)."""
        return _vector(1.0, 0.0)

    def exact(self, times: Tensor) -> Tensor:
        """Return (cos t, -sin t)."""
        return torch.stack((times.cos(), -times.sin()), dim=1)


@dataclass(frozen=True)
class Logistic(Problem):
    """Logistic growth: not linear."""

    name = "logistic"

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return h (1 - h)."""
        return h * (1 - h)

    def initial(self) -> Tensor:
        """Return (1/10,)."""
        return _vector(0.1)

    def exact(self, times: Tensor) -> Tensor:
        """Return 1 / (1 + 9 e^-t)."""
        return (1 / (1 + 9 * torch.exp(-times)))[:, None]


@dataclass(frozen=True, eq=False)
class Linear(Problem):
    """A linear system h' = A h.

    Args:
        matrix: A `(d, d)`.
        start: h(0) `(d,)`.
    """

    matrix: Tensor
    start: Tensor
    t1: float = 5.0
    name: str = "linear"

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return A h."""
        return self.matrix @ h

    def initial(self) -> Tensor:
        """Return the start."""
        return self.start

    def exact(self, times: Tensor) -> Tensor:
        """Return e^(At) h(0)."""
        return torch.linalg.matrix_exp(times[:, None, None] * self.matrix) @ self.start


def random_linear(dim: int, generator: torch.Generator) -> Linear:
    """Draw a linear system whose symmetric part is negative definite, hence stable.

    A = S - S^T - M M^T / d - I / 10 with standard normal S and M; h(0) is standard normal, of unit length.
    """
    s, m = torch.randn(2, dim, dim, dtype=torch.float64, generator=generator)
    start = torch.randn(dim, dtype=torch.float64, generator=generator)
    matrix = s - s.T - m @ m.T / dim - 0.1 * torch.eye(dim, dtype=torch.float64)
    return Linear(matrix, start / start.norm())


def stiff_linear(rate: float) -> Linear:
    """Return the system with eigenvalues -1 and -rate whose fast part is gone long before t1."""
    basis = torch.tensor([[2.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    matrix = basis @ torch.diag(_vector(-1.0, -rate)) @ torch.linalg.inv(basis)
    return Linear(matrix, _vector(1.0, 0.0), t1=1.0, name="stiff")


@dataclass(frozen=True)
class VanDerPol(Problem):
    """Van der Pol's equation on its slow branch, where the fast eigenvalue is about -3 mu."""

    mu: float = 300.0
    t1: float = 1.0
    name = "vanderpol"

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """Return (h_2, mu (1 - h_1^2) h_2 - h_1)."""
        return torch.stack((h[1], self.mu * (1 - h[0] ** 2) * h[1] - h[0]))

    def initial(self) -> Tensor:
        """Return (2, 0)."""
        return _vector(2.0, 0.0)

    def exact(self, times: Tensor) -> Tensor:
        """Return the solution by SciPy's Radau at tolerance 1e-12, which stands in for a closed form."""
        from scipy.integrate import solve_ivp

        solution = solve_ivp(
            lambda t, h: [h[1], self.mu * (1 - h[0] ** 2) * h[1] - h[0]],
            (0.0, float(times.max())),
            self.initial().numpy(),
            method="Radau",
            t_eval=times.numpy(),
            rtol=1e-12,
            atol=1e-12,
        )
        return torch.from_numpy(solution.y.T.copy())


def problems(dim: int, generator: torch.Generator) -> dict[str, Problem]:
    """Return the problems that are not stiff, by name; the linear one is drawn."""
    listed = (Decay(), Forced(), Oscillator(), Logistic(), random_linear(dim, generator))
    return {problem.name: problem for problem in listed}
