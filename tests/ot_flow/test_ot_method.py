"""The terms of OT-Flow's objective against quadrature, its size, its gradient and what a training step stores."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

import replications.flows.ode.integrate
from bench.measure.memory import peak_memory
from replications.flows.density.cnf import CNF
from replications.flows.density.priors import StandardNormal
from replications.flows.ode.solve import Solver, trajectory
from replications.flows.ode.step import compiled_steps
from replications.ot_flow.config import OTFlowConfig
from replications.ot_flow.experiments.tabular.declaration import SETS
from replications.ot_flow.method import METHOD, build, clamp, costs, in_training, objective, rk4
from replications.ot_flow.potential import GradientField, Potential
from replications.tasks.tables.declaration import DIMENSIONS

DIM = 3
CONFIG = OTFlowConfig(steps=200, alpha_C=3.0, alpha_R=0.7)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def potential(dim: int = DIM, layers: int = 3) -> Potential:
    """No parameter at its initial value, so that no term drops out."""
    phi = Potential(dim, 6, layers, generator()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(phi.parameters()):
            parameter.copy_(0.4 * normal(*parameter.shape, seed=seed))
    return phi


def flow_of(phi: Potential) -> CNF:
    return CNF(GradientField(phi), StandardNormal(phi.dim))


def slopes(phi: Potential, t: float, y: Tensor) -> Tensor:
    """The slopes `(B, D+3)` of x, delta, L and R at states y, by autograd from the values of Phi alone."""
    x = y[:, : phi.dim].clone().requires_grad_()
    when = torch.tensor(t, dtype=x.dtype, requires_grad=True)
    by_x, *_ = torch.autograd.grad(phi(when, x).sum(), x, create_graph=True)
    by_t = [torch.autograd.grad(value, when, retain_graph=True)[0] for value in phi(when, x)]
    rows = [torch.autograd.grad(by_x[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(phi.dim)]
    kinetic = 0.5 * by_x.square().sum(1)
    return torch.cat([-by_x, torch.stack([-sum(rows), kinetic, (kinetic - torch.stack(by_t)).abs()], 1)], 1)


def test_the_objective_is_that_of_an_independent_quadrature() -> None:
    phi, x = potential(), normal(4, DIM)
    start = torch.cat([x, torch.zeros(4, 3, dtype=x.dtype)], 1)

    def rates(t: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        return slopes(phi, t, torch.tensor(y).reshape(start.shape)).detach().numpy().ravel()

    solved = solve_ivp(rates, (0, 1), start.numpy().ravel(), rtol=1e-8, atol=1e-9)
    end = torch.tensor(solved.y[:, -1]).reshape(start.shape)
    z, (delta, L, R) = end[:, :DIM], end[:, DIM:].unbind(1)
    C = 0.5 * z.square().sum(1) + 0.5 * DIM * math.log(2 * math.pi) - delta
    ours = costs(flow_of(phi), x, in_training(CONFIG))
    for mine, theirs in ((ours.L, L), (ours.C, C), (ours.R, R)):
        assert theirs.abs().min() > 0.01
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    J = objective(flow_of(phi), x, CONFIG)
    torch.testing.assert_close(J, (L + 3.0 * C + 0.7 * R).mean(), rtol=0, atol=1e-6)


def test_straightness_is_the_integral_of_what_departs_from_the_chord() -> None:
    flow, x, n = flow_of(potential()), normal(5, DIM), 101
    times = torch.linspace(0, 1, n, dtype=torch.float64)
    with torch.no_grad():
        states = trajectory(flow.field, x, times, Solver("rk4", steps=4 * (n - 1)))
        chord = states[-1] - states[0]
        departed = torch.stack([(flow.field(t, y) - chord).square().sum(1) for t, y in zip(times, states)])
        weights = torch.ones(n, dtype=torch.float64)  # Simpson's: 1 4 2 4 ... 4 1
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        direct = weights @ departed / (3 * (n - 1))
        ours = costs(flow, x, rk4(100)).straightness
    assert direct.min() > 0.01
    torch.testing.assert_close(ours, direct, rtol=0, atol=1e-6)


def test_a_straight_flow_of_constant_speed_costs_its_distance_alone() -> None:
    """Phi = b^T s: all points move by -b_x; the HJB equation holds where b_t = |b_x|^2 / 2."""
    phi = potential()
    with torch.no_grad():
        for parameter in (phi.w, phi.A):
            parameter.zero_()
        phi.b[-1] = 0.5 * phi.b[:-1].square().sum()
        ours = costs(flow_of(phi), normal(5, DIM), rk4(3))
    moved = phi.b[:-1].detach().square().sum()
    assert moved > 0.01
    torch.testing.assert_close(ours.L, (0.5 * moved).expand(5))
    assert max(ours.straightness.abs().max(), ours.R.max()) < 1e-14


@pytest.mark.parametrize(
    ("name", "size"),
    [("power", 17_721), ("gas", 126_791), ("hepmass", 72_179), ("miniboone", 78_053), ("bsds300", 297_153)],
)
def test_the_published_networks_have_their_sizes(name: str, size: int) -> None:
    flow = build(DIMENSIONS[name], SETS[name]["width"], OTFlowConfig().layers)
    assert sum(p.numel() for p in flow.parameters()) == size


def test_the_network_of_the_points_has_its_size() -> None:
    flow = build(2, OTFlowConfig().width, OTFlowConfig().layers)
    assert sum(p.numel() for p in flow.parameters()) == 1229


def test_clamping_moves_what_lies_outside_and_nothing_else() -> None:
    flow = flow_of(potential())
    before = [p.detach().clone() for p in flow.parameters()]
    clamp(flow, 0.0)
    assert all(torch.equal(p, kept) for p, kept in zip(flow.parameters(), before, strict=True))
    clamp(flow, 0.3)
    assert max(kept.abs().max() for kept in before) > 0.3
    for p, kept in zip(flow.parameters(), before, strict=True):
        assert torch.equal(p, torch.where(kept.abs() > 0.3, 0.3 * kept.sign(), kept))


def gradient(flow: CNF, x: Tensor, **changes: object) -> Tensor:
    """The gradient of the objective by 5 steps, all parameters in a row; zero where there is none."""
    value = objective(flow, x, dataclasses.replace(CONFIG, steps=5, **changes))  # type: ignore[arg-type]
    parts = torch.autograd.grad(value, list(flow.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("layers", [2, 4])
def test_checkpoints_give_the_gradient_of_backprop(layers: int) -> None:
    flow, x = flow_of(potential(layers=layers)), normal(8, DIM)
    exact = gradient(flow, x, gradient="backprop")
    assert exact.norm() > 0.1
    torch.testing.assert_close(gradient(flow, x, gradient="checkpoint"), exact, rtol=1e-10, atol=1e-10)
    for weight in ("alpha_C", "alpha_R"):
        assert not torch.allclose(gradient(flow, x, **{weight: 0.0}), exact)


def test_compiled_steps_give_the_gradient_of_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    # That each kind of step is one graph is what is tested: the graphs run as they are, no code is generated.
    traced = compiled_steps("eager")
    monkeypatch.setattr(replications.flows.ode.integrate, "compiled_steps", lambda *_: traced)
    flow, x = flow_of(potential()), normal(8, DIM)
    eager = gradient(flow, x)
    counts = flow.counter.forward_evaluations, flow.counter.backward_evaluations
    flow.counter.reset()
    torch.testing.assert_close(gradient(flow, x, compiled=True), eager, rtol=1e-10, atol=1e-10)
    assert (flow.counter.forward_evaluations, flow.counter.backward_evaluations) == counts == (20, 20)


def test_a_training_step_stores_the_state_of_each_step_and_no_more() -> None:
    """The state is x, delta, L and R: D + 3 numbers a row."""
    rows, dim = 32, 8
    flow = build(dim, 64, generator=generator())
    x = torch.randn(rows, dim, generator=generator(1))

    def peak(steps: int, gradient: str) -> int:
        config = dataclasses.replace(CONFIG, steps=steps, gradient=gradient)
        flow.zero_grad()
        with peak_memory() as measured:
            objective(flow, x, config).backward()
        return measured.bytes

    state = rows * (dim + 3) * x.itemsize
    peaks = [peak(steps, "checkpoint") for steps in (4, 8, 16)]
    assert (peaks[1] - peaks[0], peaks[2] - peaks[1]) == (4 * state, 8 * state)
    assert peak(4, "backprop") - peak(2, "backprop") > 2 * 20 * state


def test_a_training_integrates_by_its_own_steps_gradient_and_compilation() -> None:
    config = OTFlowConfig(steps=7, gradient="adjoint", compiled=False)
    integration = in_training(config)
    assert integration.protocol == "exact-trace/rk4-7"
    assert (integration.gradient, integration.compiled) == ("adjoint", False)
    assert in_training(OTFlowConfig(compiled=True)).compiled
    assert integration.regularizers == ("kinetic_half_sum", "hjb")


def test_as_a_method_it_is_its_objective_and_draws_nothing() -> None:
    flow, x, draws = flow_of(potential()), normal(4, DIM), generator(5)
    before = draws.get_state()
    assert torch.equal(METHOD.objective(flow, x, CONFIG, draws), objective(flow, x, CONFIG))
    assert torch.equal(draws.get_state(), before)
    assert METHOD.in_training(CONFIG) == in_training(CONFIG)
    assert METHOD.plain(CONFIG) is CONFIG
