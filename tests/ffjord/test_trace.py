import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.registry import resolve
from replications.ffjord.experiments.trace import figures
from replications.ffjord.experiments.trace.declaration import TRACE
from replications.ffjord.experiments.trace.probes import Estimated, count
from replications.ffjord.experiments.trace.run import (
    closed_form,
    jacobian,
    record_exponent,
    variance_of_means,
)
from replications.flows.density.cnf import CNF
from replications.flows.density.divergence import Divergence
from replications.flows.density.priors import StandardNormal
from replications.flows.fields.mlp import MlpField
from replications.tasks.trace.estimators import adjoint_product, by_vjp, ways

T = torch.tensor(0.5, dtype=torch.float64)
PROBES = (1, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def mlp(d: int, hidden: tuple[int, ...]) -> MlpField:
    return MlpField(d, hidden, generator(), "concatsquash").double()


def full_jacobians(field: nn.Module, x: Tensor) -> Tensor:
    """df/dx of each state, by reverse mode."""
    return torch.stack([torch.autograd.functional.jacobian(lambda z: field(T, z[None])[0], one) for one in x])


HIDDEN = {1: (7,), 2: (6, 5), 3: (6, 5, 7)}


@pytest.mark.parametrize("layers", HIDDEN)
def test_every_way_gives_its_divergence(layers: int) -> None:
    field, x, eps = mlp(4, HIDDEN[layers]), normal(5, 4), normal(3, 5, 4, seed=2)
    full = full_jacobians(field, x)
    found = {name: way.work(field, T, x, eps) for name, way in ways(layers, PROBES).items()}
    torch.testing.assert_close(found.pop("field"), field(T, x), rtol=0, atol=0)
    products = torch.einsum("kbi,bij,kbj->kb", eps, full, eps)
    expected = {name: full.diagonal(dim1=1, dim2=2).sum(1) for name in ("exact", "loop", "closed form")}
    expected |= {f"hutchinson-{k}": products[:k].mean(0) for k in PROBES} | {"vjp": products[0]}
    found.pop("vjp, parameters")
    assert set(found) == set(expected) - ({"closed form"} if layers == 3 else set())
    for name, result in found.items():
        f, divergence = result[:2]
        torch.testing.assert_close(f, field(T, x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(divergence, expected[name], rtol=1e-12, atol=1e-12)


def test_products_with_the_jacobian_from_the_left() -> None:
    field, x, a = mlp(4, (6, 5)), normal(5, 4), normal(5, 4, seed=2)
    f, along, *shares = adjoint_product(field, T, x, a)
    torch.testing.assert_close(along, torch.einsum("bi,bij->bj", a, full_jacobians(field, x)))
    torch.testing.assert_close(f, field(T, x))
    expected = torch.autograd.grad((field(T, x) * a).sum(), list(field.parameters()))
    for share, other in zip(shares, expected, strict=True):
        torch.testing.assert_close(share, other)
    assert not by_vjp(field, T, x, a)[1].requires_grad


@pytest.mark.parametrize("layers", HIDDEN)
def test_operations_are_those_that_torch_counts(layers: int) -> None:
    d, batch, hidden = 4, 5, HIDDEN[layers]
    field, x, eps = mlp(d, hidden), normal(batch, d), normal(3, batch, d, seed=2)
    for name, way in ways(layers, PROBES).items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            counter.mod_tracker.__exit__(
                None, None, None
            )  # counts by module, which autograd.grad does not allow
            way.work(field, T, x, eps)
        stated = way.flops((d, *hidden, d), batch)
        # One hidden layer's closed form is a product with a vector, which torch does not count.
        uncounted = 2 * batch * hidden[0] if (name, layers) == ("closed form", 1) else 0
        assert counter.get_total_flops() == stated - uncounted, name


# Nodes and weights whose sums are the moments of the probes up to the fifth: both signs, and Gauss-Hermite's three.
SUMS = {
    "rademacher": ((-1.0, 1.0), (0.5, 0.5)),
    "gaussian": ((-math.sqrt(3), 0.0, math.sqrt(3)), (1 / 6, 2 / 3, 1 / 6)),
}


@pytest.mark.parametrize("kind", SUMS)
def test_closed_form_of_the_variance_is_the_exact_one(kind: str) -> None:
    d = 3
    nodes, weights = (torch.tensor(v, dtype=torch.float64) for v in SUMS[kind])
    eps = torch.stack([torch.stack(e) for e in itertools.product(nodes, repeat=d)])
    mass = torch.stack([torch.stack(w).prod() for w in itertools.product(weights, repeat=d)])
    j = normal(2, d, d)
    values = torch.einsum("ki,bij,kj->kb", eps, j, eps)
    mean = mass @ values
    torch.testing.assert_close(mean, j.diagonal(dim1=1, dim2=2).sum(1))
    variance = mass @ (values - mean).square()
    assert closed_form(j, kind) == pytest.approx(variance.mean().item(), rel=1e-12)


def test_jacobian_by_unit_vectors() -> None:
    field, x = mlp(4, (6, 5)), normal(5, 4)
    torch.testing.assert_close(jacobian(field, T, x), full_jacobians(field, x), rtol=1e-12, atol=1e-12)


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
    for kind in SUMS:
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
