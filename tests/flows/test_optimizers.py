"""One step of each optimizer against its formula, weight decay included."""

import math

import pytest
import torch
from torch import nn

from replications.flows.training.settings import OPTIMIZERS, Training

LR, DECAY, WEIGHT = 0.1, 0.25, 2.0


def step(name: str, gradient: float, decay: float) -> float:
    """Return a weight of 2 after one step down a gradient."""
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(WEIGHT)
    model.weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
    Training(1, LR, name, momentum=0.9, weight_decay=decay).build_optimizer(model).step()
    return model.weight.item()


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_first_step_is_its_formula(name: str, decay: float) -> None:
    """The decay is added to the gradient but for AdamW, which shrinks the weight; RMSprop forgets at the rate 0.01."""
    g = 0.3
    whole = g + decay * WEIGHT
    expected = {
        "adam": WEIGHT - LR * whole / (abs(whole) + 1e-8),
        "adamw": WEIGHT * (1 - LR * decay) - LR * g / (abs(g) + 1e-8),
        "sgd": WEIGHT - LR * whole,
        "rmsprop": WEIGHT - LR * whole / (math.sqrt(0.01) * abs(whole) + 1e-8),
    }
    assert step(name, g, decay) == pytest.approx(expected[name], rel=1e-12)


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "adamw"])
def test_a_weight_that_nothing_pulls_decays(name: str) -> None:
    assert step(name, 0.0, 0.0) == WEIGHT
    assert step(name, 0.0, DECAY) < WEIGHT


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_fused_steps_are_taken_where_asked_for(name: str) -> None:
    model = nn.Linear(1, 1)
    found = [
        Training(1, LR, name, fused=fused).build_optimizer(model).defaults["fused"] for fused in (True, False)
    ]
    assert found == [True, None]
