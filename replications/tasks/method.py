"""What a task asks of a method that trains a flow by a likelihood."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.flows.ode.solver import Solver


@dataclass(frozen=True)
class Method:
    """A method as the tasks train it.

    Args:
        in_training: config -> how the flow is integrated in training.
        objective: (flow, data `(B, *S)`, config, generator) -> scalar in nats; all it draws comes from the generator.
        plain: config -> the config without what the method adds to the one it builds on.
    """

    in_training: Callable[[Any], Integration]
    objective: Callable[[Flow, Tensor, Any, torch.Generator], Tensor]
    plain: Callable[[Any], Any] = lambda config: config


def build(builder: str, arguments: dict[str, Any], generator: torch.Generator) -> Flow:
    """Return the untrained flow that `module:function` builds from keyword arguments; saved models name it so."""
    module, name = builder.split(":")
    return cast(Flow, getattr(importlib.import_module(module), name)(**arguments, generator=generator))


def in_test(config: Any) -> Integration:
    """Return how a flow is integrated in tests, whatever trained it: exact trace, dopri5, end at T."""
    return Integration(Solver("dopri5", config.rtol, config.atol))
