r"""RNODE: FFJORD's objective with the kinetic energy and the Jacobian of the paths penalised (finlay2020rnode).

| symbol | code | shape | equation |
|---|---|---|---|
| K | `kinetic_half_mean` | `(B,)` | 1/(2D) sum_i integral of f_i^2 dt (12) |
| B | `jacobian_mean` | `(B,)` | 1/D integral of \|J\|_F^2 dt, by \|J eps\|^2 with the trace's probes (13) |
| lambda_K, lambda_J | `config.kinetic`, `.jacobian` | | weights beside a loss in bits/dim |
| loss | `objective` | scalar | -1/B sum log p(x) + D log 2 (lambda_K K + lambda_J B), nats |

K and B are means over the dimensions, as the authors compute them; the paper prints sums. The published weight 0.01
goes with means and with a loss in bits/dim. Here the whole is D log 2 times as large, in nats: Adam's step is the same
at any scale of the loss, but for its epsilon of 1e-8.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from replications.ffjord import method as ffjord
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.tasks.method import Method


def penalties(config: Any) -> dict[str, float]:
    """Return the weights of the regularizers, by name; those of weight zero are left out."""
    weights = {"kinetic_half_mean": config.kinetic, "jacobian_mean": config.jacobian}
    return {name: weight for name, weight in weights.items() if weight}


def in_training(config: Any) -> Integration:
    """Return how the flow is integrated in training: as FFJORD, the regularizers beside the density."""
    return dataclasses.replace(ffjord.in_training(config), regularizers=tuple(penalties(config)))


def objective(flow: Flow, x: Tensor, config: Any, generator: torch.Generator) -> Tensor:
    """Return the loss of data x `(B, *S)` in nats; the probes come from the generator."""
    return penalised(flow, x, config, in_training(config), generator)


def penalised(
    flow: Flow, x: Tensor, config: Any, integration: Integration, generator: torch.Generator
) -> Tensor:
    """Return the loss for an integration with the regularizers of `penalties`."""
    path = flow.path(x, generator=generator, integration=integration)
    loss = -(flow.prior.log_prob(path.z) + path.delta).mean()
    nats = math.log(2) * x[0].numel()  # in a loss of 1 bit/dim
    return loss + sum(
        nats * weight * path.integrals[name].mean() for name, weight in penalties(config).items()
    )


def plain(config: Any) -> Any:
    """Return the config of FFJORD's training."""
    return dataclasses.replace(config, kinetic=0.0, jacobian=0.0)


METHOD = Method(in_training, objective, plain)
