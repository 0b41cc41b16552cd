"""What a training step of OT-Flow costs, and how near it comes to the speed of a plain float32 matrix product.

| arm | gradient |
|---|---|
| usual | autograd through all RK4 steps, every intermediate kept |
| ours | each step run again on the way back |
| ours, compiled | the same, each step put through torch.compile |

The field is the same. Counted as work are the products of the trace alone, 6 m^2 D B floating point operations an
evaluation: 2 forward, 4 pulled back. What a step runs again, and all else it does, lowers the rate.

`OMP_NUM_THREADS=1 python -m benchmarks.ot_flow` prints all of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.measure.memory import peak_memory
from bench.stats import paired_ratio
from benchmarks.cnf_arms import Timing, trained_in_turns
from benchmarks.counting import Step
from replications.flows.ode.onednn import available, product
from replications.ot_flow.config import OTFlowConfig
from replications.ot_flow.method import build, objective

ARMS = {
    "usual": {"gradient": "backprop"},
    "ours": {"gradient": "checkpoint"},
    "ours, compiled": {"gradient": "checkpoint", "compiled": True},
}


@dataclass(frozen=True)
class OTFlowSetting:
    """Dimension, width, batch and RK4 steps of a potential with two layers."""

    dim: int
    width: int
    batch: int
    steps: int = 6

    @property
    def work(self) -> int:
        """Floating point operations of a training step, as this module counts them."""
        return 4 * self.steps * 6 * self.width**2 * self.dim * self.batch


SETTINGS = {"m = 64": OTFlowSetting(43, 64, 500), "m = 256": OTFlowSetting(43, 256, 200)}
PRODUCTS = 10
"""Plain products timed beside one step."""


def training(setting: OTFlowSetting, arm: str) -> Iterator[Step]:
    """Train, pausing after each step to show the field with the step's evaluations."""
    generator = torch.Generator().manual_seed(0)
    config = replace(OTFlowConfig(), steps=setting.steps, **ARMS[arm])  # type: ignore[arg-type]
    flow = build(setting.dim, setting.width, generator=generator)
    x = torch.randn(setting.batch, setting.dim, generator=generator)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-5)
    while True:
        flow.counter.reset()
        optimizer.zero_grad()
        objective(flow, x, config).backward()
        optimizer.step()
        yield Step(flow.counter, flow)


class TrainingStep:
    """The cost of a training step from commit to commit."""

    timeout = 300.0
    params = (list(SETTINGS), list(ARMS))
    param_names = ("setting", "arm")

    def setup(self, setting: str, arm: str) -> None:
        self.training = training(SETTINGS[setting], arm)
        next(self.training)

    def time_step(self, setting: str, arm: str) -> None:
        next(self.training)


def plain_products(setting: OTFlowSetting, multiply: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Return the floating point operations a second of the product that the trace takes: (D B, m) by (m, m)."""
    left, right = torch.randn(setting.dim * setting.batch, setting.width), torch.randn(2 * (setting.width,))
    seconds = []
    for _ in range(PRODUCTS):
        start = time.process_time()
        multiply(left, right)
        seconds.append(time.process_time() - start)
    return 2 * left.numel() * setting.width / statistics.median(seconds)


def memory(setting: OTFlowSetting, arm: str) -> int:
    """Return the peak bytes of one training step."""
    steps = training(setting, arm)
    next(steps)
    with peak_memory() as peak:
        next(steps)
    return peak.bytes


def report(name: str, setting: OTFlowSetting, timings: dict[str, Timing]) -> None:
    """Print the times, how often faster than the eager step, and the rates."""
    print(f"d = {setting.dim}, {name}, batch {setting.batch}, {setting.steps} steps of rk4, one thread")
    kinds = {"torch.mm": torch.mm} | ({"oneDNN's": product} if available() else {})
    rates = {kind: plain_products(setting, multiply) for kind, multiply in kinds.items()}
    for arm, timing in timings.items():
        seconds = statistics.median(timing.seconds)
        ratio = paired_ratio(timings["ours"].seconds, timing.seconds)
        shares = ", ".join(f"{setting.work / seconds / rate:.0%} of {kind}" for kind, rate in rates.items())
        print(
            f"  {arm:15} NFE {timing.forward} + {timing.backward}  {1000 * seconds:8.1f} ms  {ratio.mean:.2f}x eager, "
            f"95 % interval {ratio.low:.2f} to {ratio.high:.2f}; rate {shares}",
            flush=True,
        )


def main(steps: int = 8) -> None:
    """Print times and rates at both settings, then the memory that a further step costs."""
    torch.set_num_threads(1)
    for name, setting in SETTINGS.items():
        report(name, setting, trained_in_turns({arm: training(setting, arm) for arm in ARMS}, steps))
    setting = SETTINGS["m = 64"]
    state = 4 * setting.batch * (setting.dim + 3)
    for arm in ("usual", "ours"):
        few, many = (memory(replace(setting, steps=n), arm) for n in (6, 12))
        print(f"  {arm}: {(many - few) / 6:,.0f} bytes a further step; a state has {state:,}")


if __name__ == "__main__":
    main()
