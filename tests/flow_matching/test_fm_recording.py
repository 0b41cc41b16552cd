"""Which number of a flow of points is recorded under which name and protocol."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from replications.flow_matching import recording
from replications.flow_matching.points import Distances, Paths, Sampled
from replications.flows.ode.solver import Solver


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.recording", "only", "smoke", 0, 1, {}, {}), tmp_path)


def found(run: Run) -> dict[str, tuple[float, float | None, str]]:
    return {key: (m.value, m.se, m.protocol) for key, m in run.metrics.items()}


def test_distances_have_their_names_and_standard_errors(run: Run) -> None:
    recording.record_distances(run, Distances(1.0, 2.0, 3.0, 0.3, 60.0, 6.0), 40, "s", "euler-4")
    assert found(run) == {
        "wasserstein2[euler-4]": (1.0, None, "s/exact/40 points"),
        "sliced_wasserstein2[euler-4]": (2.0, None, "s/256 directions/40 points"),
        "mmd[euler-4]": (3.0, 0.3, "s/squared, unbiased, Gaussian kernel/40 points"),
        "c2st[euler-4]": (60.0, 6.0, "s/gradient-boosted trees/40 points of each"),
    }
    assert {m.n for m in run.metrics.values()} == {40}


def test_a_distance_of_two_laws_is_named_by_them(run: Run) -> None:
    recording.record_w2(run, 1.5, "data against data", 40)
    assert found(run) == {"wasserstein2[data against data]": (1.5, None, "data against data/exact/40 points")}


def test_samples_have_their_evaluations_and_time(run: Run) -> None:
    drawn = Sampled(torch.zeros(40, 2), nfe=26, seconds=0.5, inversion=torch.tensor([1.0, 3.0] * 20))
    recording.record_sampled(run, drawn, Solver(), repeats=3)
    recording.record_sampled(
        run, drawn._replace(nfe=4), Solver("euler", steps=4), repeats=3, qualifier="euler-4"
    )
    assert found(run) == {
        "nfe": (26, None, "dopri5-1e-5/40 points together"),
        "sampling_time": (0.5, None, "dopri5-1e-5/40 points/median of 3"),
        "inversion_error": (2.0, None, "dopri5-1e-5/base to samples and back/Euclidean"),
        "nfe[euler-4]": (4, None, "euler-4/40 points together"),
        "sampling_time[euler-4]": (0.5, None, "euler-4/40 points/median of 3"),
    }


def test_paths_are_recorded_and_some_are_drawn(run: Run) -> None:
    states = torch.arange(41.0)[:, None, None] + torch.zeros(41, 30, 2)
    recording.record_paths(run, Paths(states, 1.0, 0.1, 2.0, 0.2), Solver())
    protocol = "dopri5-1e-5/trapezoidal rule, 41 times/30 paths"
    assert found(run) == {
        "straightness": (1.0, 0.1, protocol),
        "path_energy": (2.0, 0.2, f"{protocol}/W2 of 30 points"),
    }
    drawn = run.artifacts["paths"]
    assert drawn.shape == (24, 21, 2)  # every second time of 41
    np.testing.assert_array_equal(drawn[0, :, 0], np.arange(0, 41, 2))
    assert (run.artifacts["path ends"] == 40).all()
    assert run.artifacts["path ends"].shape == (24, 2)
