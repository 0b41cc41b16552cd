"""OT-Flow on points: which points and steps each number is of, and paths in closed form."""

from pathlib import Path
from typing import Any

import pytest
import torch
from planted_potentials import contraction, normal
from support import loaded, perform, recorded, untimed

from bench.execution.run import Run
from replications.flows.density.cnf import CNF
from replications.ot_flow.experiments.toy import figures
from replications.ot_flow.experiments.toy import run as toy
from replications.ot_flow.experiments.toy.declaration import TOY
from replications.ot_flow.measured import costs_of
from replications.tasks.density2d.evaluation import fresh


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return perform(TOY, "moons", tmp_path_factory.mktemp("moons"), iterations=30, learning_rate=0.05)


@pytest.fixture(scope="module")
def flow(job: Run) -> CNF:
    trained: CNF = loaded(job)
    return trained


def test_the_terms_are_those_of_test_points_by_the_papers_steps(job: Run, flow: CNF) -> None:
    config = TOY.configure("moons", "smoke")
    x = fresh(job, "moons").test(config.test_points).points
    terms = costs_of(flow, x, config.own_steps)
    names = {
        "transport_cost": terms.L,
        "nll": terms.C,
        "hjb_residual": terms.R,
        "straightness": terms.straightness,
    }
    for name, values in names.items():
        found = job.metrics[f"{name}[own solver]"]
        assert found.value == pytest.approx(values.double().mean().item(), rel=1e-5), name
        assert found.se == pytest.approx(values.double().std().item() / 40**0.5, rel=1e-4), name
        assert found.protocol == "exact-trace/rk4-12"
    train = fresh(job, "moons").batch(0, config.test_points).points
    assert abs(costs_of(flow, train, config.own_steps).C.mean() - terms.C.mean()) > 1e-3
    assert job.metrics["nfe_test[own solver]"].value == 4 * 12


def test_the_training_solver_is_that_of_the_training(job: Run, flow: CNF) -> None:
    config = TOY.configure("moons", "smoke")
    x = fresh(job, "moons").test(config.test_points).points
    found = job.metrics["nll[training solver]"]
    assert found.value == pytest.approx(costs_of(flow, x, config.steps).C.mean().item(), rel=1e-5)
    assert found.protocol == "nll/exact-trace/rk4-8/batch 1000"
    assert job.metrics["nfe_forward"].value == job.metrics["nfe_test[training solver]"].value == 4 * 8
    assert job.metrics["nll"].protocol == "nll/exact-trace/dopri5-1e-5/batch 1000"


def test_the_kept_weights_are_those_of_the_lowest_objective_on_the_validation_points(
    job: Run, flow: CNF
) -> None:
    config = TOY.configure("moons", "smoke", {"iterations": 30, "learning_rate": 0.05})
    x = fresh(job, "moons").validation(config.validation_points).points
    value = costs_of(flow, x, config.validation_steps).weighted(config).item()
    assert value == pytest.approx(min(job.curves["validation"].y), rel=1e-5)


def test_a_seed_repeats_and_another_does_not(job: Run, tmp_path: Path) -> None:
    again, other = (
        perform(TOY, "moons", tmp_path / str(seed), seed, iterations=30, learning_rate=0.05)
        for seed in (0, 1)
    )
    assert untimed(again) == untimed(job)
    assert untimed(other)["nll"] != untimed(job)["nll"]


def test_a_batch_is_kept_for_so_many_iterations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def spy(run: Run, flow: CNF, config: Any, batch: Any, settings: Any, validation: Any) -> None:
        seen.extend(batch(i) for i in range(7))

    monkeypatch.setattr(toy, "fit", spy)
    config = TOY.configure("moons", "smoke", {"redrawn": 3})
    run = perform(TOY, "moons", tmp_path, redrawn=3)
    law = fresh(run, "moons")
    for i, x in enumerate(seen):
        assert torch.equal(x, law.batch(i // 3, config.batch).points)
    assert not torch.equal(seen[2], seen[3])


def test_double_trains_and_measures_its_terms_in_float64(tmp_path: Path) -> None:
    single, double = (
        perform(TOY, "moons", tmp_path / str(i), double=bool(i)).metrics["nll[own solver]"].value
        for i in range(2)
    )
    assert double == pytest.approx(single, rel=1e-4)
    assert double != torch.tensor(double).float().double().item()  # float32 does not hold it


def test_paths_are_those_of_the_field_at_equal_times() -> None:
    x, times = normal(5, 2), 5
    found = toy.paths(contraction(0.7), x, times)
    assert found.shape == (5, 5, 2)
    for k in range(times):
        torch.testing.assert_close(found[:, k], torch.tensor(-0.7 * k / 4).exp() * x, rtol=1e-6, atol=1e-7)


def test_paths_are_kept_from_data_to_base_and_drawn(job: Run, flow: CNF) -> None:
    record = recorded(job)
    paths = record.array("paths")
    assert paths.shape == (toy.PATHS, 9, 2)
    x = fresh(job, "moons").test(40).points[: toy.PATHS]
    torch.testing.assert_close(torch.from_numpy(paths[:, 0]), x)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(paths[:, -1]), flow.encode(x), rtol=0, atol=1e-3)
    (ax,) = figures.paths([record]).axes
    lines, dots, crosses = ax.lines[:3]
    torch.testing.assert_close(torch.tensor(lines.get_xdata()), torch.from_numpy(paths[0, :, 0]))
    assert (dots.get_xdata()[0], crosses.get_xdata()[0]) == (paths[0, 0, 0], paths[0, -1, 0])
    assert len(ax.lines) == 3 * toy.PATHS
    assert figures.paths([]) is None
