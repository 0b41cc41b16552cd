"""Which of OT-Flow's numbers is recorded under which name."""

import math
from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.density.evaluate import Likelihood
from replications.ot_flow import recording
from replications.ot_flow.measured import Evaluated, Generated
from replications.ot_flow.method import Costs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.recording", "only", "smoke", 0, 1, {}, {}), tmp_path)


def values(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items()}


def test_each_term_has_its_name_mean_and_standard_error(run: Run) -> None:
    L, C, R, straight = (torch.tensor([v, v + 2.0, v + 4.0]) for v in (10.0, 20.0, 30.0, 40.0))
    recording.record_costs(run, Evaluated(Costs(L, C, R, straight), nfe=24.0, seconds=0.5, dim=2), "p")
    assert values(run) == pytest.approx(
        {
            "transport_cost[own solver]": 12.0,
            "nll[own solver]": 22.0,
            "hjb_residual[own solver]": 32.0,
            "straightness[own solver]": 42.0,
            "nfe_test[own solver]": 24.0,
            "loglik_time[own solver]": 0.5,
        }
    )
    for name in ("transport_cost", "nll", "hjb_residual", "straightness"):
        metric = run.metrics[f"{name}[own solver]"]
        assert (metric.n, metric.protocol) == (3, "p")
        assert metric.se == pytest.approx(2 / math.sqrt(3))
    assert run.metrics["loglik_time[own solver]"].protocol == "p/3 points/warm"


def test_a_likelihood_by_the_methods_own_solver(run: Run) -> None:
    found = Likelihood(torch.tensor([-1.0, -3.0, -8.0], dtype=torch.float64), dim=2, nfe=50.0, seconds=0.25)
    recording.record_own_likelihood(run, found, "each")
    assert values(run) == {
        "nll[own solver]": 4.0,
        "loglik_time[own solver]": 0.25,
        "nfe_test[own solver]": 50.0,
    }
    assert run.metrics["nll[own solver]"].se == pytest.approx(math.sqrt(13 / 3))
    assert [run.metrics[f"{name}[own solver]"].n for name in ("nll", "loglik_time", "nfe_test")] == [
        3,
        3,
        None,
    ]


def test_both_estimates_of_the_mmd_and_the_inverse(run: Run) -> None:
    found = Generated(torch.tensor([1.0, 2.0, 6.0]), torch.zeros(2, 5), mmd=0.3, se=0.1, biased=0.7)
    recording.record_generated(run, found, "rk4-2")
    assert values(run) == {
        "inversion_error[own solver]": 3.0,
        "mmd[own solver]": 0.3,
        "mmd[own solver, biased]": 0.7,
    }
    unbiased, biased = (run.metrics[f"mmd[own solver{more}]"] for more in ("", ", biased"))
    assert (unbiased.n, unbiased.se, biased.n, biased.se) == (2, 0.1, 2, None)
    assert unbiased.protocol == "rk4-2/squared, unbiased, kernel exp(-|x - y|^2)/2 points"
    assert biased.protocol == "rk4-2/squared, biased, kernel exp(-|x - y|^2)/2 points"
    assert run.metrics["inversion_error[own solver]"].n == 3
    assert run.metrics["inversion_error[own solver]"].protocol == "rk4-2/Euclidean"
