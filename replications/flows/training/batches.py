"""Minibatches as a function of the iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from replications.flows.means import sizes_of
from replications.flows.training.host import Streams


class Batches:
    """Minibatch indices as a function of the iteration: epoch k is the permutation of the stream `epoch/<k>`.

    Args:
        run: gives the streams.
        n: number of training points.
        batch: points a minibatch; an epoch's last may have fewer.

    Attributes:
        per_epoch: minibatches an epoch.
        sizes: points of each of them.
    """

    def __init__(self, run: Streams, n: int, batch: int) -> None:
        self.run, self.n, self.batch = run, n, batch
        self.sizes = sizes_of(n, batch)
        self.per_epoch = len(self.sizes)
        self._epoch = -1

    def __call__(self, iteration: int) -> Tensor:
        """Return the indices `(batch,)` of an iteration, counted from 0."""
        epoch, position = divmod(iteration, self.per_epoch)
        if epoch != self._epoch:
            generator = self.run.torch_generator(f"epoch/{epoch}")
            self._epoch, self._batches = epoch, epoch_of(self.n, self.batch, generator)
        return self._batches[position]


def epoch_of(n: int, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return one epoch's index tensors `(batch,)`, a random permutation of 0..n-1; the last may be shorter."""
    return torch.randperm(n, generator=generator, device=generator.device).split(batch)
