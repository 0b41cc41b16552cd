"""What RNODE adds to FFJORD's objective."""

import dataclasses
import math

import torch
from torch import Tensor

from replications.ffjord import method as ffjord
from replications.rnode.experiments.toy.declaration import RnodeDensity2dConfig
from replications.rnode.method import in_training, objective, penalties, plain

CONFIG = RnodeDensity2dConfig(solver="rk4", steps=4, divergence="gaussian", T=1.0, kinetic=0.3, jacobian=0.7)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def flow() -> torch.nn.Module:
    return ffjord.build(3, (8, 8), generator=torch.Generator().manual_seed(2)).double()


def test_the_objective_adds_weighted_means_over_dimensions_in_bits_per_dim() -> None:
    model, x = flow(), normal(7, 3)
    nll = ffjord.objective(model, x, CONFIG, generator())
    summed = dataclasses.replace(in_training(CONFIG), regularizers=("kinetic_sum", "jacobian_sum"))
    integrals = model.path(x, generator=generator(), integration=summed).integrals
    penalty = 0.3 * integrals["kinetic_sum"].mean() / (2 * 3) + 0.7 * integrals["jacobian_sum"].mean() / 3
    expected = nll + 3 * math.log(2) * penalty  # three dimensions, a loss in bits/dim
    torch.testing.assert_close(objective(model, x, CONFIG, generator()), expected)


def test_a_weight_of_zero_integrates_nothing() -> None:
    half = dataclasses.replace(CONFIG, kinetic=0.0)
    assert penalties(half) == {"jacobian_mean": 0.7}
    assert in_training(half).regularizers == ("jacobian_mean",)


def test_without_weights_it_is_ffjord() -> None:
    model, x, none = flow(), normal(7, 3), plain(CONFIG)
    assert in_training(none) == ffjord.in_training(none)
    assert torch.equal(
        objective(model, x, none, generator()), ffjord.objective(model, x, CONFIG, generator())
    )
