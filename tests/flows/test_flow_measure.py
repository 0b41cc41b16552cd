"""What is reported of a flow, against closed forms."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver
from replications.flows.training.log import Log
from replications.tasks import measure

RATE = 0.5
TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))


class Growth(nn.Module):
    """dx/dt = a x in two dimensions; x(T) = e^(a T) x, and every integral has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(RATE, dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.a * x

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self(t, x), self.a * v


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Identity("test.measure", "only", "smoke", 0, 1, {}, {}), tmp_path)


@pytest.fixture
def flow() -> CNF:
    return CNF(Growth(), StandardNormal(2))


def points(n: int = 64) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_likelihood_is_that_of_the_normal_density(run: Run, flow: CNF) -> None:
    x = points()
    nll = measure.likelihood(run, flow, x, TIGHT, batch=50)
    scale = math.exp(-RATE)
    exact = -torch.distributions.Normal(0.0, scale).log_prob(x).sum(1)
    torch.testing.assert_close(nll, exact, rtol=1e-7, atol=1e-7)
    measured = run.metrics["nll"]
    assert measured.value == pytest.approx(exact.mean().item(), rel=1e-7)
    assert measured.se == pytest.approx(exact.std().item() / 8, rel=1e-6)
    assert run.metrics["bits_per_dim"].value == pytest.approx(measured.value / (2 * math.log(2)))
    assert measured.protocol == "nll/exact-trace/dopri5-1e-8/batch 50"
    flow.counted.reset()
    flow.log_prob(x[:50], integration=TIGHT)
    first = flow.counted.forward_evaluations
    flow.log_prob(x[50:], integration=TIGHT)
    assert run.metrics["nfe_test"].value == (flow.counted.forward_evaluations) / 2
    assert first > 0


def test_solver_error_falls_with_the_tolerance_and_leaves_the_type(run: Run, flow: CNF) -> None:
    flow.float()
    errors = []
    for tolerance in (1e-1, 1e-4):
        integration = Integration(Solver("bosh3", rtol=tolerance, atol=tolerance))
        measure.solver_error(run, flow, points().float(), integration)
        errors.append(run.metrics["nll_error[largest]"].value)
    assert errors[1] < errors[0] / 5
    assert next(flow.parameters()).dtype == torch.float32


def test_regularity_has_its_closed_form(run: Run, flow: CNF) -> None:
    x = points()
    measure.regularity(run, flow, x, Integration(Solver("rk4", steps=50)))
    # |f|^2 = a^2 |x|^2 e^(2 a t), integrated: a |x|^2 (e^(2a) - 1) / 2
    kinetic = RATE * (math.exp(2 * RATE) - 1) / 2 * x.square().sum(1).mean().item()
    assert run.metrics["kinetic_energy"].value == pytest.approx(kinetic, rel=1e-7)
    assert run.metrics["jacobian_norm"].value == pytest.approx(2 * RATE**2, rel=1e-9)


def test_inversion_error_is_that_of_the_solver(run: Run, flow: CNF) -> None:
    measure.inversion(run, flow, points(), TIGHT)
    assert 0 < run.metrics["inversion_error"].value < 1e-6
    measure.inversion(run, flow, points(), Integration(Solver("euler", steps=4)))
    h = RATE / 4
    expected = (1 - (1 + h) ** 4 * (1 - h) ** 4) * points().norm(dim=1).mean().item()
    assert run.metrics["inversion_error"].value == pytest.approx(expected, rel=1e-9)


def test_training_is_summed_up(run: Run) -> None:
    log = Log(
        losses=[4.0] * 10 + [2.0] * 10,
        seconds=[0.5] * 20,
        nfe_forward=[10] * 18 + [20] * 2,
        nfe_backward=[5] * 20,
    )
    measure.training(run, log, "p")
    values = {key: m.value for key, m in run.metrics.items()}
    assert values["train_loss"] == 2.0
    assert (values["nfe_forward"], values["nfe_forward[end]"], values["nfe_backward"]) == (11.0, 20.0, 5.0)
    assert (values["train_time"], values["iteration_time"]) == (10.0, 0.5)
    assert values["evaluation_time"] == pytest.approx(10 / (20 * 16))


def test_cost_compares_a_step_with_a_plain_one(run: Run, flow: CNF) -> None:
    x = points(16)
    short, long = Integration(Solver("rk4", steps=2)), Integration(Solver("rk4", steps=40))

    def step(integration: Integration) -> Tensor:
        return -flow.log_prob(x, integration=integration).mean()

    measure.cost(run, flow, lambda i: step(long), None, 2, "p")
    assert set(run.metrics) == {"peak_memory"}
    assert run.metrics["peak_memory"].value > 0
    measure.cost(run, flow, lambda i: step(long), lambda i: step(short), 3, "p")
    assert run.metrics["overhead[step]"].value > 100  # twenty times the evaluations
    per_evaluation = 1 + run.metrics["overhead[evaluation]"].value / 100
    assert per_evaluation == pytest.approx((1 + run.metrics["overhead[step]"].value / 100) / 20)


def test_a_learned_end_time_is_reported(run: Run, flow: CNF) -> None:
    measure.end_time(run, flow)
    assert not run.metrics
    measure.end_time(run, CNF(Growth(), StandardNormal(2), T=0.7, learn_T=True))
    assert run.metrics["end_time"].value == pytest.approx(0.7)
