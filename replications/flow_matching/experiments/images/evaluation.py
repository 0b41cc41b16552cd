"""Record what a trained flow of images is worth: sample quality, what sampling costs, likelihood.

All solvers start from the same noise, and draw images of the same classes. Beside each score of samples stands that of
as many real test images against the same training images, `fid[test images against train images]`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.measure.clock import reader
from bench.metrics.catalogue import split_key
from bench.metrics.fidelity.quality import Score
from replications.flow_matching.experiments.images import measured
from replications.flow_matching.experiments.images.data import Images
from replications.flow_matching.experiments.images.declaration import REAL, FlowMatchingImageConfig
from replications.flow_matching.experiments.images.measured import Drawn, Judge, equal_steps
from replications.flows.density.divergence import Divergence
from replications.flows.density.evaluate import inversion_error
from replications.flows.density.images import UnitCubeFlow
from replications.flows.density.integration import Integration
from replications.flows.means import averaged_over, sizes_of
from replications.flows.ode.solver import Solver
from replications.tasks.recording import record_inversion, record_mean
from replications.tasks.splits import held_out

if TYPE_CHECKING:
    from bench.execution.run import Run

SHOWN = 8192
"""Numbers that the pictures of samples may hold, unless that is fewer than two a side or a class."""
INVERTED = 64
"""Test images on which the inverse is tested."""
GUIDED = "midpoint"
"""Method by which guided samples are drawn, at the highest NFE."""


class Evaluation:
    """What the scores and samples of one run have in common.

    Args:
        run: gives the streams; where to record.
        data: the images.
        config: extractor and sizes.
    """

    def __init__(self, run: Run, data: Images, config: FlowMatchingImageConfig) -> None:
        self.run, self.data, self.config = run, data, config
        reference = data.as_bytes(data.drawn(data.train, config.reference, "reference"))
        name = "-".join((config.data, "train", "x".join(map(str, data.shape[1:]))))
        draws = partial(run.numpy_generator, "scores")
        self.judge = Judge(reference, name, config.extractor, draws, run.device)
        self.labels = data.classes_at_random(config.samples)

    def draw(
        self, flow: UnitCubeFlow, integration: Integration, labels: Tensor | None = None, w: float = 0.0
    ) -> Drawn:
        """Return images, by default of the run's classes, by guidance w; always from the same noise."""
        return measured.draw_images(
            flow,
            self.labels if labels is None else labels,
            integration,
            self.run.torch_generator("samples"),
            self.data.levels,
            reader(self.run.device),
            self.config.sample_batch,
            w if self.config.conditional else None,
        )

    def protocol(self, integration: Integration, w: float = 0.0) -> str:
        """Return how samples are drawn: solver, and the guidance of a network with classes."""
        guidance = f"/guidance {w:g}" if self.config.conditional else ""
        return f"{integration.solver.protocol}{guidance}"

    def scores(self, images: Tensor, labels: Tensor, every: bool = False) -> dict[str, Score]:
        """Return the FID of images, or every score; for a network with classes the agreement with labels too."""
        found = self.judge.scores(images) if every else {"fid": self.judge.fid(images)}
        if self.config.conditional:
            found["class_agreement"] = self.judge.agreement(images, labels)
        return found

    def few(self) -> Tensor:
        """Return the classes of the fewer samples that are drawn in training and by methods with equal steps."""
        return self.labels[: self.config.few_samples]


def adaptive(config: FlowMatchingImageConfig) -> Integration:
    """Return how samples and likelihoods are integrated: dopri5, and the likelihood's trace."""
    solver = Solver("dopri5", config.test_tolerance, config.test_tolerance)
    return Integration(solver, Divergence(config.divergence))


def real_images(data: Images, n: int) -> tuple[Tensor, Tensor]:
    """Return n test images, uint8 with white 255, and their classes: what perfect samples would be."""
    part = data.as_bytes(data.drawn(data.test, n, "yardstick"))
    assert part.labels is not None  # images have classes
    return held_out(part), part.labels


def evaluate(run: Run, flow: UnitCubeFlow, evaluation: Evaluation) -> None:
    """Record what the trained flow is worth."""
    samples(run, flow, evaluation)
    against_nfe(run, flow, evaluation)
    likelihood(run, flow, evaluation.data, evaluation.config)
    pictures(run, flow, evaluation)


