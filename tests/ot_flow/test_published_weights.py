"""The weights that OT-Flow's authors published, as flows of ours; what is made up needs no file."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import perform
from torch import Tensor

from bench.data import tabular
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from replications.flows.density.cnf import CNF
from replications.flows.density.priors import StandardNormal
from replications.ot_flow.experiments.published_weights import run as run_module
from replications.ot_flow.experiments.published_weights.declaration import WEIGHTS
from replications.ot_flow.experiments.published_weights.weights import potential, published
from replications.ot_flow.measured import costs_of, rounding_error
from replications.ot_flow.method import rk4
from replications.ot_flow.potential import GradientField
from replications.tasks.splits import TestSet

Arrays = Mapping[str, NDArray[np.floating]]
HERE = Path(os.environ.get("CNF_BENCH_DATA", "")) / "ot_flow" / "miniboone_weights.npz"
needs_weights = pytest.mark.skipif(
    not HERE.is_file(), reason="CNF_BENCH_DATA names no folder with the published weights"
)
REAL = [pytest.param(name, marks=needs_weights) for name in ("miniboone", "swissroll")]


def made(layers: int = 3, dim: int = 3, width: int = 4) -> dict[str, NDArray[np.floating]]:
    """Arrays in the authors' layout, of no potential in particular."""
    draw = np.random.default_rng(0).normal
    arrays = {"A": draw(size=(dim + 1, dim + 1)), "c.weight": draw(size=(1, dim + 1)), "c.bias": draw(size=1)}
    arrays["w.weight"] = draw(size=(1, width))
    for i in range(layers):
        arrays[f"N.layers.{i}.weight"] = draw(size=(width, dim + 1 if i == 0 else width))
        arrays[f"N.layers.{i}.bias"] = draw(size=width)
    return arrays


def value(arrays: Arrays, s: Tensor) -> Tensor:
    """Phi at one s = (x, t), from the arrays alone: w u + |A s|^2 / 2 + c s + c'."""
    a = {name: torch.tensor(array, dtype=torch.float64) for name, array in arrays.items()}
    layers = [name.removesuffix(".bias") for name in a if name.startswith("N.") and name.endswith(".bias")]
    u, opening = torch.zeros((), dtype=torch.float64), True
    for name in sorted(layers):
        z = a[f"{name}.weight"] @ (s if opening else u) + a[f"{name}.bias"]
        lifted = torch.logaddexp(z, -z)
        u, opening = (lifted, False) if opening else (u + lifted / (len(layers) - 1), False)
    return (a["w.weight"] @ u + 0.5 * (a["A"] @ s).square().sum() + a["c.weight"] @ s + a["c.bias"]).squeeze()


@pytest.mark.parametrize("name", ["made", *REAL])
def test_the_potential_is_that_of_the_raw_arrays(name: str) -> None:
    arrays = made() if name == "made" else published(name)
    phi = potential(arrays).double()
    x = torch.randn(4, phi.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = torch.tensor(0.37, dtype=torch.float64)
    theirs = torch.stack([value(arrays, torch.cat([row, t[None]])) for row in x])
    torch.testing.assert_close(phi(t, x), theirs, rtol=1e-12, atol=1e-12)


def test_the_precision_is_that_of_the_arrays() -> None:
    assert {p.dtype for p in potential(made()).parameters()} == {torch.float64}
    single = {name: array.astype(np.float32) for name, array in made().items()}
    assert {p.dtype for p in potential(single).parameters()} == {torch.float32}


@pytest.mark.parametrize("absent", ["A", "w.weight", "c.bias", "N.layers.0.bias", "N.layers.2.bias"])
def test_an_absent_array_is_named(absent: str) -> None:
    arrays = made()
    del arrays[absent]
    with pytest.raises(UserError, match="weights are named"):
        potential(arrays)


def test_an_array_too_many_or_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match=r"weights are named .*extra.*; expected"):
        potential(made() | {"extra": np.zeros(1)})
    with pytest.raises(UserError, match="unfitting shapes"):
        potential(made() | {"A": np.zeros((2, 9))})


def flow_of(arrays: Arrays) -> CNF:
    phi = potential(arrays)
    return CNF(GradientField(phi), StandardNormal(phi.dim))


def by_hand(arrays: Arrays, x: Tensor, steps: int) -> Tensor:
    """L, C and R of one x by RK4 (torchdiffeq's, the 3/8 rule), all slopes by autograd from the values of Phi."""
    d = len(x)

    def slopes(t: float, y: Tensor) -> Tensor:
        s = torch.cat([y[:d], y.new_tensor([t])])
        by_s = torch.autograd.functional.jacobian(lambda s: value(arrays, s), s)
        trace = torch.autograd.functional.hessian(lambda s: value(arrays, s), s).diagonal()[:d].sum()
        kinetic = 0.5 * by_s[:d].square().sum()
        return torch.cat([-by_s[:d], torch.stack([-trace, kinetic, (kinetic - by_s[d]).abs()])])

    y, h = torch.cat([x, torch.zeros(3, dtype=torch.float64)]), 1 / steps
    for n in range(steps):
        k1 = slopes(n * h, y)
        k2 = slopes((n + 1 / 3) * h, y + h * k1 / 3)
        k3 = slopes((n + 2 / 3) * h, y + h * (k2 - k1 / 3))
        k4 = slopes((n + 1) * h, y + h * (k1 - k2 + k3))
        y = y + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)
    delta, L, R = y[d:]
    return torch.stack([L, -(StandardNormal(d).log_prob(y[None, :d])[0] + delta), R])


