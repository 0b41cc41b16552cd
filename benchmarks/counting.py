"""Counts the evaluations of a field that a library of others calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from replications.flows.ode.counter import Counter


class Counting(nn.Module):
    """A field that counts its evaluations; its parameters are the field's, under the prefix `field.`."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field, self.counter = field, Counter()

    def forward(self, t: Any, state: Any) -> Any:
        """Evaluate the field and count it."""
        self.counter.count()
        return self.field(t, state)


@dataclass(frozen=True)
class Step:
    """What a training step leaves: its evaluations, and the network with its gradient."""

    counter: Counter
    network: nn.Module
