"""When a goal counts as reached in a record, and which scores it holds."""

from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from bench.metrics.fidelity.quality import Score
from replications.flow_matching.convergence import recording
from replications.flow_matching.convergence.declaration import ConvergenceConfig
from replications.flow_matching.convergence.validation import Progress, Values
from replications.flow_matching.points import FewSteps

CONFIG = ConvergenceConfig(w2_goal=1.5, kl_goal=0.1, compared=40, reference_sets=3)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.recording", "only", "smoke", 0, 1, {}, {}), tmp_path)


def record(run: Run, w2: list[float], kl: list[float]) -> dict[str, float]:
    """Record made-up validations, one after each 10 iterations, which took k seconds the k-th time; Y = 2."""
    done = tuple(10 * (k + 1) for k in range(len(w2)))
    seconds = tuple(float((k + 1) * (k + 2) / 2) for k in range(len(w2)))
    values = tuple(Values(*pair) for pair in zip(w2, kl, strict=True))
    recording.record_progress(run, Progress(done, seconds, values), 2.0, CONFIG)
    return {key: m.value for key, m in run.metrics.items()}


def test_iterations_and_seconds_to_target_are_those_of_the_first_of_both(run: Run) -> None:
    found = record(run, w2=[9, 3.1, 3.0, 2.9, 7], kl=[0.5, 0.4, 0.3, 0.09, 0.1])
    assert found == {
        "iterations_to_target[wasserstein2]": 30,  # 1.5 x 2
        "time_to_target[wasserstein2]": 6,
        "iterations_to_target[kl]": 40,
        "time_to_target[kl]": 10,
        "wasserstein2[validation data]": 2.0,
    }
    assert run.curves["kl"].x == (10, 20, 30, 40, 50)
    assert run.curves["kl seconds"].x == (1, 3, 6, 10, 15)
    assert run.curves["kl"].y == run.curves["kl seconds"].y == (0.5, 0.4, 0.3, 0.09, 0.1)
    assert run.curves["wasserstein2"].y == run.curves["wasserstein2 seconds"].y == (9, 3.1, 3.0, 2.9, 7)
    protocols = {key: m.protocol for key, m in run.metrics.items()}
    assert protocols["iterations_to_target[kl]"] == "KL <= 0.1 nats, two in a row/40 points"
    assert protocols["time_to_target[wasserstein2]"] == (
        "W2 <= 1.5 x data against data, two in a row/40 points/eager"
    )
    assert protocols["wasserstein2[validation data]"] == "exact/40 points/mean of 3 sets of other data"


def test_of_a_goal_never_reached_nothing_is_recorded(run: Run) -> None:
    found = record(run, w2=[9, 8, 7], kl=[0.5, 0.05, 0.04])
    assert set(found) == {"iterations_to_target[kl]", "time_to_target[kl]", "wasserstein2[validation data]"}
    assert found["iterations_to_target[kl]"] == 20
    assert run.curves["wasserstein2"].y == (9, 8, 7)


SCORES = {
    name: Score(float(k), f"{name}/p", 128, 0.1 * k)
    for k, name in enumerate(("fid", "fid[extrapolated]", "inception_score", "kid", "precision", "recall"))
}


def test_scores_of_points_are_recorded_without_kid_and_without_classes_without_the_inception_score(
    run: Run,
) -> None:
    recording.record_scores(run, SCORES, classes=False, qualifier="data")
    recording.record_scores(run, SCORES, classes=True)
    found = {key: (m.value, m.protocol, m.n, m.se) for key, m in run.metrics.items()}
    assert found == {
        "fid[data]": (0.0, "fid/p", 128, 0.0),
        "fid[extrapolated, data]": (1.0, "fid[extrapolated]/p", 128, 0.1),
        "precision[data]": (4.0, "precision/p", 128, 0.4),
        "recall[data]": (5.0, "recall/p", 128, 0.5),
        "fid": (0.0, "fid/p", 128, 0.0),
        "fid[extrapolated]": (1.0, "fid[extrapolated]/p", 128, 0.1),
        "inception_score": (2.0, "inception_score/p", 128, 0.2),
        "precision": (4.0, "precision/p", 128, 0.4),
        "recall": (5.0, "recall/p", 128, 0.5),
    }


def test_few_steps_are_a_curve_against_evaluations(run: Run) -> None:
    found = [FewSteps(nfe, torch.zeros(1, 2), error) for nfe, error in ((2, 0.5), (8, 0.25))]
    recording.record_few_steps(run, found, "midpoint")
    curve = run.curves["w2_against_nfe midpoint"]
    assert (curve.x, curve.y, curve.x_label) == ((2, 8), (0.5, 0.25), "NFE, midpoint")
