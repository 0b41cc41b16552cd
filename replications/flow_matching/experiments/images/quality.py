"""What a trained flow of images is worth: sample quality, what sampling costs, likelihood.

| quantity | metric | equation |
|---|---|---|
| sample quality | `fid`, `kid`... | see `bench.metrics.fidelity.quality`; reference: training images |
| the same of real images | `fid[test images against train images]` | as many test images, against the same reference |
| agreement | `class_agreement` | 100 P(argmax_c logits(x) = c), the extractor's logits, x drawn for class c |
| likelihood | `bits_per_dim` | -(log p_K / D - log L) / log 2, see `replications.flows.density.images` |

Samples become integers as the data was dequantised, v = floor(L x), cut to 0..L-1, then 255 v / (L - 1). All solvers
start from the same noise, and draw images of the same classes.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.measure.clock import synchronize
from bench.metrics.catalogue import split_key
from bench.metrics.fidelity.extractors import get
from bench.metrics.fidelity.features import extract
from bench.metrics.fidelity.quality import Score, count, fid, quality
from replications.flow_matching.experiments.images.declaration import YARDSTICK, ImagesConfig
from replications.flow_matching.model import of_class
from replications.flows.density.divergence import Divergence
from replications.flows.density.images import UnitCubeFlow, bits_per_dim, importance_log_prob
from replications.flows.density.integration import Integration
from replications.flows.ode.solve import Solver

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.flow_matching.experiments.images.run import Images

SHOWN = 8192
"""Numbers that the pictures of samples in a record may hold, unless that is fewer than two a side or a class."""
GUIDED = "midpoint"
"""Method by which guided samples are drawn, at the highest NFE."""


def to_bytes(v: Tensor, levels: int) -> Tensor:
    """Return values 0..L-1 as uint8 with white 255."""
    return (v * (255 / (levels - 1))).round().byte()


def adaptive(config: ImagesConfig) -> Integration:
    """Return how samples and likelihoods are integrated: dopri5, and the likelihood's trace."""
    return Integration(
        Solver("dopri5", config.test_tolerance, config.test_tolerance), Divergence(config.divergence)
    )


