"""The points that a velocity is trained on: pools apart from all that it is tested on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data import toy2d
from bench.execution.run import Run
from bench.identity import identify
from replications.flow_matching.experiments import TOY
from replications.flow_matching.experiments.toy.data import Pairs
from replications.tasks.density2d.evaluation import fresh
from replications.tasks.splits import TrainSet

VARIANT = "moons_to_8gaussians_i_cfm"
FRESH = "8gaussians_to_moons_i_cfm"


def pairs_of(variant: str = VARIANT, **overrides: Any) -> tuple[Run, Pairs]:
    run = Run(identify(TOY, variant, "smoke", 0, overrides), Path())
    return run, Pairs(run, TOY.configure(variant, "smoke", overrides))


def test_an_epoch_takes_each_point_of_the_data_once() -> None:
    run, pairs = pairs_of(batch=15)
    epoch = torch.cat([pairs(i)[1] for i in range(3)])
    expected = toy2d.draw("8gaussians-bridge", 40, run.numpy_generator("train"))
    np.testing.assert_allclose(sorted(epoch[:, 0].tolist()), sorted(expected[:, 0]), rtol=1e-6)
    assert len({tuple(x) for x in epoch.tolist()}) == 40


def test_the_source_is_drawn_from_its_own_pool_and_repeats_for_an_iteration() -> None:
    run, pairs = pairs_of(batch=15)
    source, data = pairs(1)
    assert source is not None
    assert source.shape == data.shape == (15, 2)
    again, later = pairs(1)[0], pairs(4)[0]
    assert torch.equal(source, again)  # type: ignore[arg-type]
    assert not torch.equal(source, later)  # type: ignore[arg-type]
    known = toy2d.draw("moons-bridge", 40, run.numpy_generator("train source"))
    assert np.abs(source.numpy()[:, None] - known).sum(2).min(1).max() < 1e-5


def test_a_normal_source_has_no_pool() -> None:
    _, pairs = pairs_of("moons_i_cfm")
    assert pairs.source is None
    assert pairs(0)[0] is None


def test_the_tutorials_training_sees_no_point_twice_and_neither_end_follows_from_the_other() -> None:
    run, pairs = pairs_of(FRESH)
    assert (pairs.data, pairs.source, list(pairs.sizes)) == (None, None, [256])
    drawn = [pairs(i) for i in range(20)]
    for end, law in ((0, "8gaussians-notebook"), (1, "moons-notebook")):
        points = torch.cat([pair[end] for pair in drawn])  # type: ignore[misc]
        assert len({tuple(x) for x in points.tolist()}) == 20 * 256
        others = torch.tensor(toy2d.draw(law, 20 * 256, np.random.default_rng(1))).float()
        # A standard error of the mean is at most 4 / sqrt(5120) = 0.06.
        assert (points.mean(0) - others.mean(0)).abs().max() < 0.4
        assert (points.std(0) - others.std(0)).abs().max() < 0.3
        tested = fresh(run, law).test(256).points
        assert not {tuple(x) for x in points.tolist()} & {tuple(x) for x in tested.tolist()}
    x0, x1 = (torch.cat([pair[end] for pair in drawn]) for end in (0, 1))  # type: ignore[misc]
    correlations = torch.corrcoef(torch.cat((x0, x1), 1).T)[:2, 2:]
    assert correlations.abs().max() < 4 / 5120**0.5
    again, later = pairs(3), pairs(4)
    assert torch.equal(again[1], drawn[3][1])
    assert not torch.equal(later[1], drawn[3][1])


def test_pools_are_for_training_and_share_no_point_with_those_of_the_test() -> None:
    run, pairs = pairs_of()
    assert isinstance(pairs.data, TrainSet)
    assert isinstance(pairs.source, TrainSet)
    law = fresh(run, "8gaussians-bridge")
    tested = [law.test(100, stream).points for stream in ("test", "test again", "likelihood")]
    trained = {tuple(x) for x in pairs.data.points.tolist()}
    assert len(trained) == 40
    assert not trained & {tuple(x) for x in torch.cat(tested).tolist()}
