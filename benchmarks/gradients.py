"""What a gradient through a solve costs: time, function evaluations, and memory of a step.

`python -m benchmarks.gradients` prints, for each field and solver, how much faster each way is than
torchdiffeq's adjoint in the same process, and each way's growth of peak memory with the number of steps.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint_adjoint

from bench.measure.clock import quotient, take_turns
from bench.measure.memory import peak_memory
from bench.stats import fit_line
from replications.flows.fields.mlp import MlpField
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve


@dataclass(frozen=True)
class Case:
    """A tanh network with time appended at every layer, `(batch, dim)` states.

    Args:
        dim: D.
        hidden: widths of the hidden layers.
        batch: B.
    """

    dim: int
    hidden: tuple[int, ...]
    batch: int


CASES = {
    "toy": Case(2, (64, 64, 64), 512),
    "mnist": Case(64, (64,), 128),
    "wide": Case(64, (256,) * 4, 256),
}
SOLVERS = {"dopri5": Solver("dopri5", rtol=1e-5, atol=1e-5), "rk4": Solver("rk4", steps=100)}
REFERENCE = "torchdiffeq adjoint"
WAYS = (REFERENCE, "adjoint", "backprop", "checkpoint", "tape", "checkpoint compiled", "tape compiled")
GRADIENTS = ("backprop", "adjoint", "checkpoint", "tape")
STEPS = (8, 16, 32)


class Pass:
    """A forward and backward pass: the mean square of the state at t = 1, by parameters and state at t = 0."""

    def __init__(self, case: Case, solver: Solver, way: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.field, self.counter = MlpField(case.dim, case.hidden, generator), Counter()
        self.x = torch.randn(case.batch, case.dim, generator=generator).requires_grad_()
        self.solver, self.way = solver, way

    def __call__(self) -> None:
        self.field.zero_grad()
        self.x.grad = None
        self.end().square().mean().backward()

    def end(self) -> Tensor:
        """Return the state at t = 1 `(B, D)`."""
        if self.way == REFERENCE:
            return self._reference()
        gradient, _, compiled = self.way.partition(" ")
        return solve(
            self.field, self.x, 0.0, 1.0, self.solver, gradient, compiled=bool(compiled), counter=self.counter
        )

    def _reference(self) -> Tensor:
        """Solve by torchdiffeq as its user would, with the adjoint's default options."""
        steps = self.solver.steps
        states: Tensor = odeint_adjoint(
            self.field,
            self.x,
            torch.tensor((0.0, 1.0)),
            method=self.solver.method,
            rtol=self.solver.rtol,
            atol=self.solver.atol,
            options={"step_size": 1 / steps} if steps else None,
        )
        return states[-1]

    def evaluations(self) -> tuple[int, int]:
        """Return the function evaluations of one pass, forward and backward."""
        self.counter.reset()
        self()
        return self.counter.forward_evaluations, self.counter.backward_evaluations


def memory_slope(case: Case, gradient: str, method: str = "rk4") -> float:
    """Return the growth of a pass's peak memory in bytes a step, by a line through `STEPS`."""
    peaks = []
    for steps in STEPS:
        work = Pass(case, Solver(method, steps=steps), gradient)
        with peak_memory() as peak:
            work()
        peaks.append(peak.bytes)
    return fit_line(STEPS, peaks).slope


class Gradients:
    """Time and evaluations of one forward and backward pass."""

    params = (list(CASES), list(SOLVERS), list(WAYS))
    param_names = ("field", "solver", "gradient")
    timeout = 600.0

    def setup(self, case: str, solver: str, way: str) -> None:
        self.work = Pass(CASES[case], SOLVERS[solver], way)
        self.work()  # compiles, where it does

    def time_pass(self, case: str, solver: str, way: str) -> None:
        self.work()

    def track_evaluations(self, case: str, solver: str, way: str) -> int:
        return sum(self.work.evaluations())

    track_evaluations.unit = "function evaluations, forward and backward"  # type: ignore[attr-defined]


class Memory:
    """Growth of the peak memory of a pass with the number of RK4 steps."""

    params = (list(CASES), list(GRADIENTS))
    param_names = ("field", "gradient")

    def track_slope(self, case: str, gradient: str) -> float:
        return memory_slope(CASES[case], gradient)

    track_slope.unit = "bytes a step"  # type: ignore[attr-defined]


def ratios(rounds: int = 7) -> None:
    """Print each way's time, how much faster it is than torchdiffeq's adjoint, and its evaluations."""
    print(f"{'field':6} {'solver':7} {'gradient':20} {'ms':>8} {'speed':>7}   NFE forward + backward")
    for case_name, case in CASES.items():
        for solver_name, solver in SOLVERS.items():
            torch.compiler.reset()
            passes = {way: Pass(case, solver, way) for way in WAYS}
            evaluations = {way: work.evaluations() for way, work in passes.items()}
            turns = take_turns(passes, rounds, time.perf_counter, warmup=0)
            seconds = {way: statistics.median(values) for way, values in turns.items()}
            for way, (forward, backward) in evaluations.items():
                speed = quotient(turns[REFERENCE], turns[way])
                what = f"{case_name:6} {solver_name:7} {way:20}"
                print(f"{what} {1000 * seconds[way]:8.1f} {speed:6.2f}x   {forward} + {backward}", flush=True)


def slopes() -> None:
    """Print each gradient's growth of memory, and the state's size plus 2 % of the growth of `backprop`."""
    print(f"{'field':6} {'gradient':12} {'bytes a step':>14} {'bound':>12}")
    for name, case in CASES.items():
        slope = {gradient: memory_slope(case, gradient) for gradient in GRADIENTS}
        bound = 4 * case.batch * case.dim + 0.02 * slope["backprop"]
        for gradient, value in slope.items():
            print(
                f"{name:6} {gradient:12} {value:14.1f} {'' if gradient in ('backprop', 'tape') else f'{bound:12.1f}'}"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    slopes()
    ratios()