def samples(run: Run, flow: UnitCubeFlow, evaluation: Evaluation) -> None:
    """Record quality and cost of samples by dopri5, and the quality of as many real images."""
    config, integration, few = evaluation.config, adaptive(evaluation.config), evaluation.config.few_samples
    drawn, protocol = evaluation.draw(flow, integration), evaluation.protocol(integration)
    n, batch = len(drawn.images), config.sample_batch
    over = {"points": f"images in batches of {batch}", "batches": f"batches of {batch}"}
    run.metric("nfe", drawn.nfe, f"{protocol}/mean over {over[averaged_over(sizes_of(n, batch))]}", n)
    run.metric("sampling_time", drawn.seconds, f"{protocol}/{n} images in batches of {batch}", n)
    images, labels = drawn.images, drawn.labels
    record_scores(run, evaluation.scores(images, labels, every=True), protocol)
    record_scores(run, evaluation.scores(images[:few], labels[:few]), protocol, "dopri5")
    images, labels = real_images(evaluation.data, config.samples)
    record_scores(run, evaluation.scores(images, labels, every=True), "real images", REAL)
    record_scores(run, evaluation.scores(images[:few], labels[:few]), "real images", f"{REAL}, few")


def record_scores(run: Run, found: dict[str, Score], protocol: str, qualifier: str = "") -> None:
    """Record scores of images under one more qualifier than their own, before it: `fid[euler 4, extrapolated]`."""
    for key, score in found.items():
        name, own = split_key(key)
        parts = ", ".join(part for part in (qualifier, own) if part)
        named = f"{name}[{parts}]" if parts else name
        run.metric(named, score.value, f"{score.protocol}/{protocol}", score.n, score.se)


def against_nfe(run: Run, flow: UnitCubeFlow, evaluation: Evaluation) -> None:
    """Record FID against NFE, each method's as metrics and as a curve; for a network with classes also by guidance."""
    config = evaluation.config

    def at(method: str, evaluations: int, w: float = 0.0) -> float:
        integration = equal_steps(method, evaluations)
        drawn = evaluation.draw(flow, integration, evaluation.few(), w)
        found = evaluation.scores(drawn.images, drawn.labels)
        name = f"guidance {w:g}, {method} {evaluations}" if w else f"{method} {evaluations}"
        record_scores(run, found, evaluation.protocol(integration, w), name)
        return found["fid"].value

    for method in config.solvers:
        fids = [at(method, n) for n in config.evaluations]
        run.curve(f"fid_{method}", config.evaluations, fids, "NFE", "FID")
    if config.conditional:
        at(GUIDED, max(config.evaluations), config.guidance)


def likelihood(run: Run, flow: UnitCubeFlow, data: Images, config: FlowMatchingImageConfig) -> None:
    """Record bits/dim of test images, of no class, for each number K of dequantisations, its cost, and the inverse."""
    v = held_out(data.drawn(data.test, config.test_images, "likelihood")).to(run.device)
    integration, draws = adaptive(config), run.torch_generator("likelihood")
    most, clock = max(config.importance), reader(run.device)
    found = measured.bits(flow, v, data.levels, most, integration, draws, clock, config.test_batch)
    pixels = "x".join(map(str, data.shape[1:]))
    protocol = (
        f"{integration.protocol}/{config.data} {pixels}, {data.levels} levels/batch {config.test_batch}"
    )
    for k in config.importance:
        key = "bits_per_dim" if k == 1 else f"bits_per_dim[K={k}]"
        record_mean(run, key, found.of(k), f"{protocol}/uniform noise, K={k}")
    over = {"points": "images", "batches": "solves"}[averaged_over(sizes_of(len(v), config.test_batch))]
    run.metric("nfe_test", found.nfe, f"{protocol}/mean over {over}", found.solves)
    run.metric("loglik_time", found.seconds, f"{protocol}/{len(v)} images, K={most}/warm")
    x = (v[:INVERTED].float() + 0.5) / data.levels
    record_inversion(run, inversion_error(flow, x, integration), integration.solver.protocol)


def pictures(run: Run, flow: UnitCubeFlow, evaluation: Evaluation) -> None:
    """Keep some samples as pictures `(rows, columns, C, H, W)` of values 0..255.

    Of a network with classes each row shows one class, and a second array the same by guidance.
    """
    data, config = evaluation.data, evaluation.config
    rows, columns = board(math.prod(data.shape), data.classes if config.conditional else 0)
    labels = torch.arange(rows).repeat_interleave(columns) % data.classes
    for key, w in {"samples": 0.0, "samples_guided": config.guidance}.items():
        if key == "samples" or config.conditional:
            drawn = evaluation.draw(flow, adaptive(config), labels, w)
            run.artifact(key, drawn.images.reshape(rows, columns, *data.shape))


def board(numbers: int, classes: int) -> tuple[int, int]:
    """Return rows and columns of the pictures of so many numbers each: a row a class, or a square without classes."""
    most = SHOWN // numbers
    side = max(2, math.isqrt(most))
    return (classes, max(2, most // classes)) if classes else (side, side)
