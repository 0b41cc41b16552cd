r"""The suite's methods, each built from its paper's own folder and seen through one interface.

| method | loss | strength s |
|---|---|---|
| cnf | exact maximum likelihood (chen2018neural) | |
| ffjord | the same with one Rademacher probe of the trace a solve (grathwohl2019ffjord) | |
| rnode | FFJORD's with K and B penalised (finlay2020rnode) | lambda_K = lambda_J = s |
| steer | FFJORD's, each solve to a random end (ghosh2020steer) | b = s T |
| rnode_steer | RNODE's, each solve to a random end, b = T/2 | lambda_K = lambda_J = s |
| ot_flow | likelihood, transport cost, HJB penalty (onken2021otflow) | alpha_C = s, alpha_R = 1 |
| fm_ot, fm_diffusion | conditional flow matching, straight or variance-preserving path (lipman2023flow) | |
| ot_cfm | the straight path between pairs of the batch's optimal transport (tong2024improving) | |
| fm_finetuned | fm_ot for s iterations, from then on cnf's | iterations |

All but OT-Flow have one network, three concatsquash layers of tanh. OT-Flow's field is the gradient of a potential,
which has to be another one: its width is chosen so that its parameters are as many.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from bench.errors import UserError
from replications.ffjord import method as ffjord
from replications.flow_matching import method as matching
from replications.flow_matching import model as matched
from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.ode.solver import Solver
from replications.ot_flow import method as ot_flow
from replications.ot_flow.config import OTFlowConfig
from replications.rnode import method as rnode
from replications.steer import method as steer
from replications.tasks.method import Method

TEST = Integration(Solver("dopri5", 1e-5, 1e-5))
"""How every continuous flow is tested: exact trace, dopri5 at rtol = atol = 1e-5."""


@runtime_checkable
class Model(Protocol):
    """What the suite asks of a method that is built for data of some dimension; a torch module.

    An attribute `flow`, a `replications.flows.density.flow.Flow`, gets the columns that only flows have.
    """

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch `(B, D)`, a scalar; all that is random comes from the generator."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats of points `(N, D)`."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""


@dataclass(frozen=True)
class Likelihood:
    """Settings of the methods that train by a likelihood, as their papers' modules read them."""

    divergence: str = "rademacher"
    kinetic: float = 0.0
    jacobian: float = 0.0
    b: float = 0.0
    solver: str = "dopri5"
    steps: int = 0
    rtol: float = 1e-5
    atol: float = 1e-5
    gradient: str = "auto"


class ByFlow(nn.Module):
    """A method whose density is a flow's."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""
        return self.flow.log_prob(x, integration=TEST)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""
        return self.flow.sample(n, generator, TEST)


class ByLikelihood(ByFlow):
    """A flow trained by a likelihood.

    Args:
        flow: untrained.
        method: its objective.
        config: of the objective.
    """

    def __init__(self, flow: Flow, method: Method, config: Any) -> None:
        super().__init__(flow)
        self.method, self.config = method, config

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the method's objective, in nats."""
        return self.method.objective(self.flow, x, self.config, generator)


class ByMatching(ByFlow):
    """A flow trained by the regression of its velocity; a step evaluates the network once.

    Args:
        flow: untrained.
        method: path and coupling.
    """

    def __init__(self, flow: Flow, method: matching.FlowMatching) -> None:
        super().__init__(flow)
        self.method = method

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of the velocity."""
        drawn = matching.draw(self.method, x, generator)
        self.flow.counter.count(1)
        return matching.objective(matched.velocity_of(self.flow), self.method.path, x, drawn)


class FineTuned(ByMatching):
    """A flow trained by matching for some iterations, from then on by its likelihood.

    Args:
        flow: untrained.
        method: path and coupling.
        iterations: of matching.
    """

    done: Tensor

    def __init__(self, flow: Flow, method: matching.FlowMatching, iterations: int) -> None:
        super().__init__(flow, method)
        self.iterations = iterations
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of the phase, and count the iteration."""
        self.done += 1
        if self.done <= self.iterations:
            return super().loss(x, generator)
        return ffjord.objective(self.flow, x, EXACT, generator)  # type: ignore[arg-type]


