"""Cost and variance of the divergence against the dimension, fixed and fresh probes, and what is recorded of them."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.registry import resolve
from replications.ffjord.experiments.trace import figures
from replications.ffjord.experiments.trace.declaration import TRACE
from replications.ffjord.experiments.trace.probes import Estimated, count
from replications.ffjord.experiments.trace.run import (
    Series,
    measure,
    record_exponent,
    record_moments,
    record_quotients,
    variance_of_means,
    weight,
)
from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import Divergence
from replications.flows.density.priors import StandardNormal

T = torch.tensor(0.5, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_variance_of_means_of_draws() -> None:
    values = torch.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 4.0], [11.0, 4.0]], dtype=torch.float64)
    assert variance_of_means(values, 1) == pytest.approx((56 / 3 + 16 / 3) / 2)  # means 5 and 2
    assert variance_of_means(values, 2) == pytest.approx((18 + 8) / 2)  # of 2 and 8, of 0 and 4


def perform(variant: str, folder: Path, seed: int = 0) -> Run:
    run = Run(identify(TRACE, variant, "smoke", seed), folder)
    resolve(TRACE.run)(run, TRACE.configure(variant, "smoke"))
    return run


def test_exponents_come_from_the_largest_dimensions(tmp_path: Path) -> None:
    run = Run(identify(TRACE, "fixed", "smoke", 0), tmp_path)
    dims = (2, 4, 8, 16, 32, 64)
    record_exponent(run, "law", dims, [7.0, 7.0, *(3.0 * d**2 for d in dims[2:])], "protocol")
    measured = run.metrics["scaling_exponent[law/D]"]
    assert measured.value == pytest.approx(2.0, abs=1e-12)
    assert measured.protocol == "protocol/D = 8, 16, 32, 64"


def test_bias_variance_and_their_errors_are_those_of_the_draws(tmp_path: Path) -> None:
    run = Run(identify(TRACE, "fixed", "smoke", 0), tmp_path)
    config = TRACE.configure("fixed", "smoke")
    j = torch.tensor(
        [[[1.0, 2.0], [0.0, 3.0]], [[0.5, -1.0], [3.0, 1.5]]], dtype=torch.float64
    )  # traces 4 and 2
    values = torch.tensor(
        [[5.0, 2.0], [7.0, 2.0], [4.0, 3.0], [4.0, 5.0]], dtype=torch.float64
    )  # means 5 and 3
    record_moments(run, "gaussian", values, j, config, "p")
    found = run.metrics
    variance = (6 / 3 + 6 / 3) / 2
    assert found["trace_bias[gaussian]"].value == pytest.approx(1.0)
    assert found["trace_bias[gaussian]"].n == 8
    assert found["trace_bias[gaussian]"].se == pytest.approx((variance / 8) ** 0.5)
    assert found["ratio[bias/standard error: gaussian]"].value == pytest.approx(1 / (variance / 8) ** 0.5)
    assert found["trace_variance[gaussian]"].value == pytest.approx(variance)
    # 2 |A|_F^2 of both symmetric parts: 2 (1 + 9 + 2) and 2 (0.25 + 2.25 + 2)
    closed = (24 + 9) / 2
    assert found["ratio[variance/closed form: gaussian]"].value == pytest.approx(variance / closed)
    assert run.curves["variance/K[gaussian]"].y[0] == pytest.approx(variance)


def test_methods_are_warmed_up_timed_in_turns_and_weighed() -> None:
    done: list[str] = []
    kept: list[Tensor] = []

    def work(name: str) -> None:
        done.append(name)
        kept[:] = [torch.empty(1000, dtype=torch.uint8)]

    found = {"a": Series(), "b": Series()}
    measure(found, 3, {name: partial(work, name) for name in found}, 3, "cpu")
    assert "".join(done) == "abab" + "abbaab"  # two of each that are not timed
    assert [(each.dims, len(each.turns[0]), each.memory) for each in found.values()] == [([3], 3, [])] * 2
    assert found["a"].seconds == [sorted(found["a"].turns[0])[1]]
    assert weight(partial(work, "a"), "cpu") == 1000


def test_a_quotient_is_one_of_turns(tmp_path: Path) -> None:
    """Equal methods, a machine that takes a second more at every call: a b, b a, a b."""
    names = ("exact", "loop", "hutchinson-1", "field", "vjp", "vjp, parameters")
    run = Run(identify(TRACE, "fixed", "smoke", 0), tmp_path)
    slow, other = [[1.0, 4.0, 5.0]] * 3, [[2.0, 3.0, 6.0]] * 3
    found = {name: Series([2, 4, 8], slow if name == "exact" else other) for name in names}
    record_quotients(run, found, "hutchinson-1", "p")
    assert run.metrics["ratio[time: exact/hutchinson-1]"].value == pytest.approx(1.0)
    assert run.metrics["scaling_exponent[exact over hutchinson-1: time/D]"].value == pytest.approx(0.0)


class Linear(nn.Module):
    """f(x) = A x, whose estimated divergence is constant along a solve with a fixed probe."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(a)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x @ self.a.T


