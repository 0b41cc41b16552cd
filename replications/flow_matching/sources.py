"""A flow between two sets of points: its source is another set, in place of a normal density (tong2024improving)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data import toy2d
from bench.errors import UserError
from replications.flow_matching import model
from replications.flows.density.cnf import CNF


@dataclass(frozen=True)
class SetSource:
    """A set of `bench.data.toy2d` as the law of x0: it has points, but no density."""

    name: str

    def log_prob(self, x: Tensor) -> Tensor:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise UserError(f"the source {self.name} has no density: a flow from it draws samples only")

    def sample(
        self,
        n: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: Any = None,
    ) -> Tensor:
        """Return n points `(n, 2)`."""
        seed = torch.randint(1 << 62, (), generator=generator, device=generator.device).item()
        points = toy2d.draw(self.name, n, np.random.default_rng(int(seed)))
        return torch.from_numpy(points).to(device, dtype)


def build(source: str, **arguments: Any) -> CNF:
    """Return an untrained flow of points from a set; the other arguments are those of `model.build`."""
    flow = model.build(**arguments)
    flow.prior = SetSource(source)
    return flow
