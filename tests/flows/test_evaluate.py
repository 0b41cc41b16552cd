"""What a flow is worth, against closed forms: a linear field, whose flow, density and integrals are known."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from replications.flows.density import evaluate
from replications.flows.density.cnf import CNF
from replications.flows.density.integration import Integration
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver

RATE = 0.5
TIGHT = Integration(Solver(rtol=1e-8, atol=1e-8))


class Growth(nn.Module):
    """dx/dt = a x in two dimensions; x(T) = e^(a T) x, and every integral has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(RATE, dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        assert self.a.dtype == x.dtype  # as a product of matrices wants it
        return self.a * x

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self(t, x), self.a * v


@pytest.fixture
def flow() -> CNF:
    return CNF(Growth(), StandardNormal(2))


def points(n: int = 64) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def exact_nll(x: Tensor) -> Tensor:
    return -torch.distributions.Normal(0.0, math.exp(-RATE)).log_prob(x).sum(1)


def test_likelihood_is_that_of_the_normal_density(flow: CNF) -> None:
    x = points()
    found = evaluate.likelihood(flow, x, TIGHT, batch=50)
    torch.testing.assert_close(-found.log_prob, exact_nll(x), rtol=1e-7, atol=1e-7)
    assert (found.n, found.dim) == (64, 2)
    assert found.nll == pytest.approx(exact_nll(x).mean().item(), rel=1e-7)
    assert found.se == pytest.approx(exact_nll(x).std().item() / 8, rel=1e-6)
    assert found.nats_per_bit_per_dim == pytest.approx(2 * math.log(2))


def test_nfe_of_a_likelihood_is_the_mean_over_its_batches(flow: CNF) -> None:
    x = points()
    integration = Integration(Solver("rk4", steps=3))
    flow.log_prob(x, integration=integration)  # evaluations from before do not count
    assert (
        evaluate.likelihood(flow, x, integration, batch=20).nfe == 12
    )  # four batches of 12 evaluations each
    midpoint = Integration(Solver("midpoint", steps=3))
    assert evaluate.likelihood(flow, x, midpoint).nfe == 6


def test_the_clock_is_read_once_before_and_once_after(flow: CNF) -> None:
    read = iter((10.0, 12.5))
    assert evaluate.likelihood(flow, points(), TIGHT, clock=lambda: next(read)).seconds == 2.5
    assert next(read, None) is None


def test_an_estimate_takes_its_probes_from_the_generator() -> None:
    class Shear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.tensor([[0.3, 0.9], [0.1, -0.2]], dtype=torch.float64))

        def forward(self, t: Tensor, x: Tensor) -> Tensor:
            return x @ self.a.T

    flow, x = CNF(Shear(), StandardNormal(2)), points(8)
    estimate = Integration(Solver("rk4", steps=4), evaluate_divergence())
    draws = [
        evaluate.likelihood(flow, x, estimate, generator=torch.Generator().manual_seed(seed)).log_prob
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def evaluate_divergence():
    from replications.flows.density.divergence import Divergence

    return Divergence("gaussian")


def test_solver_error_is_the_difference_to_the_exact_density(flow: CNF) -> None:
    x = points()
    coarse = Integration(Solver("euler", steps=4))
    found = evaluate.solver_error(flow, x, coarse)
    # Euler multiplies by (1 + a/4)^4, and integrates the constant trace without error.
    z = x * (1 + RATE / 4) ** 4
    euler = StandardNormal(2).log_prob(z) + 2 * RATE
    torch.testing.assert_close(found, euler + exact_nll(x), rtol=1e-5, atol=1e-7)
    closer = evaluate.solver_error(flow, x, Integration(Solver("bosh3", rtol=1e-4, atol=1e-4)))
    assert closer.abs().max() < found.abs().max() / 5


def test_solver_error_of_float32_has_the_reference_in_float64_and_leaves_the_type(flow: CNF) -> None:
    flow.float()
    error = evaluate.solver_error(flow, points().float(), TIGHT)
    assert error.dtype == torch.float64
    assert 1e-9 < error.abs().max() < 1e-5  # rounding alone
    assert next(flow.parameters()).dtype == torch.float32
    loose = evaluate.solver_error(flow, points().float(), TIGHT, tolerance=1e-1)
    assert loose.abs().max() > 3 * error.abs().max()  # the reference is solved to the tolerance asked for


def test_parameters_are_back_in_their_type_after_a_failure(flow: CNF) -> None:
    flow.float()
    with pytest.raises(RuntimeError, match="planted"), evaluate.in_float64(flow):
        raise RuntimeError("planted")
    assert next(flow.parameters()).dtype == torch.float32


def test_regularity_has_its_closed_form(flow: CNF) -> None:
    x = points()
    found = evaluate.regularity(flow, x, Integration(Solver("rk4", steps=50)))
    # |f|^2 = a^2 |x|^2 e^(2 a t), integrated: a |x|^2 (e^(2a) - 1) / 2
    kinetic = RATE * (math.exp(2 * RATE) - 1) / 2 * x.square().sum(1)
    torch.testing.assert_close(found.kinetic, kinetic, rtol=1e-7, atol=0)
    torch.testing.assert_close(found.jacobian, torch.full((64,), 2 * RATE**2).double(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("batch", [1000, 7])
def test_inversion_error_is_that_of_the_solver(flow: CNF, batch: int) -> None:
    x = points()
    assert 0 < evaluate.inversion_error(flow, x, TIGHT, batch).max() < 1e-6
    found = evaluate.inversion_error(flow, x, Integration(Solver("euler", steps=4)), batch)
    h = RATE / 4
    expected = (1 - (1 + h) ** 4 * (1 - h) ** 4) * x.norm(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_a_learned_end_time_is_the_mean_over_blocks(flow: CNF) -> None:
    from replications.flows.density.composition import Chain

    assert evaluate.learned_end_time(flow) is None
    blocks = [CNF(Growth(), StandardNormal(2), T=T, learn_T=True) for T in (0.4, 1.0)]
    assert evaluate.learned_end_time(blocks[0]) == pytest.approx(0.4)
    assert evaluate.learned_end_time(Chain(blocks, StandardNormal(2))) == pytest.approx(0.7)


def test_an_evaluation_has_nothing_of_the_training() -> None:
    training = dataclasses.replace(TIGHT, regularizers=("kinetic_sum",), b=0.5)
    assert evaluate.for_evaluation(training) == TIGHT
    assert evaluate.at_tolerance(training, 1e-3).solver == Solver(rtol=1e-3, atol=1e-3)


def test_evaluations_are_the_mean_over_points_of_those_of_their_batch(
    flow: CNF, monkeypatch: pytest.MonkeyPatch
) -> None:
    def solved(part: Tensor, **_: object) -> Tensor:
        flow.counter.count(10 if len(part) == 3 else 38)
        return part[:, 0]

    monkeypatch.setattr(flow, "log_prob", solved)
    x = torch.arange(14.0).reshape(7, 2)
    found = evaluate.likelihood(flow, x, Integration(Solver("rk4", steps=3)), batch=3)
    assert found.nfe == (6 * 10 + 38) / 7
    assert torch.equal(found.log_prob, x[:, 0].double())


def test_a_few_points_are_solved_before_the_clock_starts_and_none_without_a_clock(
    flow: CNF, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[object] = []
    solved = flow.log_prob

    def log_prob(x: Tensor, **given: object) -> Tensor:
        met.append(len(x))
        return solved(x, **given)

    monkeypatch.setattr(flow, "log_prob", log_prob)
    evaluate.likelihood(flow, points(), TIGHT, batch=40, clock=lambda: met.append("clock") or 0.0)
    assert met == [evaluate.WARMING, "clock", 40, 24, "clock"]
    met.clear()
    evaluate.likelihood(flow, points(), TIGHT, batch=40)
    assert met == [40, 24]
