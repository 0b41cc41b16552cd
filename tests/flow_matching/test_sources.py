"""A set of points as a source: its draws, and that it has no density."""

import numpy as np
import pytest
import torch

from bench.data import toy2d
from bench.errors import UserError
from replications.flow_matching.sources import SetSource, build


def test_draws_are_points_of_the_set_by_the_generator_alone() -> None:
    first, again, other = (
        SetSource("moons-bridge").sample(50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    seed = torch.randint(1 << 62, (), generator=torch.Generator().manual_seed(0)).item()
    expected = toy2d.draw("moons-bridge", 50, np.random.default_rng(int(seed)))
    np.testing.assert_allclose(first, expected, rtol=1e-6)


def test_a_flow_from_a_set_has_samples_and_no_density() -> None:
    flow = build("moons-bridge", dim=2, hidden=(4,), generator=torch.Generator().manual_seed(0))
    assert flow.prior == SetSource("moons-bridge")
    with pytest.raises(UserError, match="moons-bridge has no density"):
        flow.log_prob(torch.zeros(1, 2))
