"""Which number is recorded under which name and protocol."""

import math
import statistics
from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.density.evaluate import Likelihood, Regularity
from replications.flows.density.integration import Integration
from replications.flows.ode.solver import Solver
from replications.flows.training.log import Log
from replications.tasks import recording

INTEGRATION = Integration(Solver("rk4", steps=5))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.recording", "only", "smoke", 0, 1, {}, {}), tmp_path)


def values(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items()}


def test_a_training_is_summed_up(run: Run) -> None:
    log = Log(
        losses=[4.0] * 10 + [3.0] * 8 + [2.0, 1.0],
        seconds=[0.5] * 18 + [1.5] * 2,
        nfe_forward=[10] * 18 + [20] * 2,
        nfe_backward=[5] * 18 + [15] * 2,
        validations=[(10, 7.0), (20, 6.0)],
    )
    recording.record_training(run, log, "p")
    found = values(run)
    assert found["train_loss"] == 1.5  # the last tenth
    assert (found["nfe_forward"], found["nfe_forward[end]"], found["nfe_backward"]) == (11.0, 20.0, 6.0)
    assert (found["train_time"], found["iteration_time"]) == (12.0, 0.5)
    assert found["evaluation_time"] == pytest.approx(12 / (20 * 17))
    assert run.metrics["train_loss"].protocol == "p/last 2 iterations"
    assert run.curves["loss"].y[:2] == (4.0, 4.0)
    assert run.curves["nfe_backward"].y == (5.0,) * 18 + (15.0,) * 2
    assert (run.curves["validation"].x, run.curves["validation"].y) == ((10.0, 20.0), (7.0, 6.0))


@pytest.mark.parametrize(
    ("kept", "gradient", "share"),
    [
        ([1.0, 0.5], "tape", 75.0),
        ([0.0, 0.0], "auto", 0.0),
        ([0.0, 0.0], "checkpoint", None),
        ([], "auto", None),
    ],
)
def test_how_gradients_were_got_is_recorded(
    tmp_path: Path, kept: list[float], gradient: str, share: float | None
) -> None:
    identity = Identity("test.recording", "only", "smoke", 0, 1, {"solve": {"gradient": gradient}}, {})
    run = Run(identity, tmp_path)
    log = Log(losses=[1.0, 1.0], seconds=[1.0, 1.0], nfe_forward=[4, 4], nfe_backward=[4, 4], kept=kept)
    recording.record_training(run, log, "p")
    assert values(run).get("kept_graphs") == share


def test_the_last_tenth_is_a_tenth(run: Run) -> None:
    recording.record_training(run, Log(losses=[float(i) for i in range(100)], seconds=[1.0] * 100), "p")
    assert values(run)["train_loss"] == 94.5  # of 90 to 99
    assert run.metrics["train_loss"].protocol == "p/last 10 iterations"


def test_a_training_without_counted_evaluations_reports_none(run: Run) -> None:
    recording.record_training(run, Log(losses=[1.0], seconds=[2.0]), "p")
    assert values(run) == {"train_loss": 1.0, "iteration_time": 2.0, "train_time": 2.0}


def test_a_likelihood_is_recorded_in_nats_and_bits_with_its_cost(run: Run) -> None:
    found = Likelihood(
        torch.tensor([-1.0, -2.0, -3.0, -6.0], dtype=torch.float64), dim=2, nfe=20.0, seconds=0.25
    )
    recording.record_likelihood(run, found, INTEGRATION, batch=2, qualifier="own")
    bit = 2 * math.log(2)
    se = torch.tensor([1.0, 2.0, 3.0, 6.0]).std().item() / 2
    assert values(run) == pytest.approx(
        {"nll[own]": 3.0, "bits_per_dim[own]": 3 / bit, "nfe_test[own]": 20.0, "loglik_time[own]": 0.25}
    )
    assert run.metrics["nll[own]"].se == pytest.approx(se)
    assert run.metrics["bits_per_dim[own]"].se == pytest.approx(se / bit)
    assert run.metrics["nll[own]"].n == 4
    assert run.metrics["nll[own]"].protocol == "nll/exact-trace/rk4-5/batch 2"


def test_errors_of_the_solver_are_of_the_mean_and_of_the_worst_point(run: Run) -> None:
    recording.record_solver_error(run, torch.tensor([0.1, -0.4, 0.0]), INTEGRATION)
    assert values(run) == pytest.approx({"nll_error": 0.1, "nll_error[largest]": 0.4})
    assert run.metrics["nll_error"].protocol.endswith(" against dopri5-1e-8 in float64")