EXACT = Likelihood(divergence="exact")


def build(method: str, dim: int, width: int, strength: float, generator: torch.Generator) -> Model:
    """Return a method of the suite, untrained.

    Args:
        method: its name.
        dim: D.
        width: of the three hidden layers.
        strength: of what it adds.
        generator: draws the parameters, the same for every method with the same network.

    Raises:
        UserError: no method has this name.
    """
    if method not in BUILDERS:
        raise UserError(f"no method of the suite is called {method!r}: choose one of {', '.join(BUILDERS)}")
    return BUILDERS[method](dim, width, strength, generator)


Builder = Callable[[int, int, float, torch.Generator], Model]


def _likelihood(method: Method, settings: Callable[[float], Likelihood]) -> Builder:
    def build(dim: int, width: int, strength: float, generator: torch.Generator) -> Model:
        return ByLikelihood(_cnf(dim, width, generator), method, settings(strength))

    return build


def _matching(name: str) -> Builder:
    def build(dim: int, width: int, strength: float, generator: torch.Generator) -> Model:
        method = matching.METHODS[name]()
        return ByMatching(_matched(method, dim, width, generator), method)

    return build


def _cnf(dim: int, width: int, generator: torch.Generator) -> Flow:
    return ffjord.build(dim, [width] * 3, generator=generator)


def _matched(method: matching.FlowMatching, dim: int, width: int, generator: torch.Generator) -> Flow:
    path = method.path
    hidden = [width] * 3
    return matched.build(dim, hidden, "tanh", "concatsquash", path.source_std, path.times, generator)


def _ot_flow(dim: int, width: int, strength: float, generator: torch.Generator) -> Model:
    flow = ot_flow.build(dim, potential_width(dim, parameters(dim, width)), generator=generator)
    return ByLikelihood(flow, ot_flow.METHOD, OTFlowConfig(alpha_C=strength, gradient="auto"))


def _finetuned(dim: int, width: int, strength: float, generator: torch.Generator) -> Model:
    method = matching.METHODS["fm-ot"]()
    return FineTuned(_matched(method, dim, width, generator), method, round(strength))


BUILDERS: dict[str, Builder] = {
    "cnf": _likelihood(ffjord.METHOD, lambda _: EXACT),
    "ffjord": _likelihood(ffjord.METHOD, lambda _: Likelihood()),
    "rnode": _likelihood(rnode.METHOD, lambda s: Likelihood(kinetic=s, jacobian=s)),
    "steer": _likelihood(steer.METHOD, lambda s: Likelihood(b=s)),
    "rnode_steer": _likelihood(steer.METHOD, lambda s: Likelihood(kinetic=s, jacobian=s, b=0.5)),
    "ot_flow": _ot_flow,
    "fm_ot": _matching("fm-ot"),
    "fm_diffusion": _matching("fm-vp"),
    "ot_cfm": _matching("ot-cfm"),
    "fm_finetuned": _finetuned,
}


def parameters(dim: int, width: int) -> int:
    """Return how many parameters the network of three concatsquash layers has."""
    sizes = (dim, width, width, width, dim)
    return sum(before * after + 4 * after for before, after in itertools.pairwise(sizes))


def potential_width(dim: int, number: int) -> int:
    """Return the width of OT-Flow's potential of two layers whose parameters come closest to a number."""
    rank = min(10, dim + 1)
    constant = (rank + 1) * (dim + 1) + 1

    def excess(width: int) -> int:
        return abs(width * (dim + 1) + width + width * width + width + width + constant - number)

    return min(range(1, 4097), key=excess)
