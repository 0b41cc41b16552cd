"""How near a training step of a large flow comes to the speed of a plain float32 matrix product.

| symbol | code | meaning |
|---|---|---|
| B, P | `batch`, `pairs` | states; weights of all layers, sum of in x out |
| P_1, P_L | `first`, `last` | weights of the first and the last layer |
| F, R | `forward`, `backward` | evaluations of the solve, evaluations run again |

A product of a state or a tangent with P weights is 2 B P floating point operations. Counted are the products that the
compiled step performs (the eager one also performs the two that the second item leaves out):

- F: state and tangent through all layers, 2 P.
- R, run again: the same, less the last layer's two in the last stage of each step, whose values nothing depends on.
- R, pulled back: to weights and inputs of both, 4 P, less the first layer's to the tangent, a constant.

Everything else (activations, gates, sums of stages, error norms, Adam) counts as no work, so it lowers the rate. The
rate of plain products is the faster of B x n x n and n x n x n, n the widest layer: torch's own, which are MKL's,
and oneDNN's, which compiled steps take (see `replications.flows.ode.onednn`).
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bench.measure.clock import in_turns
from bench.stats import paired_ratio
from benchmarks.cnf_arms import ARMS, SOLVER, CnfSetting
from replications.flows.ode.onednn import available, product
from replications.flows.ode.step import compiled_steps, tableau

SETTING = CnfSetting(43, (860, 860, 860), 1000, "softplus")
TIMED = ("ours", "ours, compiled")
STEP = "training step"
REPEATS = 10
"""Plain products of each kind timed beside one step."""


def work(setting: CnfSetting, forward: int, backward: int) -> int:
    """Return the floating point operations of a step; see the list of this module."""
    layers = [a * b for a, b in itertools.pairwise((setting.dim, *setting.hidden, setting.dim))]
    first, last, pairs = layers[0], layers[-1], sum(layers)
    steps = backward // len(tableau(SOLVER.method).needed)
    again = backward * 2 * pairs - steps * 2 * last
    return 2 * setting.batch * (forward * 2 * pairs + again + backward * (4 * pairs - first))


class Rates:
    """Rates of an arm's training step and of plain products, measured in turns.

    Args:
        arm: name of the arm.
        threads: how many; one is timed by CPU time, more by wall time.
    """

    def __init__(self, arm: str, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.compiler.reset()  # compiled code keeps the number of threads
        compiled_steps.cache_clear()
        self.clock = time.process_time if threads == 1 else time.perf_counter
        self.training = ARMS[arm](SETTING)
        counter = next(self.training).counter
        self.evaluations = counter.forward_evaluations, counter.backward_evaluations
        self.work = work(SETTING, *self.evaluations)
        n, generator = max(SETTING.hidden), torch.Generator().manual_seed(0)
        self.right = torch.randn(n, n, generator=generator)
        self.lefts = [torch.randn(rows, n, generator=generator) for rows in (SETTING.batch, n)]

    def step(self) -> float:
        """Return the floating point operations of a training step per second."""
        return self.work / self._seconds(lambda: next(self.training))

    def plain(self, multiply: Callable[[Tensor, Tensor], Tensor]) -> float:
        """Return those of the faster plain product per second."""
        return max(2 * left.numel() * len(self.right) / self._each(multiply, left) for left in self.lefts)

    def _each(self, multiply: Callable[[Tensor, Tensor], Tensor], left: Tensor) -> float:
        return statistics.median(self._seconds(lambda: multiply(left, self.right)) for _ in range(REPEATS))

    def _seconds(self, act: Callable[[], object]) -> float:
        start = self.clock()
        act()
        return self.clock() - start


def compare(arm: str, threads: int, rounds: int) -> None:
    """Print the rates and their ratio, step over plain product."""
    rates = Rates(arm, threads)
    kinds: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch": torch.mm}
    if available():
        kinds["oneDNN"] = product
    rate = {kind: partial(rates.plain, multiply) for kind, multiply in kinds.items()} | {STEP: rates.step}
    plain: dict[str, list[float]] = {kind: [] for kind in rate}
    for order in in_turns(rate, rounds):
        for kind in order:
            plain[kind].append(rate[kind]())
    steps = plain.pop(STEP)
    forward, backward = rates.evaluations
    print(
        f"  {arm:15} NFE {forward:3} + {backward:3}, {rates.work / 1e9:.0f} GFLOP, {threads} thread(s): "
        f"{statistics.median(steps) / 1e9:.0f} GFLOP/s"
    )
    for kind, values in plain.items():
        ratio = paired_ratio(steps, values)
        print(
            f"    of {kind}'s plain product, {statistics.median(values) / 1e9:.0f} GFLOP/s: {ratio.mean:.0%}, "
            f"95 % interval {ratio.low:.0%} to {ratio.high:.0%}",
            flush=True,
        )


class StepOverProducts:
    """Time of a training step over that of its products alone, at the rate of torch's plain product."""

    timeout = 300.0
    params = (list(TIMED), [1, 2])
    param_names = ("arm", "threads")
    unit = "1"

    def setup(self, arm: str, threads: int) -> None:
        self.rates = Rates(arm, threads)

    def track_ratio(self, arm: str, threads: int) -> float:
        return self.rates.plain(torch.mm) / self.rates.step()


def main(rounds: int = 5) -> None:
    """Print the rates of eager and compiled steps, on one thread and on two."""
    print(SETTING)
    for threads in (1, 2):
        for arm in TIMED:
            compare(arm, threads, rounds)


if __name__ == "__main__":
    main()
