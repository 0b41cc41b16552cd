"""What the evaluation of an image flow records: scores against training images, real ones of test images, and costs."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from planted_images_fm import EXTRACTOR, dark_and_bright, needs_fidelity, new_run, small, tiny_extractor

from bench.data.images import ImageSet
from bench.execution.run import Run
from bench.metrics.fidelity.quality import Score, quality
from replications.flow_matching.experiments.images import data as data_module
from replications.flow_matching.experiments.images import evaluation as module
from replications.flow_matching.experiments.images.data import Images, to_bytes
from replications.flow_matching.experiments.images.declaration import REAL, FlowMatchingImageConfig
from replications.flow_matching.experiments.images.evaluation import (
    Evaluation,
    adaptive,
    against_nfe,
    board,
    likelihood,
    pictures,
    real_images,
    record_scores,
    samples,
)
from replications.flow_matching.experiments.images.measured import equal_steps
from replications.flows.density.images import dequantise

pytestmark = needs_fidelity


@pytest.fixture(autouse=True)
def _brightness(tmp_path: Path) -> Any:
    with tiny_extractor(tmp_path / "cache"):
        yield


def made(
    folder: Path, variant: str = "fm_ot", **changes: Any
) -> tuple[Run, FlowMatchingImageConfig, Evaluation]:
    run, config = new_run(folder, variant, **changes)
    return run, config, Evaluation(run, Images(run, config), config)


def spread(name: str, split: str) -> ImageSet:
    """Dark training images and bright test images with many levels, and a corner that makes the scale whole."""
    found = dark_and_bright(name, split)
    ramp = torch.arange(len(found.images), dtype=torch.uint8)[:, None, None, None] % 70
    raw = found.images + ramp if split == "train" else found.images - 20 + ramp % 60
    raw[:, 0, 0, 0] = 255 if split == "train" else 0
    return dataclasses.replace(found, images=raw)


def test_real_test_images_are_scored_against_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark training images, bright test images: were one taken for the other, the FID would be nearly zero."""
    monkeypatch.setattr(data_module, "load", spread)
    run, config, evaluation = made(tmp_path)
    samples(run, small(config), evaluation)
    data = evaluation.data
    reference = data.as_bytes(data.drawn(data.train, config.reference, "reference")).points
    real = data.as_bytes(data.drawn(data.test, config.samples, "yardstick")).points
    assert reference[:, :, 1:].max() < 100
    assert real[:, :, 1:].min() >= 180
    expected = quality(real, reference, EXTRACTOR, "digits-train-8x8", run.numpy_generator("scores"))
    for name in ("fid", "kid", "precision", "recall", "inception_score"):
        found = run.metrics[f"{name}[{REAL}]"]
        assert found.value == pytest.approx(expected[name].value), name
        assert found.protocol == f"{expected[name].protocol}/real images"
        assert found.n == 140
    few = evaluation.judge.fid(real[: config.few_samples])
    assert run.metrics[f"fid[{REAL}, few]"].value == pytest.approx(few.value)
    assert run.metrics[f"fid[{REAL}, few]"].n == 130
    assert run.metrics[f"fid[{REAL}]"].value > 0.3  # squares of differences of about 0.8 in four quarters
    images, labels = real_images(data, config.samples)
    assert torch.equal(images, real)
    assert labels.shape == (140,)


def test_samples_are_scored_as_drawn_with_their_cost(tmp_path: Path) -> None:
    run, config, evaluation = made(tmp_path, sample_batch=50)
    flow = small(config)
    samples(run, flow, evaluation)
    drawn = evaluation.draw(flow, adaptive(config))
    assert len(drawn.images) == 140
    found = run.metrics
    assert found["fid"].value == pytest.approx(evaluation.judge.scores(drawn.images)["fid"].value)
    assert found["fid[dopri5]"].value == pytest.approx(evaluation.judge.fid(drawn.images[:130]).value)
    assert (found["fid[dopri5]"].n, found["fid"].n, found["nfe"].n) == (130, 140, 140)
    assert found["nfe"].value == pytest.approx(drawn.nfe)
    assert found["nfe"].protocol == "dopri5-1e-3/mean over images in batches of 50"
    assert found["sampling_time"].protocol == "dopri5-1e-3/140 images in batches of 50"
    assert found["fid"].protocol == f"fid/{EXTRACTOR}/digits-train-8x8-200/140/uint8/dopri5-1e-3"
    assert not any(key.startswith("class_agreement") for key in found)


def test_a_network_with_classes_is_asked_for_them(tmp_path: Path) -> None:
    run, config, evaluation = made(tmp_path, "class")
    flow = small(config)
    samples(run, flow, evaluation)
    drawn = evaluation.draw(flow, adaptive(config))
    agreement = evaluation.judge.agreement(drawn.images, drawn.labels)
    assert run.metrics["class_agreement"].value == agreement.value
    assert torch.equal(drawn.labels, evaluation.data.classes_at_random(140))
    assert run.metrics["fid"].protocol.endswith("/dopri5-1e-3/guidance 0")
    real, labels = real_images(evaluation.data, config.samples)
    of_real = evaluation.judge.agreement(real, labels)
    assert run.metrics[f"class_agreement[{REAL}]"].value == of_real.value
    assert evaluation.protocol(adaptive(config), 2.0) == "dopri5-1e-3/guidance 2"


