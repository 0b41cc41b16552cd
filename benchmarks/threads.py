"""Whether an experiment deserves more than one thread: its training steps on one and on more, in turn, within one run.

`python -m benchmarks.threads neural_ode.mnist/odenet ffjord.images/mnist` prints, for each, the ratio of the median
step times; above 1 more threads were faster. On a machine that others use the ratio means nothing: a program with more
threads is given more of it. What others used is printed beside it.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench.execution.cores import cores
from bench.execution.plan import plan
from bench.execution.run import Run
from bench.measure.load import Load
from bench.registry import resolve

WARMUP = 4
"""Steps that are not timed; after each change of the number of threads, one."""


class Enough(BaseException):
    """Ends a run whose steps have been timed."""


class Alternation:
    """Times steps on one thread and on `count`, in the order 1, n, n, 1, for some seconds from the first on."""

    def __init__(self, count: int, seconds: float) -> None:
        self.order, self.seconds = (1, count, count, 1), seconds
        self.times: dict[int, list[float]] = {1: [], count: []}
        self.steps, self.first, self.last = 0, 0.0, 0.0

    def __call__(self, *_: Any) -> None:
        """Keep the time of the step that ends, and set the threads of the next; each number has two steps."""
        now, pair = time.perf_counter(), self.steps // 2
        self.first = self.first if self.steps else now
        if self.steps >= WARMUP and self.steps % 2:
            self.times[self.order[pair % 4]].append(now - self.last)
        self.steps += 1
        if now > self.first + self.seconds:
            raise Enough
        torch.set_num_threads(self.order[self.steps // 2 % 4])
        self.last = time.perf_counter()


def alternate(target: str, tier: str, count: int, seconds: float) -> str:
    """Return a line on the steps of one variant."""
    (job,) = plan([target], tier, [0])
    config = job.experiment.configure(job.identity.variant, tier)
    torch.set_num_threads(1)
    timed, load = Alternation(count, seconds), Load()
    hook = register_optimizer_step_post_hook(timed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            resolve(job.experiment.run)(Run(job.identity, Path(folder), "cpu", io.StringIO()), config)
    except Enough:
        pass
    finally:
        hook.remove()
    one, more = timed.times[1], timed.times[count]
    if min(len(one), len(more)) < 3:
        return f"{target}: too few steps in {seconds:g} s"
    ratio = statistics.median(one) / statistics.median(more)
    return (
        f"{target}: {1000 * statistics.median(one):.2f} ms a step on one thread, {ratio:.2f} times as fast on {count} "
        f"({len(one)} and {len(more)} steps; shared: {load.end()['shared']})"
    )


def main() -> None:
    """Print a line for each variant named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    parser.add_argument("targets", nargs="+", help="<experiment>/<variant>")
    parser.add_argument("--tier", default="cpu")
    parser.add_argument("--threads", type=int, default=cores().usable)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    for target in given.targets:
        print(alternate(target, given.tier, given.threads, given.seconds), flush=True)


if __name__ == "__main__":
    main()