LINEAR = Linear(torch.tensor([[0.1, 0.4], [-0.2, 0.1]], dtype=torch.float64))


def counts(fresh: bool, tolerance: float, budget: int = 10**6) -> tuple[int, float]:
    flow = CNF(LINEAR, StandardNormal(2))
    return count(flow, normal(8, 2), "rademacher", tolerance, fresh, generator(3), budget)


def test_a_fixed_probe_is_drawn_once_and_a_fresh_one_at_every_evaluation() -> None:
    state = (normal(8, 2), torch.zeros(8, dtype=torch.float64))
    fixed, fresh = (Estimated(LINEAR, Divergence("gaussian"), generator(3), f) for f in (False, True))
    assert torch.equal(fixed(T, state)[1], fixed(T, state)[1])
    assert not torch.equal(fresh(T, state)[1], fresh(T, state)[1])


def test_fresh_probes_make_the_steps_as_short_as_the_tolerance() -> None:
    fixed, fresh = ([counts(f, tol)[0] for tol in (1e-3, 1e-4)] for f in (False, True))
    assert fresh[1] / fresh[0] == pytest.approx(10, rel=0.3)
    assert fixed[1] / fixed[0] < 2


def test_a_solve_that_the_budget_ends_says_how_far_it_came() -> None:
    nfe, share = counts(True, 1e-4)
    assert share == 1
    spent, reached = counts(True, 1e-4, nfe // 2)
    assert nfe // 2 - 6 <= spent <= nfe // 2
    assert reached == pytest.approx(0.5, abs=0.1)


def untimed(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if "time" not in key}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant."""
    return {variant: perform(variant, tmp_path_factory.mktemp(variant)) for variant in TRACE.variants}


def test_every_reported_metric_is_declared(runs: dict[str, Run]) -> None:
    reported = {split_key(key)[0] for run in runs.values() for key in run.metrics}
    assert reported == set(TRACE.metrics)
    assert "evaluation_time[closed form]" in runs["two_layers"].metrics
    assert "evaluation_time[closed form]" not in runs["fixed"].metrics


def test_runs_repeat_for_a_seed_and_change_with_it(runs: dict[str, Run], tmp_path: Path) -> None:
    for variant in ("fixed", "probes"):
        assert untimed(runs[variant]) == untimed(perform(variant, tmp_path))
    other = perform("fixed", tmp_path, seed=1)
    assert other.metrics["trace_variance[gaussian]"] != runs["fixed"].metrics["trace_variance[gaussian]"]


def test_variance_falls_with_the_probes_and_memory_grows_with_the_dimension(runs: dict[str, Run]) -> None:
    metrics = runs["wide"].metrics
    assert metrics["scaling_exponent[exact: flops/D]"].value == pytest.approx(2 + math.log2(5 / 3), abs=1e-9)
    assert metrics["scaling_exponent[hutchinson-1: flops/D]"].value == pytest.approx(2, abs=1e-9)
    for kind in ("rademacher", "gaussian"):
        one, two = runs["fixed"].curves[f"variance/K[{kind}]"].y
        assert two < one


DRAWN: dict[str, tuple[Callable[..., Any], int]] = {
    "cost": (figures.cost, 3),
    "variance": (figures.variance, 2),
}


def test_figures_draw_what_there_is_and_nothing_else(runs: dict[str, Run]) -> None:
    records = [Record(r.identity, "done", metrics=r.metrics, curves=r.curves) for r in runs.values()]
    for draw, panels in DRAWN.values():
        assert len(draw(records).axes) == panels
        assert draw(records[-1:]) is None
    assert len(figures.probes(records).axes[0].lines) == 4
    assert figures.probes(records[:-1]) is None
