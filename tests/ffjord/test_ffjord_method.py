"""FFJORD's networks and objective."""

from typing import Any

import pytest
import torch
from torch import Tensor

from replications.ffjord.method import (
    METHOD,
    build,
    build_images,
    in_training,
    objective,
    on_images,
    on_table,
)
from replications.ffjord.networks import TABLES
from replications.ffjord.sizes import table_size
from replications.flows.ode.solver import Solver
from replications.tasks.config import FlowConfig
from replications.tasks.images.declaration import ImageConfig
from replications.tasks.method import in_test
from replications.tasks.tables.declaration import TableConfig

PARAMETERS = {"power": 43_325, "gas": 278_565, "hepmass": 546_850, "miniboone": 820_613, "bsds300": 6_698_666}
CONFIG = FlowConfig(solver="rk4", steps=4, divergence="gaussian", gradient="backprop")


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TABLES)
def test_networks_of_the_tables_have_the_derived_sizes(name: str) -> None:
    assert table_size(name) == PARAMETERS[name]


def test_the_toy_network_has_the_derived_size() -> None:
    sizes = [
        sum(p.numel() for p in flow.parameters())
        for flow in (build(2, (64, 64, 64), learn_T=True), build(2, (64, 64, 64)))
    ]
    assert sizes == [9225, 9224]


def test_arguments_of_the_builders_follow_the_config() -> None:
    config = TableConfig(factors=(3, 2), activation="tanh", blocks=2, T=0.5, learn_T=False)
    assert on_table(config, 10) == {
        "dim": 10, "hidden": [30, 20], "activation": "tanh", "blocks": 2, "T": 0.5, "learn_T": False,
    }  # fmt: skip
    assert on_images(ImageConfig(alpha=0.1, zero_last=True), (1, 8, 8)) == {
        "shape": [1, 8, 8], "dims": [64, 64, 64], "blocks": 2, "scales": 0, "alpha": 0.1, "T": 1.0, "learn_T": False,
        "zero_last": True,
    }  # fmt: skip


def test_the_objective_is_the_negative_log_likelihood_with_the_generators_probes() -> None:
    flow, x = build(3, (8, 8), generator=generator(2)).double(), normal(7, 3)
    loss = objective(flow, x, CONFIG, generator(5))
    eps = in_training(CONFIG).divergence.draw(x, generator(5))
    assert torch.equal(loss, -flow.log_prob(x, eps, integration=in_training(CONFIG)).mean())
    assert METHOD.plain(CONFIG) == CONFIG


def test_training_and_test_are_integrated_as_the_config_says() -> None:
    training, test = in_training(CONFIG), in_test(FlowConfig(rtol=1e-4, atol=1e-6, divergence="gaussian"))
    assert (training.solver, training.divergence.kind) == (Solver("rk4", steps=4), "gaussian")
    assert (training.gradient, training.b, training.regularizers) == ("backprop", 0.0, ())
    assert (test.solver, test.divergence.kind, test.b) == (Solver("dopri5", 1e-4, 1e-6), "exact", 0.0)


@pytest.mark.parametrize(
    "make", [lambda **g: build(2, (3,), **g), lambda **g: build_images((1, 4, 4), (3,), **g)]
)
def test_parameters_are_drawn_from_the_generator_by_default_of_seed_0(make: Any) -> None:
    def drawn(**given: Any) -> Tensor:
        return torch.cat([p.detach().flatten() for p in make(**given).parameters()])

    assert torch.equal(drawn(), drawn(generator=generator(0)))
    assert not torch.equal(drawn(), drawn(generator=generator(1)))


def test_image_networks_have_the_widths_asked_for() -> None:
    """Convolutions 3 x 3 from one channel to three and back, time as one more at the input of each."""
    flow = build_images((1, 4, 4), (3,), blocks=1, scales=1)
    assert [p.shape for p in flow.parameters() if p.dim() == 4] == [(3, 2, 3, 3), (1, 4, 3, 3)]
