import numpy as np
import pytest
import torch

import bench
from replications.blog.experiments.spiral.run import evaluate, segment_loss, unseen_starts
from replications.blog.experiments.spiral.run import run as train_spiral
from replications.blog.linear import solution
from replications.flows.ode.solve import Solver

SOLVER = Solver("dopri5", rtol=1e-9, atol=1e-9)


@pytest.fixture
def observed(make_run):
    _, config = make_run("blog.spiral", "checkpoint")
    a = np.array(config.matrix).reshape(2, 2)
    times = np.linspace(0, config.horizon, config.observations)
    return config, torch.tensor(a), torch.tensor(solution(a, config.start, times)), float(times[1])


def test_the_true_field_has_no_loss_and_another_has(observed):
    config, a, y, step = observed
    starts = torch.tensor([0, 3, len(y) - 1 - config.segment])
    assert float(segment_loss(lambda t, z: z @ a.T, y, starts, step, config, SOLVER)) < 1e-15
    assert float(segment_loss(lambda t, z: 1.01 * z @ a.T, y, starts, step, config, SOLVER)) > 1e-4


def test_unseen_starts_lie_in_the_range_and_follow_the_seed(make_run):
    run, config = make_run("blog.spiral", "adjoint")
    other, _ = make_run("blog.spiral", "checkpoint")
    starts = unseen_starts(run.numpy_generator("unseen"), config)
    lengths = np.linalg.norm(starts, axis=1)
    assert lengths.min() >= config.unseen_radii[0]
    assert lengths.max() <= config.unseen_radii[1]
    np.testing.assert_array_equal(starts, unseen_starts(other.numpy_generator("unseen"), config))
    another, _ = make_run("blog.spiral", "adjoint", seed=1)
    assert not np.array_equal(starts, unseen_starts(another.numpy_generator("unseen"), config))


def test_a_finished_run_gives_back_its_field(finished):
    record = finished["blog.spiral", "adjoint"]
    field = bench.load(record.path)
    grid, rates = record.array("grid"), record.array("field[learned]")
    points = torch.tensor(grid)
    with torch.no_grad():
        again = field(torch.zeros(()), points).double().numpy()
    np.testing.assert_allclose(again, rates, rtol=1e-6, atol=1e-7)


def test_training_lowers_the_error(make_run):
    errors = []
    for iterations in (1, 60):
        run, config = make_run("blog.spiral", "checkpoint", tier="cpu", iterations=iterations)
        train_spiral(run, config)
        errors.append(run.metrics["trajectory_error"].value)
    assert errors[1] < 0.5 * errors[0]


def test_errors_of_another_linear_field_are_those_of_its_closed_form(make_run):
    """A field 1.1 A moves y(0) to exp(1.1 A t) y(0)."""
    run, config = make_run("blog.spiral", "adjoint", test_tolerance=1e-7)
    a = np.array(config.matrix).reshape(2, 2)
    times = np.linspace(0, config.horizon, config.observations)
    other = torch.tensor(1.1 * a, dtype=torch.float32)
    evaluate(run, config, lambda t, z: z @ other.T, a, times)
    starts = [np.array(config.start), *unseen_starts(run.numpy_generator("unseen"), config)]
    off = np.stack([solution(1.1 * a, y, times) - solution(a, y, times) for y in starts], 1)
    lengths = np.linalg.norm(off[:, 0], axis=1)
    observed = np.linalg.norm(solution(a, config.start, times) @ (0.1 * a).T, axis=1)
    expected = {
        "trajectory_error": np.sqrt((off[:, 0] ** 2).mean()),
        "trajectory_error[unseen starts]": np.sqrt((off[:, 1:] ** 2).mean()),
        "mean_error": lengths.mean(),
        "final_error": lengths[-1],
        "mean_error[field]": observed.mean(),
        "parameter_error": 0.1,
    }
    found = {key: run.metrics[key].value for key in expected}
    assert found == pytest.approx(expected, rel=1e-3)
