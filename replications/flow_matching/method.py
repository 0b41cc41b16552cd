r"""Flow matching: regress a velocity on that of conditional paths (lipman2023flow, tong2024improving).

| symbol | code | shape | equation |
|---|---|---|---|
| x1, x0 | `x1`, `Draw.x0` | `(B, *S)` | data; noise of the path's source, coupled to the data |
| t | `Draw.t` | `(B, 1, ...)` | uniform over the path's times, one for each pair |
| eps | `Draw.noise` | `(B, *S)` | noise about the mean of a `noisy` path |
| v(t, x) | `velocity` | `(B, *S)` | network, called as `velocity(t, x)`, or `velocity(t, x, labels)` |
| L | `objective` | scalar | E abs(v(t, x_t) - u_t)^2 / D (lipman2023flow, 9, 23; tong2024improving, 10) |
| c, null | `labels`, `null` | `(B,)` | classes; the one that stands for none, of the dropped |
| v_w | `model.Guided` | `(B, *S)` | (1 + w) v(t, x, c) - w v(t, x, null) (ho2022classifier) |

The papers' norm sums over dimensions; here it is their mean, as in the code of tong2024improving: 1/D of the printed
loss, which Adam's step does not see but for its epsilon. Draws are apart from the loss, a pure function of tensors for
torch.compile; see `replications.flow_matching.compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import UserError
from replications.flow_matching.coupling import Coupling, Entropic, exact, independent
from replications.flow_matching.paths import (
    BridgePath,
    ConditionalPath,
    LinearPath,
    OptimalTransportPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)

Velocity = Callable[..., Tensor]


@dataclass(frozen=True)
class FlowMatching:
    """A conditional path and a coupling of its ends."""

    path: ConditionalPath
    coupling: Coupling = independent


METHODS: dict[str, Callable[..., FlowMatching]] = {
    "fm-ot": lambda *sigma: FlowMatching(OptimalTransportPath(*sigma)),
    "fm-vp": lambda: FlowMatching(VariancePreservingPath()),
    "fm-ve": lambda: FlowMatching(VarianceExplodingPath()),
    "i-cfm": lambda *sigma: FlowMatching(LinearPath(*sigma)),
    "ot-cfm": lambda *sigma: FlowMatching(LinearPath(*sigma), exact),
    "sb-cfm": lambda *sigma: FlowMatching(BridgePath(*sigma), Entropic(*sigma)),
}
"""The papers' methods by name. All but the diffusions take a sigma, `fm-ot` its sigma_min; classes have defaults."""


class Draw(NamedTuple):
    """What is random in one step of the training."""

    x0: Tensor
    t: Tensor
    noise: Tensor | None


def draw(method: FlowMatching, x1: Tensor, generator: torch.Generator, x0: Tensor | None = None) -> Draw:
    """Return noise coupled to the data, times and, for a noisy path, noise about the path.

    Args:
        method: path and coupling.
        x1: data `(B, *S)`.
        generator: draws all of it, on its own device.
        x0: points of another source than the path's N(0, s^2 I), as many.
    """
    path, dtype, device = method.path, x1.dtype, generator.device

    def normal() -> Tensor:
        return torch.randn(x1.shape, generator=generator, dtype=dtype, device=device).to(x1.device)

    if x0 is None:
        x0 = normal() if path.source_std == 1 else normal().mul_(path.source_std)
    start, end = path.times
    t = torch.rand((len(x1), *(1 for _ in x1.shape[1:])), generator=generator, dtype=dtype, device=device)
    if (start, end) != (0.0, 1.0):
        t.mul_(end - start).add_(start)
    x0 = method.coupling(x0, x1, generator)
    return Draw(x0, t.to(x1.device), normal() if path.noisy else None)


def objective(
    velocity: Velocity, path: ConditionalPath, x1: Tensor, draw: Draw, labels: Tensor | None = None
) -> Tensor:
    """Return 1/(B D) sum abs(v(t, x_t) - u_t)^2, a scalar without unit.

    Args:
        velocity: v.
        path: gives x_t and u_t.
        x1: data `(B, *S)`.
        draw: what is random.
        labels: classes `(B,)`, some of them dropped, of a velocity with classes.

    Raises:
        UserError: a noisy path without noise.
    """
    x_t, u_t = path(draw.x0, x1, draw.t, draw.noise)
    v = velocity(draw.t, x_t) if labels is None else velocity(draw.t, x_t, labels)
    return functional.mse_loss(v, u_t)


def drop_labels(labels: Tensor, probability: float, null: int, generator: torch.Generator) -> Tensor:
    """Return the labels with each replaced by `null` with a probability (ho2022classifier).

    Each image on its own. The later code of facebookresearch/flow_matching drops those of a whole batch at once.

    Args:
        labels: classes `(B,)`.
        probability: of a drop, in 0..1.
        null: the class that stands for none: of a `UNet` with N classes, N.
        generator: draws which.

    Raises:
        UserError: a probability outside [0, 1].
    """
    if not 0 <= probability <= 1:
        raise UserError(f"the probability of a dropped label must lie in [0, 1], got {probability:g}")
    u = torch.rand(labels.shape, generator=generator, device=generator.device)
    return labels.masked_fill((u < probability).to(labels.device), null)
