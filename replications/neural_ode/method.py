"""Residual networks and their continuous limit as image classifiers (chen2018neural).

| symbol | code | shape | equation |
|---|---|---|---|
| h_t | `h` | `(B, C, H, W)` | hidden state |
| f(h, t, theta) | `ConvField` | `(B, C, H, W)` | dh/dt = f(h(t), t, theta) (2) |
| h_{t+1} | `ResidualBlock` | `(B, C, H, W)` | h_t + f(h_t, theta_t) (1) |
| h(T) | `ODEBlock` | `(B, C, H, W)` | h(0) + integral of f from 0 to T, T = 1 |
| L | `BLOCKS` | | layers of the residual network |
| L~ | `Counter` | | evaluations of f in one forward solve |

RK-Net and ODE-Net are one model; the gradient differs: `backprop` differentiates the solver's own operations,
`adjoint` solves the adjoint equation backwards in time (4), `checkpoint` repeats each accepted step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from replications.flows.fields.mlp import initialise
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solve import Solver

CHANNELS = 64
BLOCKS = 6
CLASSES = 10
HIDDEN = 300


def norm() -> nn.GroupNorm:
    """Return the normalisation of every layer: 32 groups over 64 channels."""
    return nn.GroupNorm(32, CHANNELS)


class ConcatConv(nn.Module):
    """The 3x3 convolution of the state with t appended as one more channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS + 1, CHANNELS, 3, padding=1)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Return `(B, C, H, W)`."""
        time = torch.ones_like(h[:, :1]) * t  # (B, 1, H, W)
        return self.conv(torch.cat((time, h), dim=1))


class ConvField(nn.Module):
    """The dynamics f(h, t, theta): norm, ReLU, conv, norm, ReLU, conv, norm; each conv sees t."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm() for _ in range(3))
        self.convs = nn.ModuleList(ConcatConv() for _ in range(2))

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Return dh/dt `(B, C, H, W)`."""
        for before, conv in zip(self.norms, self.convs, strict=False):
            h = conv(t, torch.relu(before(h)))
        return self.norms[-1](h)


class ResidualBlock(nn.Module):
    """One layer of the residual network, h + conv(ReLU(norm(conv(ReLU(norm(h)))))) (1)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(*(part for _ in range(2) for part in (norm(), nn.ReLU(), _conv(3, 1))))

    def forward(self, h: Tensor) -> Tensor:
        """Return `(B, C, H, W)`."""
        return h + self.branch(h)


def _conv(kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, padding=1, bias=False)


def downsampling() -> nn.Sequential:
    """Return the stem, `(B, 1, 28, 28)` -> `(B, 64, 6, 6)`."""
    convs = (nn.Conv2d(1, CHANNELS, 3), *(nn.Conv2d(CHANNELS, CHANNELS, 4, 2, padding=1) for _ in range(2)))
    return nn.Sequential(convs[0], norm(), nn.ReLU(), convs[1], norm(), nn.ReLU(), convs[2])


def head() -> nn.Sequential:
    """Return the classifier, `(B, 64, 6, 6)` -> logits `(B, 10)`."""
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(norm(), nn.ReLU(), pool, nn.Flatten(), nn.Linear(CHANNELS, CLASSES))


def multilayer_perceptron() -> nn.Sequential:
    """Return the baseline with one hidden layer, 784-300-10: 238,510 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def residual_network() -> nn.Sequential:
    """Return ResNet: stem, six residual blocks, head; 576,778 parameters."""
    return nn.Sequential(downsampling(), *(ResidualBlock() for _ in range(BLOCKS)), head())


def ode_network(solver: Solver, gradient: str) -> nn.Sequential:
    """Return RK-Net (`backprop`) or ODE-Net (`adjoint`): stem, one ODE block, head; 208,266 parameters."""
    return nn.Sequential(downsampling(), ODEBlock(ConvField(), solver, gradient), head())


def build(
    network: str, gradient: str, tolerance: float, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Return a classifier by name, images `(B, 1, 28, 28)` with values 0..1 -> logits `(B, 10)`.

    Args:
        network: `mlp`, `resnet` or `ode`.
        gradient: of `ode`: `backprop`, `adjoint` or `checkpoint`.
        tolerance: of `ode`: relative and absolute tolerance of dopri5.
        generator: draws the initial parameters; None leaves torch's own.

    Raises:
        ValueError: unknown network.
    """
    if network == "mlp":
        model = multilayer_perceptron()
    elif network == "resnet":
        model = residual_network()
    elif network == "ode":
        model = ode_network(Solver("dopri5", rtol=tolerance, atol=tolerance), gradient)
    else:
        raise ValueError(f"network must be mlp, resnet or ode, not {network!r}")
    if generator is not None:
        initialise(model, generator)
    return model


def ode_block(model: nn.Module) -> ODEBlock | None:
    """Return a classifier's ODE block, None where it has none."""
    return next((part for part in model.modules() if isinstance(part, ODEBlock)), None)
