r"""STEER: every training solve ends at a random time; it goes with FFJORD and with RNODE (ghosh2020steer).

| symbol | code | equation |
|---|---|---|
| b | `config.b` | half width of the interval, in units of T |
| t_1 | drawn by `flow.path` | t_1 ~ U((1 - b) T, (1 + b) T), one draw for a solve, in training alone |
| loss | `objective` | RNODE's, with the integrals over 0..t_1 in place of 0..T; FFJORD's where its weights are zero |

Tests end at T. A flow of several blocks draws an end for each of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from replications.flows.density.flow import Flow
from replications.flows.density.integration import Integration
from replications.rnode import method as rnode
from replications.tasks.method import Method


def in_training(config: Any) -> Integration:
    """Return how the flow is integrated in training: as RNODE, to a random end time."""
    return dataclasses.replace(rnode.in_training(config), b=config.b)


def objective(flow: Flow, x: Tensor, config: Any, generator: torch.Generator) -> Tensor:
    """Return the loss of data x `(B, *S)` in nats; the end time and the probes come from the generator."""
    return rnode.penalised(flow, x, config, in_training(config), generator)


def plain(config: Any) -> Any:
    """Return the config of FFJORD's training."""
    return dataclasses.replace(rnode.plain(config), b=0.0)


METHOD = Method(in_training, objective, plain)
