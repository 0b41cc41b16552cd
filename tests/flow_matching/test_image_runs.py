"""The experiment on images, on scikit-learn's digits and synthetic images, scored by a tiny extractor."""

from __future__ import annotations

import dataclasses
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from replications.flow_matching.experiments.images.quality import (
    Judge,
    adaptive,
    draw_images,
    fixed,
    likelihood,
    to_bytes,
)
from torch import Tensor

import bench
from bench.data.images import ImageSet
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.fidelity import extractors
from bench.metrics.fidelity.extractors import Extractor
from bench.record import Record, write
from replications.flow_matching.experiments.images import figures as images_figures
from replications.flow_matching.experiments.images import run as images
from replications.flow_matching.experiments.images.declaration import (
    IMAGES,
    VARIANTS,
    YARDSTICK,
    ImagesConfig,
)
from replications.flow_matching.experiments.images.run import Images, run, train
from replications.flow_matching.model import build_images, velocity_of
from replications.flows.density.images import UnitCubeFlow, dequantise
from replications.flows.errors import SolveFailure

pytestmark = pytest.mark.skipif(
    find_spec("torch_fidelity") is None or find_spec("torchvision") is None,
    reason="torch-fidelity is not installed: pip install 'cnf-bench[fidelity]'",
)

EXTRACTOR = "brightness-test"
TINY: dict[str, Any] = {"data": "digits", "pool": 1, "extractor": EXTRACTOR}
EXPERIMENT = dataclasses.replace(
    IMAGES,
    name="test.images",
    variants={
        "fm_ot": {**TINY, "method": "fm-ot"},
        "fm_vp": {**TINY, "method": "fm-vp"},
        "ot_cfm": {**TINY, "method": "ot-cfm", "flip": True},
        "class": {**TINY, "conditional": True, "guidance": 1.0},
    },
    offered={},
)
TIMED = ("time", "peak_memory")


