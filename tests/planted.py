"""Fields, clocks and images that are known, so that what is measured of them is too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.data.images import ImageSet


class Linear(nn.Module):
    """f(t, h) = h A^T, whose flow is h(t) = h(0) e^(A t)^T; a scalar A stands for A I."""

    def __init__(self, a: Tensor | float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.as_tensor(a, dtype=torch.float64))

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        return h @ self.a.T if self.a.ndim else self.a * h


class Clock:
    """A clock that stands but where work moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, *seconds: float) -> Callable[[], None]:
        """Return work whose calls take these times, one after the other."""
        left = iter(seconds)

        def work() -> None:
            self.now += next(left)

        return work


def image_set(n: int, side: int, value: int, classes: int = 10) -> ImageSet:
    """Return n grey images `(n, 1, side, side)` of one value, labels 0, 1, 2... in turn; white is 255."""
    raw = torch.full((n, 1, side, side), value, dtype=torch.uint8)
    return ImageSet(raw, torch.arange(n) % classes, classes, (0.5,), (0.25,), 255.0)
