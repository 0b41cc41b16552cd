"""What a training step, a generation and a coupling of Flow Matching cost; see `flow_matching_arms` and its peers.

`OMP_NUM_THREADS=1 python -m benchmarks.flow_matching` prints all of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from bench.measure.clock import take_turns
from bench.stats import paired_ratio
from benchmarks.counting import Counting
from benchmarks.flow_matching_arms import (
    SAMPLES,
    SETTINGS,
    FlowMatchingSetting,
    FlowMatchingTask,
    Step,
    generation,
    training,
)
from benchmarks.flow_matching_peers import PEERS, absence, plan_sampler
from replications.flow_matching.coupling import exact
from replications.flows.ode.solver import Solver

OURS = ("ours", "ours, compiled")
COUPLED = {"256 points": (256, 2), "512 points": (512, 2), "64 images": (64, 196), "128 images": (128, 3072)}
"""Size of a batch and dimensions of what is coupled."""


def train(setting: FlowMatchingSetting, arm: str, method: str = "fm-ot") -> Step:
    """Return a step of the training by an arm; a peer trains by its own method."""
    name, compiled = arm.removesuffix(", compiled"), arm.endswith("compiled")
    if name in PEERS:
        return PEERS[name].training(setting, compiled)[1]
    return training(method, setting, compiled)[1]


def generate(
    setting: FlowMatchingSetting, arm: str, solver: Solver, count: bool = False
) -> tuple[Step, nn.Module]:
    """Return a generation by an arm, and its network, which counts its evaluations where that is asked for."""
    name, compiled = arm.removesuffix(", compiled"), arm.endswith("compiled")
    task = FlowMatchingTask(setting, compiled and name in PEERS)
    network = Counting(task.velocity) if count else task.network
    x0 = setting.normal(SAMPLES, torch.Generator().manual_seed(1))
    if name in PEERS:
        return PEERS[name].generation(network, solver, x0), network
    return generation(network, solver, x0, compiled and not count), network


def couple(size: tuple[int, int], arm: str) -> Step:
    """Return a coupling by an arm: ours or torchcfm's."""
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(size, generator=generator), torch.randn(size, generator=generator)
    x1 += x1.sign()  # not the law of the noise
    if arm == "ours":
        return lambda: exact(x0, x1, generator)
    sample = plan_sampler()
    return lambda: sample(x0, x1)


def _skip(arm: str, generating: bool = False) -> None:
    if arm in PEERS and (reason := absence(arm, generating)):
        raise NotImplementedError(reason)  # which asv takes as: skip


class TrainingStep:
    """The cost of a training step from commit to commit, beside the peers that are installed."""

    timeout = 300.0
    params = (list(SETTINGS), [*OURS, *PEERS])
    param_names = ("setting", "arm")

    def setup(self, setting: str, arm: str) -> None:
        _skip(arm)
        self.step = train(SETTINGS[setting], arm)
        self.step()

    def time_step(self, setting: str, arm: str) -> None:
        self.step()


class Generation:
    """The cost of 1000 samples by the first solver of a setting."""

    timeout = 300.0
    params = (list(SETTINGS), [*OURS, *PEERS])
    param_names = ("setting", "arm")

    def setup(self, setting: str, arm: str) -> None:
        _skip(arm, generating=True)
        self.generate = generate(SETTINGS[setting], arm, SETTINGS[setting].solvers[0])[0]
        self.generate()

    def time_samples(self, setting: str, arm: str) -> None:
        self.generate()


class Coupling:
    """The cost of the exact coupling of a batch."""

    params = (list(COUPLED), ["ours", "torchcfm"])
    param_names = ("batch", "arm")

    def setup(self, batch: str, arm: str) -> None:
        _skip(arm)
        self.couple = couple(COUPLED[batch], arm)

    def time_coupling(self, batch: str, arm: str) -> None:
        self.couple()


def report(title: str, timings: dict[str, list[float]], nfe: dict[str, int] | None = None) -> None:
    """Print the median of each arm, its share an evaluation, and how often faster ours is than each peer."""
    print(title)
    for arm, seconds in timings.items():
        milliseconds = 1000 * statistics.median(seconds)
        line = f"  {arm:23}{milliseconds:9.3f} ms"
        if nfe:
            line += f", NFE {nfe[arm]:3}, {milliseconds / nfe[arm]:.3f} an evaluation"
        for peer in (other for other in timings if other not in OURS and arm in OURS):
            ratio = paired_ratio(timings[peer], seconds)
            line += f"  {ratio.mean:.2f}x {peer} ({ratio.low:.2f} to {ratio.high:.2f})"
        print(line, flush=True)


def _arms(peers: Iterable[str], generating: bool = False) -> list[str]:
    """Return the arms to be timed: ours, and those peers that are here, eager and compiled."""
    reasons = {name: absence(name, generating) for name in peers}
    for reason in filter(None, reasons.values()):
        print(f"  skipped: {reason}")
    here = [name for name, reason in reasons.items() if reason is None]
    return [*here, *(f"{name}, compiled" for name in here), *OURS]


def in_turns(arms: Mapping[str, Step], turns: int, steps: int = 1) -> dict[str, list[float]]:
    """Return the CPU seconds of one step in each turn of each arm, after two turns to compile and to warm up.

    On one thread CPU time is the wall time of an otherwise idle machine.
    """
    return take_turns(arms, turns, time.process_time, warmup=2, steps=steps)


def compare_training(name: str, setting: FlowMatchingSetting) -> None:
    """Print a step by each method, ours beside the peer's."""
    for peer, its in PEERS.items():
        steps = {arm: train(setting, arm, its.method) for arm in _arms([peer])}
        seconds = in_turns(steps, setting.turns, setting.steps)
        report(f"training step, {name}, batch {setting.batch}, {its.method}", seconds)


def compare_generation(name: str, setting: FlowMatchingSetting) -> None:
    """Print a generation by each solver, with its evaluations."""
    arms = _arms(PEERS, generating=True)
    for solver in setting.solvers:
        seconds = in_turns({arm: generate(setting, arm, solver)[0] for arm in arms}, setting.turns)
        nfe = {arm: evaluations(setting, arm, solver) for arm in arms}
        report(f"{SAMPLES} samples, {name}, {solver.protocol}", seconds, nfe)


def evaluations(setting: FlowMatchingSetting, arm: str, solver: Solver) -> int:
    """Return the evaluations of a generation by an arm; a compiled one has those of the same one eager."""
    run, network = generate(setting, arm, solver, count=True)
    assert isinstance(network, Counting)
    network.counter.reset()
    run()
    return network.counter.forward_evaluations


def main() -> None:
    """Print training, generation and coupling."""
    torch.set_num_threads(1)
    for name, setting in SETTINGS.items():
        compare_training(name, setting)
        compare_generation(name, setting)
    for batch, size in COUPLED.items():
        arms = [arm for arm in _arms(["torchcfm"]) if "compiled" not in arm]
        seconds = in_turns({arm: couple(size, arm) for arm in arms}, 30)
        report(f"exact coupling, {batch} of {size[1]} dimensions", seconds)


if __name__ == "__main__":
    main()
