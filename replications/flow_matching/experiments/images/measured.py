"""What a trained flow of images is worth: samples and what they cost, scores, likelihood; values, without a run.

| quantity | code | equation |
|---|---|---|
| sample quality | `Judge.scores`, `Judge.fid` | see `bench.metrics.fidelity.quality`; reference: training images |
| agreement | `Judge.agreement` | 100 P(argmax_c logits(x) = c), the extractor's logits, x drawn for class c |
| likelihood | `Bits.log_prob` | log p(x) in nats of dequantised test images, `(K, N)`: K draws of each |
| bits/dim | `Bits.of` | -(log p_K / D - log L) / log 2, p_K the mean of K draws |

Samples become integers as the data was dequantised, v = floor(L x), cut to 0..L-1, then 255 v / (L - 1).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.metrics.fidelity.extractors import get
from bench.metrics.fidelity.features import compatible, extract
from bench.metrics.fidelity.quality import Score, count, fid_alone, quality
from bench.metrics.share import effective_size, share
from replications.flow_matching.experiments.images.data import to_bytes
from replications.flow_matching.model import of_class
from replications.flows.density.evaluate import WARMING, Clock
from replications.flows.density.images import UnitCubeFlow, bits_per_dim, importance_log_prob
from replications.flows.density.integration import Integration
from replications.flows.errors import SolveFailure
from replications.flows.means import mean_over_points
from replications.flows.ode.counter import counted
from replications.flows.ode.solver import Solver
from replications.tasks.splits import TrainSet, to_train


class Drawn(NamedTuple):
    """Samples, with what they cost.

    Args:
        images: uint8 `(N, C, H, W)`, white 255, on the CPU.
        labels: the classes that they were drawn for, `(N,)`; without meaning for a network without classes.
        nfe: mean over the images; those drawn together share their solve.
        seconds: wall time of all.
    """

    images: Tensor
    labels: Tensor
    nfe: float
    seconds: float


@torch.no_grad()
def draw_images(
    flow: UnitCubeFlow,
    labels: Tensor,
    integration: Integration,
    generator: torch.Generator,
    levels: int,
    clock: Clock,
    batch: int,
    w: float | None = None,
) -> Drawn:
    """Return images of the given classes `(N,)`, from noise that depends on the generator alone.

    Args:
        flow: in evaluation mode.
        labels: classes.
        integration: of the solves.
        generator: draws the noise.
        levels: L.
        clock: reads the time in seconds.
        batch: images drawn together; they share their steps.
        w: strength of the guidance; None for a network without classes.
    """
    device, parts, counts = next(flow.parameters()).device, [], []
    start = clock()
    for part in labels.split(batch):
        sampler = flow if w is None else of_class(flow, part.to(device), w)
        sampler.counter.reset()
        x = sampler.sample(len(part), generator, integration)
        counts.append(sampler.counter.forward_evaluations)
        parts.append((levels * x).floor().clamp(0, levels - 1).cpu())
    seconds = clock() - start
    return Drawn(
        to_bytes(torch.cat(parts), levels), labels, mean_over_points(counts, map(len, parts)), seconds
    )


def equal_steps(method: str, evaluations: int) -> Integration:
    """Return a method with equal steps that makes so many evaluations, one or two a step."""
    return Integration(Solver(method, steps=evaluations if method == "euler" else evaluations // 2))


class Judge:
    """Scores images against training images.

    Args:
        reference: training images, uint8 with white 255.
        name: of their set, in protocols.
        extractor: a name of `bench.metrics.fidelity.extractors`.
        draws: returns the stream of what is random in the scores, from its start.
        device: where the extractor runs.
    """

    def __init__(
        self,
        reference: TrainSet,
        name: str,
        extractor: str,
        draws: Callable[[], np.random.Generator],
        device: str = "cpu",
    ) -> None:
        self._reference, self._name, self._extractor = to_train(reference), name, get(extractor)
        self._draws, self._device = draws, device

    def scores(self, images: Tensor) -> dict[str, Score]:
        """Return all scores of uint8 images `(N, C, H, W)`; see `quality`."""
        extractor = self._extractor.name
        return quality(images, self._reference, extractor, self._name, self._draws(), self._device)

    def fid(self, images: Tensor) -> Score:
        """Return the FID alone, which costs less; the same as among `scores`."""
        extractor = self._extractor.name
        return fid_alone(images, self._reference, extractor, self._name, self._draws(), self._device)

    def agreement(self, images: Tensor, labels: Tensor) -> Score:
        """Return the share in % of images that the extractor gives the class of their label.

        Raises:
            UserError: the images are not what the extractor takes, or their levels not those of the reference.
        """
        compatible(images, self._reference, self._extractor)
        found = extract(images, self._extractor, self._device).logits.argmax(1)
        n, name = len(labels), self._extractor.name
        percent, se = share(int(np.sum(found == labels.numpy())), n, effective_size(images, labels)).percent
        return Score(percent, f"class_agreement/{name}/{count(n)}", n, se)


@dataclass(frozen=True)
class Bits:
    """The likelihood of test images, each dequantised K times, and what it took.

    Args:
        log_prob: log p of each draw `(K, N)` in nats, float64, on the CPU.
        dim: D.
        levels: L.
        nfe: evaluations of the field in a solve, the mean over images and draws.
        solves: number of solves.
        seconds: time of all.
    """

    log_prob: Tensor
    dim: int
    levels: int
    nfe: float
    solves: int
    seconds: float

    def of(self, k: int) -> Tensor:
        """Return the bits/dim `(N,)` by the first k draws of each image, whose densities are averaged."""
        log_p = self.log_prob[:k].logsumexp(0) - math.log(k)
        return bits_per_dim(log_p, self.dim, self.levels)


@torch.no_grad()
def bits(
    flow: UnitCubeFlow,
    v: Tensor,
    levels: int,
    draws: int,
    integration: Integration,
    generator: torch.Generator,
    clock: Clock,
    batch: int,
) -> Bits:
    """Return the likelihood of test images.

    Args:
        flow: in evaluation mode.
        v: values 0..L-1 `(N, C, H, W)`, on the flow's device.
        levels: L.
        draws: K; a dequantisation and a probe each.
        integration: of the likelihood.
        generator: draws both.
        clock: reads the time in seconds.
        batch: images solved together.
    """
    parts, own = v.split(batch), torch.Generator().manual_seed(0)
    with contextlib.suppress(SolveFailure):  # nothing is used for the first time while the clock runs
        importance_log_prob(flow, v[:WARMING], levels, 1, own, integration)
    start = clock()
    found, nfe = counted(
        flow.counter,
        lambda part: importance_log_prob(flow, part, levels, 1, generator, integration),
        parts * draws,
    )
    log_p = torch.cat(found).reshape(draws, len(v)).double().cpu()
    seconds, solves = clock() - start, len(parts) * draws
    return Bits(log_p, math.prod(v.shape[1:]), levels, nfe, solves, seconds)
