import numpy as np
import pytest
import torch

import bench
from replications.blog.experiments.spiral.run import run as train_spiral
from replications.blog.experiments.spiral.run import segment_loss, unseen_starts
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
