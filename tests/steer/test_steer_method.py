"""What STEER adds: a random end of every training solve."""

import dataclasses

import torch
from torch import Tensor

from replications.ffjord.method import build
from replications.rnode import method as rnode
from replications.steer.experiments.toy.declaration import SteerDensity2dConfig
from replications.steer.method import in_training, objective, plain
from replications.tasks.method import in_test

CONFIG = SteerDensity2dConfig(solver="rk4", steps=4, T=2.0, learn_T=False, kinetic=0.1, b=0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points() -> Tensor:
    return torch.randn(7, 3, generator=generator(9), dtype=torch.float64)


def test_the_loss_is_rnodes_over_a_random_interval() -> None:
    flow = build(3, (8, 8), T=2.0, learn_T=False, generator=generator(2)).double()
    end = in_training(CONFIG).draw_end(generator(4))
    assert 0.5 <= end <= 1.5
    path = flow.path(points(), integration=rnode.in_training(CONFIG), end=end)
    nll = -(flow.prior.log_prob(path.z) + path.delta).mean()
    penalty = 3 * torch.log(torch.tensor(2.0)) * 0.1 * path.integrals["kinetic_half_mean"].mean()
    torch.testing.assert_close(
        objective(flow, points(), CONFIG, generator(4)), nll + penalty, rtol=1e-6, atol=0
    )


def test_every_solve_draws_an_end_of_its_own() -> None:
    flow = build(3, (8, 8), T=2.0, learn_T=False, generator=generator(2)).double()
    losses = [objective(flow, points(), CONFIG, generator(seed)).item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_b_is_for_training_alone_and_zero_is_rnode() -> None:
    assert in_training(CONFIG).b == 0.5
    assert in_test(CONFIG).b == 0
    none = dataclasses.replace(CONFIG, b=0.0)
    assert in_training(none) == rnode.in_training(none)
    assert (plain(CONFIG).b, plain(CONFIG).kinetic, plain(CONFIG).jacobian) == (0.0, 0.0, 0.0)
