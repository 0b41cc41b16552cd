"""How near a flow is to its data, against closed forms; when a goal counts as reached; what a resume keeps."""

import math
from pathlib import Path

import pytest
import torch
from planted_velocities import Fixed, normal

from bench.execution.run import Run
from bench.identity import Identity
from replications.flow_matching import points
from replications.flow_matching.convergence.declaration import ConvergenceConfig
from replications.flow_matching.convergence.validation import (
    Validation,
    ValidationData,
    Values,
    log_ratio,
    mean_w2,
    measure,
    reached,
    validation_data,
)
from replications.flow_matching.model import flow_of
from replications.flows.density.cnf import CNF
from replications.flows.density.priors import StandardNormal
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.splits import TrainSet, ValidationSet


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.validation", "only", "smoke", 0, 1, {}, {}), tmp_path)


def moved(by: float) -> CNF:
    """Base N(0, I) moved by (by, 0): samples z + by, density that of N((by, 0), I)."""
    return flow_of(Fixed(torch.tensor([by, 0.0], dtype=torch.float64)), StandardNormal(2))


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([3.0, 2.0, 1.0, 0.5, 0.4], 2),
        ([3.0, 1.0, 2.0, 0.9, 0.8, 5.0], 3),  # the second was a fluctuation; what comes after counts no more
        ([1.0, 1.0], 0),  # the goal itself reaches it
        ([3.0, 2.0, 1.5], None),
        ([3.0, 2.0, 0.1], None),  # nothing confirms the last
        ([0.1, 3.0, 0.1, 3.0], None),
        ([0.1], None),
    ],
)
def test_a_goal_is_reached_where_two_in_a_row_reach_it(values: list[float], place: int | None) -> None:
    assert reached(values, 1.0) == place


def test_kl_is_the_mean_of_log_q_less_log_p() -> None:
    x = torch.tensor([[-3.0, -3.0], [0.5, 1.5], [3.0, 3.0]], dtype=torch.float64)  # on dark squares
    log_p = torch.tensor([-2.0, -4.0, -5.0])
    found = log_ratio("checkerboard", x, log_p)
    torch.testing.assert_close(found, -math.log(32) + torch.tensor([2.0, 4.0, 5.0], dtype=torch.float64))


def test_a_validation_compares_samples_from_its_base_and_density_at_its_points() -> None:
    law = fresh(Run(Identity("a.b", "c", "smoke", 0, 1, {}, {}), Path()), "checkerboard", torch.float64)
    x, base, by = law.validation(60), normal(60), 0.7
    found = measure(moved(by), ValidationData("checkerboard", x, base, reference=1.0))
    shift = torch.tensor([by, 0.0], dtype=torch.float64)
    assert found.wasserstein2 == pytest.approx(points.w2(base + shift, x.points), rel=1e-6)
    log_p = -0.5 * (x.points - shift).square().sum(1) - math.log(2 * math.pi)
    assert found.kl == pytest.approx(-math.log(32) - log_p.mean().item(), rel=1e-6)


def test_a_validation_takes_a_validation_set_and_no_other() -> None:
    data = ValidationData("checkerboard", TrainSet(normal(40)), normal(40), 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a ValidationSet"):
        measure(moved(0.0), data)


def test_the_reference_is_the_mean_distance_of_other_data() -> None:
    x = normal(40)
    sets = [x + torch.tensor([shift, 0.0], dtype=torch.float64) for shift in (1.0, 3.0)]
    assert mean_w2(sets, x) == pytest.approx(2.0)


def test_validation_points_are_fixed_fresh_and_apart_from_those_of_training_and_reference(run: Run) -> None:
    config = ConvergenceConfig(compared=50, reference_sets=2)
    data, again = (validation_data(run, moved(0.0).float(), config) for _ in range(2))
    assert isinstance(data.x, ValidationSet)
    assert torch.equal(data.x.points, again.x.points)
    assert torch.equal(data.base, again.base)
    law = fresh(run, "moons")
    assert torch.equal(data.x.points, law.validation(50).points)
    others = [
        law.batch(0, 50),
        law.test(50),
        law.validation(50, "reference/0"),
        law.validation(50, "reference/1"),
    ]
    ours = {tuple(p) for p in data.x.points.tolist()}
    assert all(not ours & {tuple(p) for p in other.points.tolist()} for other in others)
    expected = sum(points.w2(other.points, data.x.points) for other in others[2:]) / 2
    assert data.reference == pytest.approx(expected)
    assert abs(data.base.mean()) < 4 / 100**0.5
    assert not torch.equal(data.base, data.x.points)


# -- the validations of a training ----------------------------------------------------------------------------------


def followed(
    run: Run, schedule: tuple[int, ...], iterations: int, found: list[Values]
) -> tuple[Validation, list[float]]:
    """Validate after each iteration, by values that are given in turn."""
    values = iter(found)
    validation = Validation(run, schedule, lambda: next(values))
    loss = validation.following(lambda i: torch.tensor(float(i)))
    returned = []
    for i in range(iterations):
        assert loss(i) == i
        returned.append(validation())
    return validation, returned


def test_only_iterations_of_the_schedule_are_measured(run: Run) -> None:
    found = [Values(9.0, 0.9), Values(3.0, 0.3)]
    validation, returned = followed(run, (2, 5), 6, found)
    assert returned == [math.inf, 0.9, math.inf, math.inf, 0.3, math.inf]
    progress = validation.progress([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert progress.iterations == (2, 5)
    assert progress.seconds == (3.0, 15.0)
    assert progress.values == tuple(found)


def test_what_was_found_before_an_interruption_is_kept(run: Run) -> None:
    followed(run, (1, 2, 3), 2, [Values(5.0, 0.5), Values(4.0, 0.4)])
    resumed = Validation(run, (1, 2, 3), lambda: Values(3.0, 0.3))
    resumed.following(lambda i: torch.zeros(()))(2)
    assert resumed() == 0.3
    assert resumed.progress([1.0, 1.0, 1.0]).values == (Values(5.0, 0.5), Values(4.0, 0.4), Values(3.0, 0.3))
