"""The same training step and generation with the help of other libraries.

| peer | path | training | generation |
|---|---|---|---|
| flow_matching | `fm-ot` | `CondOTProbPath` gives x_t and u_t | `ODESolver`, by torchdiffeq |
| torchcfm | `i-cfm` | `ConditionalFlowMatcher` draws t as well | torchdyn's `NeuralODE`, as in its examples |

The loop around them is that of their examples. Network, batch, optimizer and solver are those of this project's arms;
torchdyn's control of adaptive steps is its own, so its evaluations differ and are printed beside the times.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.flow_matching_arms import (
    SETTINGS,
    SIGMA,
    FlowMatchingSetting,
    FlowMatchingTask,
    Generation,
    Step,
    Training,
)
from replications.flows.ode.solver import Solver


def flow_matching(setting: FlowMatchingSetting, compiled: bool = False) -> tuple[FlowMatchingTask, Step]:
    """Return a step of the training with a path of flow_matching."""
    path = importlib.import_module("flow_matching.path").CondOTProbPath()
    task = FlowMatchingTask(setting, compiled)

    def step() -> None:
        x0, t = torch.randn_like(task.x1), torch.rand(len(task.x1))
        at = path.sample(x_0=x0, x_1=task.x1, t=t)
        task.descend((task.network(at.t.reshape(task.column), at.x_t) - at.dx_t).pow(2).mean())

    return task, step


def torchcfm(setting: FlowMatchingSetting, compiled: bool = False) -> tuple[FlowMatchingTask, Step]:
    """Return a step of the training with torchcfm's flow matcher."""
    matcher = importlib.import_module("torchcfm.conditional_flow_matching").ConditionalFlowMatcher(SIGMA)
    task = FlowMatchingTask(setting, compiled)

    def step() -> None:
        x0 = torch.randn_like(task.x1)
        t, x_t, u_t = matcher.sample_location_and_conditional_flow(x0, task.x1)
        task.descend(((task.network(t.reshape(task.column), x_t) - u_t) ** 2).mean())

    return task, step


def by_ode_solver(velocity: nn.Module, solver: Solver, x0: Tensor) -> Callable[[], Tensor]:
    """Return what generates by flow_matching's solver."""
    solve = importlib.import_module("flow_matching.solver").ODESolver(lambda x, t: velocity(t, x)).sample
    integration: dict[str, Any] = {
        "method": solver.method,
        "step_size": None if solver.steps is None else 1 / solver.steps,
        "atol": solver.atol,
        "rtol": solver.rtol,
    }
    return lambda: cast(Tensor, solve(x_init=x0, **integration))


class _Loose(nn.Module):
    """A velocity that torchdyn may hand more arguments."""

    def __init__(self, velocity: nn.Module) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, t: Tensor, x: Tensor, args: object = None) -> Tensor:
        return cast(Tensor, self.velocity(t, x))


def by_torchdyn(velocity: nn.Module, solver: Solver, x0: Tensor) -> Callable[[], Tensor]:
    """Return what generates by torchdyn's solvers."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # what its requirements say of themselves when they are imported
        core = importlib.import_module("torchdyn.core")
        integration: dict[str, Any] = {"sensitivity": "adjoint"}
        integration |= {"atol": solver.atol, "rtol": solver.rtol} if solver.adaptive else {}
        model = core.NeuralODE(_Loose(velocity), solver=solver.method, **integration)
    times = torch.linspace(0, 1, (solver.steps or 1) + 1)
    return torch.no_grad()(lambda: cast(Tensor, model.trajectory(x0, times)[-1]))


def plan_sampler() -> Callable[[Tensor, Tensor], Any]:
    """Return what couples noise and data by torchcfm's exact plan, of which it draws pairs with replacement."""
    sampler = importlib.import_module("torchcfm.optimal_transport").OTPlanSampler(method="exact")
    return cast(Callable[[Tensor, Tensor], Any], sampler.sample_plan)


@dataclass(frozen=True)
class Peer:
    """A library: the method it is compared by, and its arms."""

    method: str
    training: Training
    generation: Generation


PEERS = {
    "flow_matching": Peer("fm-ot", flow_matching, by_ode_solver),
    "torchcfm": Peer("i-cfm", torchcfm, by_torchdyn),
}


def absence(name: str, generating: bool = False) -> str | None:
    """Return why a peer can not be timed here, None if it can.

    Args:
        name: of the peer.
        generating: whether its generation is meant, not its training.
    """
    setting = SETTINGS["64, 64, 64"]
    try:
        if generating:
            PEERS[name].generation(FlowMatchingTask(setting).velocity, Solver(), torch.zeros(1, 2))
        else:
            PEERS[name].training(setting, False)
    except (ImportError, RuntimeError) as error:  # torch's, where an extension was built for another torch
        return f"{name} is not installed, or not all it needs: {error}"
    return None
