"""FFJORD's networks and objective, and what RNODE and STEER change in it."""

import dataclasses
import math

import pytest
import torch
from replications.tasks.flow_config import FlowConfig
from torch import Tensor

from replications.ffjord.method import build, in_test, in_training, objective, penalties
from replications.tasks.tables.declaration import DIMENSIONS, SETS

PARAMETERS = {"power": 43_325, "gas": 278_565, "hepmass": 546_850, "miniboone": 820_613, "bsds300": 6_698_666}


def size(flow: torch.nn.Module) -> int:
    return sum(p.numel() for p in flow.parameters())


@pytest.mark.parametrize("name", SETS)
def test_networks_of_the_tables_have_the_derived_sizes(name: str) -> None:
    d, network = DIMENSIONS[name], SETS[name]
    hidden = [factor * d for factor in network["factors"]]
    assert size(build(d, hidden, network["activation"], network["blocks"])) == PARAMETERS[name]


def test_the_toy_network_has_the_derived_size() -> None:
    assert size(build(2, (64, 64, 64), T=0.5)) == 9225
    assert size(build(2, (64, 64, 64), learn_T=False)) == 9224


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CONFIG = FlowConfig(solver="rk4", steps=4, divergence="gaussian", T=1.0)


def flow() -> torch.nn.Module:
    return build(3, (8, 8), generator=torch.Generator().manual_seed(2)).double()


def test_the_objective_is_the_nll_and_the_weighted_means_over_dimensions() -> None:
    model, x, eps = flow(), normal(7, 3), normal(1, 7, 3, seed=2)
    plain = objective(model, x, CONFIG, eps=eps)
    integration = in_training(CONFIG)
    assert torch.equal(plain, -model.log_prob(x, eps, integration=integration).mean())
    weighted = dataclasses.replace(CONFIG, kinetic=0.3, jacobian=0.7)
    summed = dataclasses.replace(integration, regularizers=("kinetic_sum", "jacobian_sum"))
    integrals = model.path(x, eps, integration=summed).integrals
    penalty = 0.3 * integrals["kinetic_sum"].mean() / (2 * 3) + 0.7 * integrals["jacobian_sum"].mean() / 3
    expected = plain + 3 * math.log(2) * penalty  # three dimensions, a loss in bits/dim
    torch.testing.assert_close(objective(model, x, weighted, eps=eps), expected)
    assert penalties(CONFIG) == {}
    assert penalties(dataclasses.replace(CONFIG, jacobian=0.5)) == {"jacobian_mean": 0.5}


def test_a_random_end_time_is_for_training_alone() -> None:
    model, x = flow(), normal(7, 3)
    steer = dataclasses.replace(CONFIG, spread=0.5)
    values = {objective(model, x, steer, torch.Generator().manual_seed(seed)).item() for seed in (0, 0, 1)}
    assert len(values) == 2
    assert in_training(steer).b == 0.5
    assert in_test(steer).b == 0
    assert in_test(steer).divergence.kind == "exact"
    assert in_test(steer).solver.method == "dopri5"
