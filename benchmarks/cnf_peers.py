"""The same training step by other libraries' continuous normalizing flows.

Network, batch, tolerances and optimizer are those of the arms of this project; what differs is the library's own.

| arm | solver | step control | divergence | gradient |
|---|---|---|---|---|
| zuko | dopri5, 7 evaluations | largest error, delta's / 100 | VJP, Gaussian probe | steps redone backwards |
| torchdyn | dopri5 | mean error of all | VJP, the same probe | continuous adjoint |

So their evaluations differ from ours and from each other's, and are printed beside the times.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cnf_arms import SOLVER, Arm, CnfSetting, CnfTask
from benchmarks.counting import Counting, Step


def zuko(setting: CnfSetting) -> Iterator[Step]:
    """Train through zuko's `FreeFormJacobianTransform`, whose probes are drawn anew in each step."""
    transforms: Any = importlib.import_module("zuko.transforms")
    task = CnfTask(setting)
    field = Counting(task.field)
    phi, tolerances = tuple(task.field.parameters()), {"atol": SOLVER.atol, "rtol": SOLVER.rtol}
    transform = transforms.FreeFormJacobianTransform(field, phi=phi, exact=False, **tolerances)
    while True:
        field.counter.reset()
        task.update(*transform.call_and_ladj(task.x))
        yield Step(field.counter, task.field)


class Clocked(nn.Module):
    """A field called without the time, which torchdyn sets as an attribute."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field, self.t = field, torch.zeros(())

    def forward(self, x: Tensor) -> Any:
        """Return f(t, x)."""
        return self.field(self.t.reshape(()), x)


class Probe:
    """A distribution, as torchdyn asks for one, that always draws the probe of the task."""

    def __init__(self, task: CnfTask) -> None:
        self.eps = task.eps[0]

    def sample(self, shape: tuple[int, ...]) -> Tensor:
        """Return the probe."""
        return self.eps


def torchdyn(setting: CnfSetting) -> Iterator[Step]:
    """Train through torchdyn's `CNF` and `NeuralODE`, whose state holds the integral of -tr J in its first column."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # what its requirements say of themselves when they are imported
        core: Any = importlib.import_module("torchdyn.core")
        models: Any = importlib.import_module("torchdyn.models")
        task = CnfTask(setting)
        field = Counting(task.field)
        flow = models.CNF(Clocked(field), trace_estimator=models.hutch_trace, noise_dist=Probe(task))
        forward = {"solver": SOLVER.method, "atol": SOLVER.atol, "rtol": SOLVER.rtol}
        backward = {"sensitivity": "adjoint", "atol_adjoint": SOLVER.atol, "rtol_adjoint": SOLVER.rtol}
        model = core.NeuralODE(flow, return_t_eval=False, **forward, **backward)
    times, state = torch.tensor([0.0, 1.0]), torch.cat((torch.zeros(len(task.x), 1), task.x), dim=1)
    while True:
        field.counter.reset()
        end = model(state, times)[-1]
        task.update(end[:, 1:], -end[:, 0])
        yield Step(field.counter, task.field)


PEERS: dict[str, Arm] = {"zuko": zuko, "torchdyn": torchdyn}


def absence(name: str) -> str | None:
    """Return why a peer can not be timed here, None if it can."""
    try:
        next(PEERS[name](CnfSetting(2, (8,), 4)))
    except (ImportError, RuntimeError) as error:  # torch's, where an extension was built for another torch
        return f"{name} is not installed, or not all it needs: {error}"
    return None