def test_fid_against_evaluations_is_of_fewer_samples_by_each_method(tmp_path: Path) -> None:
    run, config, evaluation = made(tmp_path, "class", guidance=1.5)
    flow = small(config)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    against_nfe(run, flow, evaluation)
    for method in ("euler", "midpoint"):
        for n in (2, 4):
            drawn = evaluation.draw(flow, equal_steps(method, n), evaluation.few())
            fid = evaluation.judge.fid(drawn.images)
            assert run.metrics[f"fid[{method} {n}]"].value == pytest.approx(fid.value)
            assert run.metrics[f"fid[{method} {n}]"].n == 130
        curve = run.curves[f"fid_{method}"]
        assert (curve.x, curve.y) == ((2, 4), tuple(run.metrics[f"fid[{method} {n}]"].value for n in (2, 4)))
    guided = evaluation.draw(flow, equal_steps("midpoint", 4), evaluation.few(), 1.5)
    metric = run.metrics["fid[guidance 1.5, midpoint 4]"]
    assert metric.value == pytest.approx(evaluation.judge.fid(guided.images).value)
    assert metric.protocol.endswith("/midpoint-2/guidance 1.5")
    assert metric.value != run.metrics["fid[midpoint 4]"].value


def test_scores_keep_their_own_qualifier_after_the_given_one(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path)
    scores = {"fid": Score(1.0, "a", 10, 0.1), "fid[extrapolated]": Score(2.0, "b", 10, 0.2)}
    record_scores(run, scores, "s", "euler 4")
    record_scores(run, scores, "s")
    found = {key: (m.value, m.protocol, m.n, m.se) for key, m in run.metrics.items()}
    assert found == {
        "fid[euler 4]": (1.0, "a/s", 10, 0.1),
        "fid[euler 4, extrapolated]": (2.0, "b/s", 10, 0.2),
        "fid": (1.0, "a/s", 10, 0.1),
        "fid[extrapolated]": (2.0, "b/s", 10, 0.2),
    }


def test_likelihood_of_the_untrained_flow_is_the_priors(tmp_path: Path) -> None:
    # The network starts at v = 0: the density of x is that of 2x - 1 under N(0, I), and p_2 the mean of two draws of u.
    run, config = new_run(tmp_path, test_images=50, test_batch=50)
    data, flow, generator = Images(run, config), small(config), run.torch_generator("likelihood")
    likelihood(run, flow, data, config)
    v, draws = data.drawn(data.test, 50, "likelihood").points, []
    for _ in range(2):
        y = 2 * dequantise(v, 17, generator) - 1
        adaptive(config).divergence.draw(y, generator)
        draws.append(torch.distributions.Normal(0, 1).log_prob(y.double()).sum((1, 2, 3)) + 64 * math.log(2))
    for key, log_p in (
        ("bits_per_dim", draws[0]),
        ("bits_per_dim[K=2]", (draws[0].exp() / 2 + draws[1].exp() / 2).log()),
    ):
        expected = (math.log(17) - log_p / 64) / math.log(2)
        found = run.metrics[key]
        assert found.value == pytest.approx(expected.mean().item(), abs=1e-5)
        assert found.se == pytest.approx(expected.std().item() / 50**0.5, rel=1e-3)
        assert found.n == 50
    assert run.metrics["bits_per_dim[K=2]"].protocol.endswith("uniform noise, K=2")
    assert run.metrics["nfe_test"].n == 2  # one batch, twice
    assert run.metrics["loglik_time"].protocol.endswith("/50 images, K=2/warm")


def test_the_likelihood_is_of_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    kept = module.measured.bits
    monkeypatch.setattr(
        module.measured, "bits", lambda flow, v, *more: (seen.append(v), kept(flow, v, *more))[1]
    )
    monkeypatch.setattr(data_module, "load", dark_and_bright)
    run, config = new_run(tmp_path)
    likelihood(run, small(config), Images(run, config), config)
    assert seen[0].min() >= 200
    assert len(seen[0]) == config.test_images == 4


def test_pictures_of_a_network_with_classes_have_a_class_a_row(tmp_path: Path) -> None:
    run, config, evaluation = made(tmp_path, "class")
    flow = small(config)
    pictures(run, flow, evaluation)
    assert run.artifacts["samples"].shape == (10, 12, 1, 8, 8)
    labels = torch.arange(10).repeat_interleave(12)
    for key, w in (("samples", 0.0), ("samples_guided", config.guidance)):
        drawn = evaluation.draw(flow, adaptive(config), labels, w)
        assert (run.artifacts[key].reshape(-1, 1, 8, 8) == drawn.images.numpy()).all()


def test_pictures_without_classes_are_a_square(tmp_path: Path) -> None:
    run, config, evaluation = made(tmp_path)
    pictures(run, small(config), evaluation)
    assert set(run.artifacts) == {"samples"}
    assert run.artifacts["samples"].shape == (11, 11, 1, 8, 8)


def test_a_board_holds_as_many_numbers_as_it_may_but_at_least_two_a_side() -> None:
    assert board(64, 0) == (11, 11)  # 8192 / 64 = 128 pictures
    assert board(64, 10) == (10, 12)
    assert board(3072, 0) == (2, 2)
    assert board(3072, 10) == (10, 2)
    assert to_bytes(torch.tensor([4.0]), 5).item() == 255
