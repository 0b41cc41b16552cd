"""Digits as a density task: the parts, the way to the model's space and back, the likelihood in bits."""

from __future__ import annotations

import math

import pytest
import torch

from bench.data.images import load
from replications.flows.errors import RequestError
from replications.tasks.digits import data
from replications.tasks.splits import TestSet, TrainSet, ValidationSet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_parts_are_fixed_and_apart_and_have_every_class_alike() -> None:
    parts = data.split()
    assert (type(parts.train), type(parts.validation), type(parts.test)) == (TrainSet, ValidationSet, TestSet)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1157, 285, 355)
    train, test = load("digits", "train"), load("digits", "test")
    rows = [
        [bytes(row.tolist()) for row in part.points] for part in (parts.train, parts.validation, parts.test)
    ]
    assert sorted(rows[0] + rows[1]) == sorted(bytes(row.tolist()) for row in train.images.flatten(1))
    assert (parts.test.points == test.images.flatten(1)).all()
    assert not set(rows[0]) & set(rows[1])
    assert not set(rows[2]) & set(rows[0] + rows[1])
    for part, share in ((parts.validation, 0.2), (parts.train, 0.8)):
        counts = torch.bincount(part.labels, minlength=10)
        assert ((counts - share * torch.bincount(train.labels)).abs() < 1).all()
    # A label goes with its image: zeros are empty in the middle, ones are not.
    middle = parts.train.points.reshape(-1, 8, 8)[:, 3:5, 3:5].float().mean((1, 2))
    assert middle[parts.train.labels == 0].mean() < 3 < 9 < middle[parts.train.labels == 1].mean()
    assert (data.split().train.points == parts.train.points).all()


def test_noise_fills_the_cells_and_follows_its_generator() -> None:
    v = data.split().train.points
    x, again, other = (data.dequantised(v, seeded(seed)) for seed in (0, 0, 1))
    u = 17 * x - v
    assert x.min() >= 0
    assert x.max() < 1
    assert (u.min().item(), u.max().item()) == pytest.approx((0, 1), abs=1e-3)
    assert u.mean().item() == pytest.approx(0.5, abs=0.01)
    assert (x == again).all()
    assert (x != other).any()
    with pytest.raises(RequestError, match=r"within 0\.\.16"):
        data.dequantised(torch.full((1, 64), 17.0), seeded())


def test_points_for_a_model_are_finite_and_lead_back_to_their_levels() -> None:
    part = data.split().validation
    made = data.for_model(part, seeded())
    assert type(made) is ValidationSet
    assert (made.labels == part.labels).all()
    limit = math.log(0.99 / 0.01)
    assert made.points.abs().max() <= limit + 1e-4
    assert (data.to_levels(made.points) == part.points).all()
    far = torch.tensor([[-50.0] * 32 + [50.0] * 32])
    assert data.to_levels(far).unique().tolist() == [0, 16]


def test_the_uniform_density_of_the_cube_has_log2_17_bits() -> None:
    """p(x) = 1 is p(y) = |dx/dy|, the derivative of the logit's inverse, by autograd."""
    y = data.for_model(data.split().test, seeded()).points[:20].double().requires_grad_()
    x = (y.sigmoid() - data.ALPHA) / (1 - 2 * data.ALPHA)
    (slope,) = torch.autograd.grad(x.sum(), y)
    bits = data.bits_per_dim(slope.log().sum(1), y.detach())
    torch.testing.assert_close(bits, torch.full_like(bits, math.log2(17)), rtol=1e-9, atol=0)


def test_twice_the_density_in_every_dimension_is_a_bit_less() -> None:
    y = data.for_model(data.split().test, seeded()).points[:5]
    log_p = torch.zeros(5)
    less = data.bits_per_dim(log_p, y) - data.bits_per_dim(log_p + 64 * math.log(2), y)
    torch.testing.assert_close(less, torch.ones(5, dtype=torch.float64))
