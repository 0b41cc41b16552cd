"""The weights that OT-Flow's authors published, as flows of ours; what is made up needs no file."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import tabular
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.registry import resolve
from replications.flows.density.cnf import CNF
from replications.flows.density.priors import StandardNormal
from replications.ot_flow.experiments.published_weights.declaration import WEIGHTS
from replications.ot_flow.experiments.published_weights.weights import potential, published
from replications.ot_flow.measured import costs_of
from replications.ot_flow.method import rk4
from replications.ot_flow.potential import GradientField

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
    overrides = {"rows": 200}
    run = Run(identify(WEIGHTS, "miniboone_test", "smoke", 0, overrides), tmp_path)
    resolve(WEIGHTS.run)(run, WEIGHTS.configure("miniboone_test", "smoke", overrides))
    assert {split_key(key)[0] for key in run.metrics} <= set(WEIGHTS.metrics)
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
