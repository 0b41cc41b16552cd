r"""Maximum likelihood of a continuous flow, and the two changes that RNODE and STEER make to it.

| symbol | code | shape | equation |
|---|---|---|---|
| x, z | `x`, `path.z` | `(B, D)` | dx/dt = f(t, x), data x(0), base z = x(T) |
| log p(x) | `path.delta` | `(B,)` | log p_0(z) + integral of tr df/dx (grathwohl2019ffjord, 4) |
| eps | `eps` | `(K, B, D)` | tr J = E eps^T J eps, fixed along a solve (7, 8) |
| lambda_K, lambda_J | `kinetic`, `jacobian` | | bits/dim + lambda_K K + lambda_J B (finlay2020rnode, 12, 13) |
| b | `spread` | | T ~ U((1 - b) T, (1 + b) T) in training (ghosh2020steer) |

K = 1/(2D) sum_i integral of f_i^2 and B = 1/D integral of |J|_F^2, as RNODE's authors compute them: means over the
dimensions, added to a loss in bits/dim, which the weight 0.01 goes with. The paper prints sums. Here the whole is
D log 2 times as large, the negative log-likelihood in nats plus D log 2 (lambda_K K + lambda_J B): Adam's step is the
same at any scale of the loss, but for its epsilon of 1e-8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from replications.flows.density.cnf import CNF
from replications.flows.density.composition import Chain
from replications.flows.density.divergence import Divergence
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.solve import Solver
from replications.tasks.flow_config import FlowConfig


def penalties(config: FlowConfig) -> dict[str, float]:
    """Return the weights of the regularizers, by name; those of weight zero are left out."""
    weights = {"kinetic_half_mean": config.kinetic, "jacobian_mean": config.jacobian}
    return {name: weight for name, weight in weights.items() if weight}


def in_training(config: FlowConfig) -> Integration:
    """Return how the flow is integrated in training."""
    solver = Solver(config.solver, config.rtol, config.atol, steps=config.steps or None)
    kind = Divergence(config.divergence)
    return Integration(solver, kind, config.gradient, tuple(penalties(config)), config.spread)


def in_test(config: FlowConfig) -> Integration:
    """Return how the flow is integrated in tests: exact trace, dopri5, end at T."""
    return Integration(Solver("dopri5", config.rtol, config.atol))


def objective(
    flow: Flow,
    x: Tensor,
    config: FlowConfig,
    generator: torch.Generator | None = None,
    eps: Tensor | None = None,
) -> Tensor:
    """Return -1/B sum log p(x) + D log 2 sum_j lambda_j 1/B sum R_j(x), a scalar in nats.

    Args:
        flow: to be trained.
        x: data `(B, *S)`.
        config: weights and integration.
        generator: draws the probes, where none are given, and a random end time.
        eps: probes.
    """
    path = flow.path(x, eps, generator, in_training(config))
    loss = -(flow.prior.log_prob(path.z) + path.delta).mean()
    nats = math.log(2) * x[0].numel()  # in a loss of 1 bit/dim
    return loss + sum(
        nats * weight * path.integrals[name].mean() for name, weight in penalties(config).items()
    )


def build(
    dim: int,
    hidden: list[int] | tuple[int, ...],
    activation: str = "tanh",
    blocks: int = 1,
    T: float = 1.0,
    learn_T: bool = True,
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