class Brightness(torch.nn.Module):
    """Features: the mean of each quarter of an image; class 1 where the left half is the brighter one, else 0."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quarters = torch.nn.functional.adaptive_avg_pool2d(x.double().mean(1, keepdim=True) / 255, 2).flatten(
            1
        )
        left = quarters[:, 0] + quarters[:, 2] - quarters[:, 1] - quarters[:, 3]
        return quarters, torch.stack((-left, left), 1)


@pytest.fixture(autouse=True)
def tiny_extractor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNF_BENCH_CACHE", str(tmp_path / "cache"))
    made = Extractor(EXTRACTOR, (None, None, None), "uint8", lambda _: Brightness())
    monkeypatch.setitem(extractors.EXTRACTORS, EXTRACTOR, made)


def new_run(folder: Path, variant: str = "fm_ot", seed: int = 0, **changes: Any) -> tuple[Run, ImagesConfig]:
    config = dataclasses.replace(EXPERIMENT.configure(variant, "smoke"), **changes)
    return Run(identify(EXPERIMENT, variant, "smoke", seed), folder), config


def smoke(folder: Path, variant: str = "fm_ot", seed: int = 0, **changes: Any) -> Run:
    job, config = new_run(folder, variant, seed, **changes)
    run(job, config)
    return job


def trained(job: Run, config: ImagesConfig, **changes: Any) -> UnitCubeFlow:
    """Return the flow of a training of a small network."""
    config = dataclasses.replace(config, **changes)
    data, flow = Images(job, config), small(config)
    train(job, flow, data, config, Judge(job, data, config))
    return flow


def small(config: ImagesConfig) -> UnitCubeFlow:
    generator = torch.Generator().manual_seed(1)
    return build_images(
        (1, 8, 8), 4, (1,), 1, (), classes=10 if config.conditional else 0, generator=generator
    )


# -- runs -----------------------------------------------------------------------------------------------------


def test_run_reports_what_it_declares(tmp_path: Path) -> None:
    job = smoke(tmp_path, "class")
    assert {key.split("[")[0] for key in job.metrics} == set(EXPERIMENT.metrics)
    keys = {key for key in job.metrics if key.startswith("fid")}
    curve = {f"fid[{method} {n}]" for method in ("euler", "midpoint") for n in (2, 4)}
    real = {f"fid[{YARDSTICK}]", f"fid[{YARDSTICK}, extrapolated]", f"fid[{YARDSTICK}, few]"}
    guided = {"fid[guidance 1, midpoint 4]"}
    assert keys == {"fid", "fid[extrapolated]", "fid[dopri5]"} | curve | real | guided
    assert job.metrics["fid"].protocol.startswith(
        f"fid/{EXTRACTOR}/digits-train-8x8-200/140/uint8/dopri5-1e-3"
    )
    assert job.metrics[f"fid[{YARDSTICK}]"].n == job.metrics["fid"].n == 140
    assert job.metrics["nfe_forward"].value == 1
    assert job.metrics["nfe_backward"].value == 0
    assert job.metrics["bits_per_dim[K=2]"].protocol.endswith("uniform noise, K=2")
    record = Record(job.identity, "done", metrics=job.metrics, curves=job.curves)
    _check_figures(record)
    _check_model(job, record)


def _check_figures(record: Record) -> None:
    picture, columns = images_figures.mosaic(record), int(record.curves["samples"].x[1])
    assert picture.shape == (8 * 10, 8 * columns, 1)
    assert picture[0, :8, 0].tolist() == pytest.approx([y / 255 for y in record.curves["samples"].y[:8]])
    assert [ax.get_title() for ax in images_figures.samples([record]).axes] == ["class", "class, guided"]
    assert [ax.get_title() for ax in images_figures.nfe([record]).axes] == ["euler", "midpoint"]
    assert [ax.get_ylabel() for ax in images_figures.training([record]).axes] == ["mean squared error", "FID"]
    assert images_figures.samples([]) is images_figures.nfe([]) is images_figures.training([]) is None


def _check_model(job: Run, record: Record) -> None:
    """Check that the model kept draws the very samples that the record shows."""
    flow, config = bench.load(write(job.folder, record)), EXPERIMENT.configure("class", "smoke")
    shape = [int(n) for n in job.curves["samples"].x]
    labels = torch.arange(10).repeat_interleave(shape[1])
    drawn = draw_images(job, flow, labels, adaptive(config), config, 17)
    assert drawn.images.flatten().tolist() == list(job.curves["samples"].y)


def test_same_seed_same_result(tmp_path: Path) -> None:
    short = {"iterations": 2, "solvers": ("euler",), "evaluations": (2,), "validate_every": 0}
    first, again = (smoke(tmp_path / str(i), "fm_vp", **short) for i in range(2))
    for key in (k for k in first.metrics if not any(word in k for word in TIMED)):
        assert again.metrics[key] == first.metrics[key], key
    assert again.curves == first.curves
    other, config = new_run(tmp_path, "fm_vp", 1, **short)
    trained(other, config)
    assert other.curves["loss"] != first.curves["loss"]
    assert other.curves["validation"] != first.curves["validation"]


@pytest.mark.parametrize("variant", ["fm_ot", "ot_cfm"])
def test_variants_share_reference_and_noise(tmp_path: Path, variant: str) -> None:
    (job, config), (vp, _) = new_run(tmp_path, variant), new_run(tmp_path, "fm_vp")
    flow, labels = small(config), torch.zeros(4, dtype=torch.int64)
    assert torch.equal(*(Judge(r, Images(r, config), config).reference for r in (job, vp)))
    drawn = [draw_images(r, flow, labels, fixed("euler", 1), config, 17).images for r in (job, vp)]
    assert torch.equal(*drawn)
    trained(job, config)
    assert job.metrics["train_loss"].protocol.startswith(f"{config.iterations} iterations of {config.batch}")


def test_resumed_training_ends_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, config = new_run(tmp_path / "whole", "class")
    whole = trained(job, config)
    job, _ = new_run(tmp_path / "parts", "class")
    monkeypatch.setattr("replications.flows.training.loop._Trainer.save_if_due", lambda self: self.save())
    with monkeypatch.context() as broken:
        broken.setattr(images, "objective", _fails_at(2))
        with pytest.raises(SolveFailure):
            trained(job, config)
    job, _ = new_run(tmp_path / "parts", "class")
    resumed = trained(job, config)
    assert job.resumed == 1
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def _fails_at(iteration: int) -> Any:
    calls, kept = [], images.objective

    def objective(*arguments: Any) -> Tensor:
        calls.append(1)
        loss = kept(*arguments)
        return loss * math.nan if len(calls) == iteration + 1 else loss

    return objective


def test_averaged_weights_are_the_ones_kept_and_tested(tmp_path: Path) -> None:
    # With a decay of nearly one the average stays where the training began, and so does the FID of the average.
    job, config = new_run(tmp_path, learning_rate=0.1)
    still = trained(job, config, ema_decay=1 - 1e-9)
    start = small(config)
    for a, b in zip(still.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert len(set(job.curves["validation"].y)) == 1
    job, _ = new_run(tmp_path / "moved")
    moved = trained(job, config, ema_decay=0.0)
    assert not torch.allclose(velocity_of(moved).outlet.weight, velocity_of(start).outlet.weight, atol=1e-3)
    assert len(set(job.curves["validation"].y)) == 2


# -- classes --------------------------------------------------------------------------------------------------


def test_guidance_and_classes_reach_the_sampler(tmp_path: Path) -> None:
    # v = embedding of the class, a constant image: a step of Euler from t = 0 to 1 ends at x0 + v_w.
    job, config = new_run(tmp_path, "class")
    flow = small(config)
    velocity_of(flow).forward = lambda t, x, labels: (labels.float() / 40)[:, None, None, None].expand_as(x)
    ends = {
        w: draw_images(job, flow, torch.tensor([0, 8]), fixed("euler", 1), config, 256, w).images
        for w in (0.0, 1.0)
    }
    null = draw_images(job, flow, torch.tensor([10, 10]), fixed("euler", 1), config, 256).images
    inside = [(ends[0.0] != edge) & (ends[1.0] != edge) & (null != edge) for edge in (0, 255)]
    change = (ends[1.0].float() - ends[0.0].float()) / 128  # of y = 2x - 1
    for place, label in enumerate((0, 8)):
        seen = (inside[0] & inside[1])[place]
        # (1 + w) v_c - w v_null = v_c + w (v_c - v_null), with v_null = 10 / 40
        assert seen.sum() > 20
        torch.testing.assert_close(
            change[place][seen], torch.full((int(seen.sum()),), (label - 10) / 40), rtol=0, atol=0.02
        )


def test_labels_are_dropped_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    kept = images.objective

    def objective(*arguments: Any) -> Tensor:
        seen.append(arguments[-1])
        return kept(*arguments)

    monkeypatch.setattr(images, "objective", objective)
    job, config = new_run(tmp_path, "class")
    trained(job, config, drop=0.5, batch=200, iterations=2, validate_every=0)
    share = (seen[0] == 10).float().mean().item()
    assert 0.3 < share < 0.7  # 5.6 standard deviations
    data = Images(job, dataclasses.replace(config, batch=200))
    told = seen[0] != 10
    assert torch.equal(seen[0][told], data.batch(0)[1][told])


def test_agreement_is_the_share_of_the_classifiers_hits(tmp_path: Path) -> None:
    job, config = new_run(tmp_path, "class")
    judge = Judge(job, Images(job, config), config)
    x = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    x[:2, :, :, :4] = 200
    x[2:, :, :, 4:] = 200
    score = judge.agreement(x, torch.tensor([1, 0, 0, 0]))
    assert score.value == 75
    assert score.se == pytest.approx(100 * math.sqrt(0.75 * 0.25 / 4))


# -- parts ----------------------------------------------------------------------------------------------------


def test_fid_alone_is_that_among_all_scores(tmp_path: Path) -> None:
    job, config = new_run(tmp_path)
    data = Images(job, config)
    judge, real = Judge(job, data, config), data.chosen("test", 140, "yardstick")[0]
    assert judge.fid(real) == judge.scores(real)["fid"]


def test_subsets_are_random_not_a_prefix_and_fixed(tmp_path: Path) -> None:
    job, config = new_run(tmp_path)
    data = Images(job, config)
    first, again = (data.chosen("train", 200, "reference")[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, data.chosen("train", 0, "reference")[0][:200])
    assert len(data.chosen("train", 0, "reference")[0]) == 1442
    assert first.max() == 255
    other = Images(new_run(tmp_path, seed=1)[0], config)
    assert not torch.equal(first, other.chosen("train", 200, "reference")[0])


def test_likelihood_of_the_untrained_flow_is_the_priors(tmp_path: Path) -> None:
    # The network starts at v = 0: the density of x is that of 2x - 1 under N(0, I), and p_2 the mean of two draws of u.
    job, config = new_run(tmp_path, test_images=50, test_batch=50)
    data, flow, generator = Images(job, config), small(config), job.torch_generator("likelihood")
    likelihood(job, flow, data, config)
    v, draws = data.values("test", 50, "likelihood"), []
    for _ in range(2):
        y = 2 * dequantise(v, 17, generator) - 1
        adaptive(config).divergence.draw(y, generator)
        draws.append(torch.distributions.Normal(0, 1).log_prob(y.double()).sum((1, 2, 3)) + 64 * math.log(2))
    for key, log_p in (
        ("bits_per_dim", draws[0]),
        ("bits_per_dim[K=2]", (draws[0].exp() / 2 + draws[1].exp() / 2).log()),
    ):
        expected = (math.log(17) - log_p / 64) / math.log(2)
        found = job.metrics[key]
        assert found.value == pytest.approx(expected.mean().item(), abs=1e-5)
        assert found.se == pytest.approx(expected.std().item() / 50**0.5, rel=1e-3)
        assert found.n == 50


def test_images_of_three_channels_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)

    def load(name: str, split: str) -> ImageSet:
        raw = torch.randint(256, (220, 3, 8, 8), generator=generator, dtype=torch.uint8)
        return ImageSet(raw, torch.arange(220) % 2, 2, (0.5,) * 3, (0.3,) * 3, 255.0)

    monkeypatch.setattr(images, "load", load)
    job = smoke(tmp_path, "class", iterations=1, solvers=())
    assert job.curves["samples"].x == (2, 21, 3, 8, 8)


def test_bytes_are_levels_with_white_255() -> None:
    assert to_bytes(torch.tensor([0.0, 8, 16]), 17).tolist() == [0, 128, 255]
    assert to_bytes(torch.arange(256), 256).tolist() == list(range(256))


def test_evaluations_are_those_asked_for(tmp_path: Path) -> None:
    job, config = new_run(tmp_path)
    flow, labels = small(config), torch.zeros(3, dtype=torch.int64)
    for method in ("euler", "midpoint", "heun2"):
        assert draw_images(job, flow, labels, fixed(method, 8), config, 256).nfe == 8


# -- declaration ----------------------------------------------------------------------------------------------


def test_published_settings() -> None:
    ot, vp, cfm = (IMAGES.configure(f"cifar10_{name}", "paper") for name in ("fm_ot", "fm_vp", "ot_cfm"))
    assert (ot.channels, ot.mult, ot.depth, ot.attention) == (256, (1, 2, 2, 2), 2, (16,))
    assert (ot.iterations, ot.batch, ot.learning_rate, ot.warmup) == (391_000, 256, 5e-4, 45_000)
    assert (ot.schedule, ot.importance) == ("polynomial", (1, 20, 50))
    assert dataclasses.replace(vp, method="fm-ot") == ot
    assert (cfm.channels, cfm.batch, cfm.iterations, cfm.ema_decay, cfm.clip_norm) == (
        128,
        128,
        400_001,
        0.9999,
        1.0,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_mnist_is_scaled_and_cifar_is_as_published(variant: str) -> None:
    offered = [tier for tier in ("smoke", "cpu", "gpu", "paper") if IMAGES.offers(variant, tier)]
    assert offered == (["paper"] if variant.startswith("cifar10") else ["smoke", "cpu", "gpu"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"few_samples": 200}, "'few_samples' is above 'samples'"),
        ({"importance": (2, 5)}, "'importance' must rise from 1"),
        ({"importance": (1, 5, 2)}, "'importance' must rise from 1"),
        ({"evaluations": (3,)}, "'evaluations' must hold even numbers"),
        ({"samples": 0}, "'samples' must be at least 1"),
        ({"test_images": -1}, "'test_images' must be at least 0"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(EXPERIMENT.configure("fm_ot", "smoke"), **change)