@needs_weights
def test_the_terms_of_real_rows_are_those_of_an_independent_solution() -> None:
    arrays = published("miniboone")
    x = torch.tensor(tabular.load("miniboone_heldout").test[:3]).double()
    ours = torch.stack(costs_of(flow_of(arrays).double(), x, 6)[:3], 1)
    theirs = torch.stack([by_hand(arrays, row, 6) for row in x])
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@needs_weights
def test_the_experiment_reports_the_terms_of_its_rows(tmp_path: Path) -> None:
    run = perform(WEIGHTS, "miniboone_test", tmp_path, rows=200)
    x = torch.tensor(tabular.load("miniboone_heldout").test[:200]).double()
    double = [term.mean().item() for term in costs_of(flow_of(published("miniboone")).double(), x, 18)]
    for name, exact in zip(("transport_cost", "nll", "hjb_residual", "straightness"), double, strict=True):
        measured = run.metrics[f"{name}[own solver]"]
        assert measured.n == 200
        assert measured.value == pytest.approx(exact, abs=1e-3), name
    assert run.metrics["parameters"].value == 78_053
    assert run.metrics["nfe_test[own solver]"].value == 4 * 18
    assert run.metrics["inversion_error"].value < 1e-3


@needs_weights
def test_the_density_of_the_swiss_roll_integrates_to_one() -> None:
    flow = flow_of(published("swissroll")).double()
    axis = torch.linspace(-6, 6, 120, dtype=torch.float64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(axis, axis), integration=rk4(16)).exp()
    assert (density.sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-3)
    assert density.max() > 5 * density.mean()


# -- the run, on made-up rows and weights ------------------------------------------------------------------------


def parts(name: str) -> Any:
    """Rows of three numbers; the published validation rows are those of the held-out set's training and validation."""
    rng = np.random.default_rng(1)
    return SimpleNamespace(**{part: rng.normal(at, 1.0, (n, 3)) for part, at, n in PARTS})


PARTS = (("train", 1.0, 30), ("validation", 2.0, 10), ("test", 3.0, 50))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module.tabular, "load", parts)
    single = {name: 0.2 * array.astype(np.float32) for name, array in made().items()}
    monkeypatch.setattr(run_module.weights, "published", lambda name: single)


@pytest.mark.usefixtures("made_up")
def test_rows_are_those_of_the_split_from_its_first() -> None:
    run, data = Run(identify(WEIGHTS, "miniboone_test", "smoke", 0), Path()), parts("")
    whole = np.concatenate([data.train, data.validation])
    for split, expected in (("test", data.test), ("validation", whole)):
        for n in (0, 7):
            config = WEIGHTS.configure("miniboone_test", "smoke", {"split": split, "rows": n})
            found = run_module.rows(run, config)
            assert isinstance(found, TestSet)
            np.testing.assert_allclose(found.points, expected[: n or None], rtol=1e-6)
    swissroll = WEIGHTS.configure("swissroll", "smoke", {"rows": 0})
    assert len(run_module.rows(run, swissroll)) == 10_000


@pytest.mark.usefixtures("made_up")
def test_what_is_reported_is_of_test_rows_by_the_authors_steps(tmp_path: Path) -> None:
    run = perform(WEIGHTS, "miniboone_test", tmp_path, rows=0, own_steps=6)
    x = torch.tensor(parts("").test, dtype=torch.float32)
    flow = flow_of(run_module.weights.published("")).float()
    terms = costs_of(flow, x, 6)
    found = {key: m.value for key, m in run.metrics.items()}
    assert found["transport_cost[own solver]"] == pytest.approx(terms.L.mean().item(), rel=1e-5)
    assert found["nll[own solver]"] == pytest.approx(terms.C.mean().item(), rel=1e-5)
    assert found["nfe_test[own solver]"] == 4 * 6
    assert found["nll"] == pytest.approx(found["nll[own solver]"], abs=0.05)
    assert found["parameters"] == sum(array.size for array in made().values())
    assert run.metrics["nll"].n == 50
    assert run.metrics["nll_error"].n == run.metrics["nll_error[own solver, float32]"].n == 10
    rounding = rounding_error(flow, x[:10], rk4(6)).mean().abs().item()
    assert found["nll_error[own solver, float32]"] == pytest.approx(rounding, rel=1e-2)
    assert run.metrics["nll_error[own solver, float32]"].protocol == "exact-trace/rk4-6 in float64"
    assert run.metrics["mmd[own solver]"].n == 40
    assert not any(key.startswith("mass_error") for key in found)


@pytest.mark.usefixtures("made_up")
def test_weights_of_other_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for rows of 3 numbers, those of moons have 2"):
        perform(WEIGHTS, "miniboone_test", tmp_path, data="moons")