def fixed(method: str, evaluations: int) -> Integration:
    """Return a method with equal steps that makes so many evaluations."""
    return Integration(Solver(method, steps=evaluations if method == "euler" else evaluations // 2))


@dataclass(frozen=True)
class Drawn:
    """Samples, with what they cost.

    Attributes:
        images: uint8 `(N, C, H, W)`, white 255, on the CPU.
        labels: the classes that they were drawn for, `(N,)`; without meaning for a network without classes.
        nfe: mean over the batches drawn together.
        seconds: wall time.
        protocol: solver, and the guidance of a network with classes.
    """

    images: Tensor
    labels: Tensor
    nfe: float
    seconds: float
    protocol: str

    def first(self, n: int) -> Drawn:
        """Return the first n of them, the cost that of all."""
        return Drawn(self.images[:n], self.labels[:n], self.nfe, self.seconds, self.protocol)


@torch.no_grad()
def draw_images(
    run: Run,
    flow: UnitCubeFlow,
    labels: Tensor,
    integration: Integration,
    config: ImagesConfig,
    levels: int,
    w: float = 0.0,
) -> Drawn:
    """Return images of the given classes `(N,)`, by guidance w, from noise that depends on the run's seed alone."""
    generator, parts, counts = run.torch_generator("samples"), [], []
    synchronize(run.device)
    start = time.perf_counter()
    for part in labels.split(config.sample_batch):
        sampler = of_class(flow, part.to(run.device), w) if config.conditional else flow
        sampler.counter.reset()
        x = sampler.sample(len(part), generator, integration)
        counts.append(sampler.counter.forward_evaluations)
        parts.append((levels * x).floor().clamp(0, levels - 1).cpu())
    protocol = integration.solver.protocol + (f"/guidance {w:g}" if config.conditional else "")
    seconds = time.perf_counter() - start
    images = to_bytes(torch.cat(parts), levels)
    return Drawn(images, labels, statistics.fmean(counts), seconds, protocol)


class Judge:
    """Scores images against training images.

    Args:
        run: draws the reference, and what is random in the scores.
        data: the images.
        config: names the extractor, and how many.
    """

    def __init__(self, run: Run, data: Images, config: ImagesConfig) -> None:
        self.run, self.config, self.extractor = run, config, get(config.extractor)
        self.reference = data.chosen("train", config.reference, "reference")[0]
        self.name = "-".join((config.data, "train", "x".join(map(str, data.shape[1:]))))

    def scores(self, images: Tensor) -> dict[str, Score]:
        """Return all scores of uint8 images `(N, C, H, W)`; see `quality`."""
        rng = self.run.numpy_generator("scores")
        return quality(images, self.reference, self.extractor.name, self.name, rng, self.run.device)

    def fid(self, images: Tensor) -> Score:
        """Return the FID alone, which costs less; the same as among `scores`."""
        x = extract(images, self.extractor, self.run.device).features
        y = extract(self.reference, self.extractor, self.run.device, keep=True, what="reference").features
        value, se, _ = fid(x, y, self.run.numpy_generator("scores"))
        sets = f"{self.name}-{count(len(y))}/{count(len(x))}"
        protocol = f"fid/{self.extractor.name}/{sets}/{self.extractor.dtype}"
        return Score(value, protocol, len(x), se)

    def agreement(self, images: Tensor, labels: Tensor) -> Score:
        """Return the share in % of images that the extractor gives the class of their label."""
        found = extract(images, self.extractor, self.run.device).logits.argmax(1)
        p = float(np.mean(found == labels.numpy()))
        n, name = len(labels), self.extractor.name
        return Score(100 * p, f"class_agreement/{name}/{count(n)}", n, 100 * math.sqrt(p * (1 - p) / n))

    def record(self, drawn: Drawn, qualifier: str = "", all_scores: bool = False) -> float:
        """Record the FID, or all scores, and for a network with classes the agreement; return the FID."""
        found = self.scores(drawn.images) if all_scores else {"fid": self.fid(drawn.images)}
        if self.config.conditional:
            found["class_agreement"] = self.agreement(drawn.images, drawn.labels)
        for key, score in found.items():
            protocol = f"{score.protocol}/{drawn.protocol}"
            self.run.metric(qualified(key, qualifier), score.value, protocol, score.n, score.se)
        return found["fid"].value


def qualified(key: str, qualifier: str) -> str:
    """Return a metric's key with one more qualifier, before its own: `fid[euler 4, extrapolated]`."""
    name, own = split_key(key)
    parts = [part for part in (qualifier, own) if part]
    return f"{name}[{', '.join(parts)}]" if parts else name


def evaluate(run: Run, flow: UnitCubeFlow, data: Images, config: ImagesConfig, judge: Judge) -> None:
    """Record what the trained flow is worth."""
    labels = data.classes_at_random(config.samples)
    drawn = draw_images(run, flow, labels, adaptive(config), config, data.levels)
    run.metric("nfe", drawn.nfe, f"{drawn.protocol}/mean over batches of {config.sample_batch}", len(labels))
    told = f"{drawn.protocol}/{len(labels)} images in batches of {config.sample_batch}"
    run.metric("sampling_time", drawn.seconds, told, len(labels))
    judge.record(drawn, all_scores=True)
    of_test = data.chosen("test", config.samples, "yardstick")
    real = Drawn(*of_test, nfe=0, seconds=0, protocol="real images")
    judge.record(real, YARDSTICK, all_scores=True)
    few = {"dopri5": drawn.first(config.few_samples), f"{YARDSTICK}, few": real.first(config.few_samples)}
    for qualifier, part in few.items():
        judge.record(part, qualifier)
    against_nfe(run, flow, data, config, judge)
    likelihood(run, flow, data, config)
    pictures(run, flow, data, config)


def against_nfe(run: Run, flow: UnitCubeFlow, data: Images, config: ImagesConfig, judge: Judge) -> None:
    """Record FID against NFE, each method's as metrics and as a curve; for a network with classes also by guidance."""
    labels = data.classes_at_random(config.samples)[: config.few_samples]

    def at(method: str, evaluations: int, w: float = 0.0) -> float:
        drawn = draw_images(run, flow, labels, fixed(method, evaluations), config, data.levels, w)
        return judge.record(
            drawn, f"guidance {w:g}, {method} {evaluations}" if w else f"{method} {evaluations}"
        )

    for method in config.solvers:
        fids = [at(method, n) for n in config.evaluations]
        run.curve(f"fid_{method}", config.evaluations, fids, "NFE", "FID")
    if config.conditional:
        at(GUIDED, max(config.evaluations), config.guidance)


@torch.no_grad()
def likelihood(run: Run, flow: UnitCubeFlow, data: Images, config: ImagesConfig) -> None:
    """Record bits/dim of test images, of no class, for each number K of dequantisations, and what that costs."""
    v = data.values("test", config.test_images, "likelihood").to(run.device)
    integration, generator, most = adaptive(config), run.torch_generator("likelihood"), max(config.importance)
    parts, dim = v.split(config.test_batch), math.prod(data.shape)
    flow.counter.reset()
    start = time.perf_counter()
    draws = [  # one dequantisation and one probe an image each
        torch.cat([importance_log_prob(flow, part, data.levels, 1, generator, integration) for part in parts])
        for _ in range(most)
    ]
    log_p = torch.stack(draws).double().cpu()  # (K, N)
    seconds = time.perf_counter() - start
    pixels = "x".join(map(str, data.shape[1:]))
    told = f"{integration.protocol}/{config.data} {pixels}, {data.levels} levels/batch {config.test_batch}"
    for k in config.importance:
        bits = bits_per_dim(log_p[:k].logsumexp(0) - math.log(k), dim, data.levels)
        key, protocol = "bits_per_dim" if k == 1 else f"bits_per_dim[K={k}]", f"{told}/uniform noise, K={k}"
        run.metric(key, bits.mean().item(), protocol, len(v), bits.std().item() / math.sqrt(len(v)))
    solves = len(parts) * most
    run.metric("nfe_test", flow.counter.forward_evaluations / solves, f"{told}/mean over solves", solves)
    run.metric("loglik_time", seconds, f"{told}/{len(v)} images, K={most}")


def pictures(run: Run, flow: UnitCubeFlow, data: Images, config: ImagesConfig) -> None:
    """Keep some samples as pictures `(rows, columns, C, H, W)` of values 0..255.

    Of a network with classes each row shows one class, and a second array the same by guidance.
    """
    most = SHOWN // math.prod(data.shape)
    side = max(2, math.isqrt(most))
    rows, columns = (data.classes, max(2, most // data.classes)) if config.conditional else (side, side)
    labels = torch.arange(rows).repeat_interleave(columns) % data.classes
    for key, w in {"samples": 0.0, "samples_guided": config.guidance}.items():
        if key == "samples" or config.conditional:
            drawn = draw_images(run, flow, labels, adaptive(config), config, data.levels, w)
            run.artifact(key, drawn.images.reshape(rows, columns, *data.shape).to(torch.uint8))
