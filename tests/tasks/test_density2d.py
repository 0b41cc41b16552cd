"""What is measured of densities in the plane, against closed forms and planted samples."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support import perform, recorded
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import Identity
from replications.ffjord.experiments.toy.declaration import TOY
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.tasks.density2d import evaluation
from replications.tasks.density2d.declaration import Density2dConfig
from replications.tasks.splits import TestSet, held_out

RATE = 0.5
LOOSE = Integration(Solver("dopri5", rtol=1e-2, atol=1e-2))
TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))


class Growth(nn.Module):
    """dx/dt = a x: data are N(0, e^(-2a) I)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(RATE))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.a * x

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self(t, x), self.a * v


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.density2d", "only", "smoke", 0, 1, {}, {}), tmp_path)


def flow() -> CNF:
    return CNF(Growth(), StandardNormal(2), TIGHT)


def test_density_on_the_grid_is_the_flows_row_by_row() -> None:
    model = flow()
    p = evaluation.density_on_grid(model, TIGHT, 5, 2.0)
    sigma = math.exp(-RATE)
    x, y = -1.0, 2.0  # second row, last column
    exact = math.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    assert p.dtype == torch.float64
    assert p[1, 4].item() == pytest.approx(exact, rel=1e-6)
    assert next(model.parameters()).dtype == torch.float32


def test_mass_error_takes_the_area_of_a_cell() -> None:
    assert evaluation.mass_error(evaluation.density_on_grid(flow(), TIGHT, 121, 6.0), 6.0) < 1e-6
    half = torch.full(
        (11, 11), 0.5 / 100, dtype=torch.float64
    )  # spacing 1: 121 cells of half a hundredth each
    assert evaluation.mass_error(half, 5.0) == pytest.approx(1 - 0.605)
    assert evaluation.mass_error(2 * half, 10.0) == pytest.approx(4 * 1.21 - 1)  # spacing 2, cells of area 4


def test_mass_is_recorded_at_every_tolerance_with_a_picture(run: Run) -> None:
    config = Density2dConfig(grid=81, reach=6.0, mass_tolerances=(1e-2, 1e-6))
    evaluation.record_mass(run, flow(), TIGHT, config)
    assert set(run.metrics) == {"mass_error[0.01]", "mass_error[1e-06]"}
    assert run.metrics["mass_error[1e-06]"].value < run.metrics["mass_error[0.01]"].value
    assert run.metrics["mass_error[0.01]"].protocol.startswith(
        "exact-trace/dopri5-1e-2 in float64/81^2 points of"
    )
    picture = run.artifacts["density"]
    assert picture.shape == (41, 41)  # every second point of 81
    assert picture[20, 20] == pytest.approx(math.exp(2 * RATE) / (2 * math.pi), rel=1e-4)


def test_distances_tell_samples_of_the_law_from_others() -> None:
    draws = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 400, 2, generator=draws)
    shift = torch.tensor([2.0, 0.0])
    near, far = (evaluation.distances(a, x, np.random.default_rng(0)) for x in (b, b + shift))
    assert near.wasserstein2 < 0.5
    assert far.wasserstein2 == pytest.approx(2.0, abs=0.3)  # the length of the shift
    assert abs(near.mmd) < 4 * near.mmd_se
    assert far.mmd > 10 * far.mmd_se
    assert abs(near.c2st - 50) < 4 * near.c2st_se
    assert far.c2st == pytest.approx(84.1, abs=6)  # Phi(1): the best that can be told, in percent


def test_samples_are_the_flows_and_not_the_data(run: Run) -> None:
    data = TestSet(10 + torch.randn(60, 2, generator=torch.Generator().manual_seed(1)))
    evaluation.record_samples(run, flow(), data, TIGHT)
    assert run.metrics["wasserstein2"].value == pytest.approx(10 * math.sqrt(2), rel=0.05)
    kept = torch.from_numpy(run.artifacts["samples"])
    assert torch.equal(kept, flow().sample(60, run.torch_generator("samples"), TIGHT))
    assert run.metrics["c2st"].value > 95
    assert run.metrics["mmd"].n == run.metrics["wasserstein2"].n == 60


def test_test_points_are_of_the_set_and_none_of_them_is_trained_on(tmp_path: Path, monkeypatch) -> None:
    seen: dict[str, list[Tensor]] = {"train": [], "test": []}
    batch, test = evaluation.Fresh.batch, evaluation.Fresh.test

    def batched(self, i, n):
        part = batch(self, i, n)
        seen["train"].append(part.points)
        return part

    def tested(self, n, stream="test"):
        part = test(self, n, stream)
        seen["test"].append(held_out(part))
        return part

    monkeypatch.setattr(evaluation.Fresh, "batch", batched)
    monkeypatch.setattr(evaluation.Fresh, "test", tested)
    run = perform(TOY, "rings", tmp_path)
    rows = {kind: {tuple(p) for x in found for p in x.tolist()} for kind, found in seen.items()}
    assert len(rows["train"]) == 2 * 16
    assert len(rows["test"]) == 40
    assert not rows["train"] & rows["test"]
    record = recorded(run)
    assert record.array("samples").shape == (40, 2)
    assert record.metrics["nll"].n == 40


def test_the_training_solver_is_tested_only_where_it_has_fixed_steps(run: Run) -> None:
    config = Density2dConfig(test_points=40, compared=40, grid=5, mass_tolerances=(1e-2,))
    evaluation.evaluate(run, flow(), config, TIGHT, dataclasses.replace(TIGHT, b=0.5))
    assert "nll[training solver]" not in run.metrics
    assert run.metrics["mass_error[0.01]"].value == pytest.approx(
        evaluation.mass_error(evaluation.density_on_grid(flow(), LOOSE, 5, config.reach), config.reach)
    )
    own = Integration(Solver("euler", steps=2), b=0.5)
    evaluation.evaluate(run, flow(), config, TIGHT, own)
    assert run.metrics["nll[training solver]"].protocol == "nll/exact-trace/euler-2/batch 1000"
    assert run.metrics["nfe_test[training solver]"].value == 2
