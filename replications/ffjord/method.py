r"""FFJORD: maximum likelihood of a continuous flow, its trace estimated or exact (grathwohl2019ffjord).

| symbol | code | shape | equation |
|---|---|---|---|
| x, z | `x`, `path.z` | `(B, D)` | dx/dt = f(t, x), data x(0), base z = x(T) |
| log p(x) | `path.delta` | `(B,)` | log p_0(z) + integral of tr df/dx (4) |
| eps | drawn by `flow.path` | `(K, B, D)` | tr J = E eps^T J eps, fixed along a solve (7, 8) |
| loss | `objective` | scalar | -1/B sum_n log p(x_n), nats |

The field is a network of concatsquash layers, (W x + b) * sigmoid(a t + c) + d t; of images a convolutional one at each
scale of a multi-scale flow. The end time T is given: in the authors' code it is a parameter that the solve is
detached from (`torch.tensor([0., sqrt_end_time**2])`), so it kept its start.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.density.composition import Chain
from replications.flows.density.divergence import Divergence
from replications.flows.density.flow import Flow
from replications.flows.density.images import UnitCubeFlow
from replications.flows.density.integration import Integration
from replications.flows.density.multiscale import MultiScale
from replications.flows.density.priors import StandardNormal
from replications.flows.fields.convolution import ConvField
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solver import Solver
from replications.tasks.config import FlowConfig
from replications.tasks.method import Method

BUILDER = "replications.ffjord.method:build"
IMAGE_BUILDER = "replications.ffjord.method:build_images"


def in_training(config: FlowConfig) -> Integration:
    """Return how the flow is integrated in training."""
    solver = Solver(config.solver, config.rtol, config.atol, steps=config.steps or None)
    return Integration(solver, Divergence(config.divergence), config.gradient)


def objective(flow: Flow, x: Tensor, config: FlowConfig, generator: torch.Generator) -> Tensor:
    """Return -1/B sum log p(x) of data x `(B, *S)` in nats; the probes come from the generator."""
    return -flow.log_prob(x, generator=generator, integration=in_training(config)).mean()


METHOD = Method(in_training, objective)


def build(
    dim: int,
    hidden: list[int] | tuple[int, ...],
    activation: str = "tanh",
    blocks: int = 1,
    T: float = 1.0,
    learn_T: bool = False,
    generator: torch.Generator | None = None,
) -> CNF | Chain:
    """Return an untrained flow of `blocks` concatsquash networks, base density N(0, I).

    Args:
        dim: D.
        hidden: widths of each network's hidden layers.
        activation: `tanh` or `softplus`.
        blocks: FFJORD's flow steps, each with its own network and end time.
        T: end time of each; where it starts, if learned.
        learn_T: whether the end times are parameters.
        generator: draws the parameters; None where they will be loaded.
    """
    generator = generator or torch.Generator().manual_seed(0)
    prior = StandardNormal(dim)
    flows = [
        CNF(MlpField(dim, hidden, generator, "concatsquash", activation), prior, T=T, learn_T=learn_T)
        for _ in range(blocks)
    ]
    return flows[0] if blocks == 1 else Chain(flows, prior)


def on_points(config: Any) -> dict[str, Any]:
    """Return the arguments of `build` for a config of points in the plane."""
    return {"dim": 2, "hidden": list(config.hidden), "T": config.T, "learn_T": config.learn_T}


def on_table(config: Any, dim: int) -> dict[str, Any]:
    """Return the arguments of `build` for a config of rows of `dim` numbers."""
    return {
        "dim": dim,
        "hidden": [factor * dim for factor in config.factors],
        "activation": config.activation,
        "blocks": config.blocks,
        "T": config.T,
        "learn_T": config.learn_T,
    }


def build_images(
    shape: tuple[int, int, int] | list[int],
    dims: tuple[int, ...] | list[int] = (64, 64, 64),
    blocks: int = 2,
    scales: int = 0,
    alpha: float = 1e-6,
    T: float = 1.0,
    learn_T: bool = False,
    zero_last: bool = False,
    generator: torch.Generator | None = None,
) -> UnitCubeFlow:
    """Return an untrained flow of images in the unit cube.

    Args:
        shape: (C, H, W).
        dims: channels of each network's hidden layers.
        blocks: flows before and flows after each squeeze.
        scales: 0 for as many as the images allow.
        alpha: of the logit.
        T: end time of each block; where it starts, if learned.
        learn_T: whether the end times are parameters.
        zero_last: start with the last layers' weights at zero.
        generator: draws the parameters; None where they will be loaded.

    Raises:
        RequestError: as `MultiScale` and `Logit`.
    """
    generator = generator or torch.Generator().manual_seed(0)
    c, h, w = shape

    def field(channels: int) -> ConvField:
        return ConvField(channels, dims, generator, zero_last)

    return UnitCubeFlow(MultiScale((c, h, w), field, blocks, scales, T=T, learn_T=learn_T), alpha)


def on_images(config: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return the arguments of `build_images` for a config and images of a shape."""
    names = ("blocks", "scales", "alpha", "T", "learn_T", "zero_last")
    settings = {name: getattr(config, name) for name in names}
    return {"shape": list(shape), "dims": list(config.dims), **settings}
