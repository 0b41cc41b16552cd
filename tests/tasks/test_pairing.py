"""What an override leaves as it is: data, initial weights and probes, seen in the runs themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support import perform

from bench.execution.run import Run
from bench.experiment import Experiment
from replications.blog.experiments.spiral.declaration import SPIRAL
from replications.ffjord.experiments.toy.declaration import TOY as FFJORD
from replications.flow_matching.experiments.toy.declaration import TOY as FLOW_MATCHING
from replications.lecture.experiments.mnist.declaration import CLASSIFIER
from replications.neural_ode.experiments.planar_cnf.declaration import PLANAR_CNF
from replications.rnode.experiments.toy.declaration import TOY as RNODE
from replications.steer.experiments.toy.declaration import TOY as STEER

CASES: list[tuple[Experiment, str, dict[str, Any]]] = [
    (FFJORD, "moons", {"learning_rate": 0.1, "weight_decay": 0.5, "repeats": 2, "test_points": 50}),
    (RNODE, "8gaussians_ffjord", {"learning_rate": 0.1, "kinetic": 0.0, "grid": 12, "compared": 45}),
    (FLOW_MATCHING, "checkerboard_fm_vp", {"learning_rate": 0.1, "compared": 50, "repeats": 2}),
    (PLANAR_CNF, "moons_cnf", {"cnf_learning_rate": 0.5, "test_points": 70, "grid": 21}),
    (CLASSIFIER, "digits", {"learning_rate": 0.5, "memory_steps": (2, 6)}),
    (SPIRAL, "checkpoint", {"learning_rate": 0.5, "test_tolerance": 1e-3}),
]


def first_loss(run: Run) -> float:
    return run.curves["loss"].y[0]


@pytest.mark.parametrize(
    ("experiment", "variant", "overrides"), CASES, ids=lambda c: getattr(c, "name", None)
)
def test_the_first_loss_is_the_same_whatever_comes_after(
    experiment: Experiment, variant: str, overrides: dict[str, Any], tmp_path: Path
) -> None:
    """It depends on data, weights and probes; a rate, an evaluation's size or a repeat has no part in them."""
    plain = perform(experiment, variant, tmp_path / "plain")
    assert first_loss(perform(experiment, variant, tmp_path / "changed", **overrides)) == first_loss(plain)
    assert first_loss(perform(experiment, variant, tmp_path / "other", seed=1)) != first_loss(plain)


def test_a_tolerance_changes_the_first_loss_by_its_error_alone(tmp_path: Path) -> None:
    loose, tight = (
        first_loss(perform(FFJORD, "rings", tmp_path, T=2.0, rtol=tol, atol=tol)) for tol in (1e-3, 1e-8)
    )
    assert 0 < abs(loose - tight) < 1e-3


def test_methods_of_different_papers_meet_on_the_same_data_weights_and_probes(tmp_path: Path) -> None:
    same = {"T": 1.0}
    runs = [
        perform(FFJORD, "pinwheel", tmp_path, **same),
        perform(RNODE, "pinwheel_ffjord", tmp_path),
        perform(STEER, "pinwheel_ffjord", tmp_path),
    ]
    assert len({first_loss(run) for run in runs}) == 1
    streams = [run.torch_generator("samples").initial_seed() for run in runs]
    assert len(set(streams)) == 1
    data = [torch.from_numpy(run.artifacts["density"]).shape for run in runs]
    assert len(set(data)) == 1