def test_inversion_regularity_and_means(run: Run) -> None:
    recording.record_inversion(run, torch.tensor([1.0, 3.0]), "s", "q")
    recording.record_regularity(
        run, Regularity(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 9.0])), INTEGRATION
    )
    recording.record_mean(run, "kl", torch.tensor([0.0, 2.0, 4.0, 6.0]), "m")
    assert values(run) == {
        "inversion_error[q]": 2.0,
        "kinetic_energy": 1.5,
        "jacobian_norm": 7.0,
        "kl": 3.0,
    }
    assert (run.metrics["kl"].n, run.metrics["kl"].se) == (4, pytest.approx(math.sqrt(20 / 3) / 2))
    assert run.metrics["inversion_error[q]"].protocol == "s/Euclidean"


def test_times_of_a_second_training_have_its_name(run: Run) -> None:
    log = Log(losses=[1.0] * 4, seconds=[1.0, 2.0, 9.0, 4.0])
    recording.record_times(run, log, "p", "autoencoder")
    found = {key: (m.value, m.protocol, m.n) for key, m in run.metrics.items()}
    assert found == {
        "iteration_time[autoencoder]": (3.0, "p/eager/median", 4),
        "train_time[autoencoder]": (16.0, "p/eager", None),
    }


def test_warm_up_and_data_stand_apart_from_training(run: Run) -> None:
    """Two processes that compile for 60 s and for 30 s, iterations of 2 s, a second of data each."""
    log = Log(losses=[1.0] * 5, seconds=[62.0, 2.0, 2.0, 32.0, 2.0], drawing=[1.0] * 5, starts=[0, 3])
    log.nfe_forward, log.nfe_backward = [3] * 5, [1] * 5
    recording.record_training(run, log, "p/compiled")
    found = {key: (m.value, m.protocol) for key, m in run.metrics.items() if m.unit == "s"}
    assert found == {
        "iteration_time": (2.0, "p/compiled/median"),
        "train_time": (10.0, "p/compiled"),
        "warmup_time": (90.0, "p/compiled/above the median"),
        "data_time": (5.0, "p/compiled/sum"),
        "evaluation_time": (10.0 / 20, "p/compiled/train_time over evaluations"),
    }


def test_of_a_single_iteration_no_warm_up_is_known(run: Run) -> None:
    recording.record_times(run, Log(losses=[1.0], seconds=[9.0], starts=[0]), "p")
    assert values(run) == {"iteration_time": 9.0, "train_time": 9.0}


def test_a_curve_gets_another_label_and_keeps_its_points(run: Run) -> None:
    run.curve("loss", [1, 2], [4.0, 3.0], "iteration", "loss")
    recording.relabel(run, "loss", "mean squared error")
    curve = run.curves["loss"]
    assert (curve.x, curve.y, curve.x_label, curve.y_label) == (
        (1, 2),
        (4, 3),
        "iteration",
        "mean squared error",
    )


def test_the_loss_of_a_training_is_a_mean_over_points(run: Run) -> None:
    """Epochs of 4, 4 and 1 points whose losses are 1, 1 and 10: 2 over the points, 4 over the batches."""
    log = Log(losses=[1.0, 1.0, 10.0] * 400, seconds=[1.0] * 1200, nfe_forward=[8, 8, 80] * 400)
    log.nfe_backward = [0] * 1200
    recording.record_training(run, log, "p", sizes=[4, 4, 1])
    assert run.metrics["train_loss"].value == pytest.approx(2.0)
    assert run.metrics["train_loss"].protocol == "p/last 120 iterations, mean over points"
    assert run.metrics["nfe_forward"].value == 32  # of an iteration
    curve = run.curves["loss"]
    assert curve.x[:2] == (4.0, 8.0)
    assert curve.y[:3] == pytest.approx((22 / 13, 22 / 13, 28 / 10))  # sizes 4 4 1 4, 4 1 4 4, 1 4 4 1
    assert run.curves["nfe_forward"].y[0] == 26


def test_equal_batches_keep_their_protocol_and_their_mean(run: Run) -> None:
    log = Log(losses=[0.1, 0.7, 0.2], seconds=[1.0] * 3)
    recording.record_training(run, log, "p", last=3, sizes=[7, 7, 7])
    assert run.metrics["train_loss"].value == statistics.fmean(log.losses)
    assert run.metrics["train_loss"].protocol == "p/last 3 iterations"


def test_the_evaluations_of_a_likelihood_say_what_they_are_a_mean_over(run: Run) -> None:
    found = Likelihood(torch.zeros(4, dtype=torch.float64), dim=2, nfe=20.0, seconds=0.25)
    for batch, over in ((2, "batches"), (9, "batches"), (3, "points")):
        recording.record_likelihood(run, found, INTEGRATION, batch, qualifier=str(batch))
        assert run.metrics[f"nfe_test[{batch}]"].protocol.endswith(f"/batch {batch}/mean over {over}")
