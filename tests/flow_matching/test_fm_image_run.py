"""Small trainings of image flows by Flow Matching, on scikit-learn's digits and on made-up images."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_images_fm import EXPERIMENT, EXTRACTOR, needs_fidelity, new_run, small, tiny_extractor
from support import loaded, recorded, sizes_seen, untimed
from torch import Tensor

from bench.data.images import ImageSet
from bench.errors import UserError
from bench.execution.run import Run
from bench.metrics.catalogue import split_key
from replications.flow_matching.experiments.images import data as data_module
from replications.flow_matching.experiments.images import figures
from replications.flow_matching.experiments.images import run as module
from replications.flow_matching.experiments.images.data import Images
from replications.flow_matching.experiments.images.declaration import (
    IMAGES,
    REAL,
    VARIANTS,
    FlowMatchingImageConfig,
)
from replications.flow_matching.experiments.images.evaluation import Evaluation, adaptive
from replications.flow_matching.experiments.images.measured import equal_steps
from replications.flow_matching.experiments.images.run import run, settings, train
from replications.flow_matching.method import METHODS, draw, drop_labels
from replications.flow_matching.method import objective as sound
from replications.flow_matching.model import velocity_of
from replications.flows.density.images import UnitCubeFlow
from replications.flows.errors import SolveFailure

pytestmark = needs_fidelity


@pytest.fixture(autouse=True)
def _brightness(tmp_path: Path) -> Any:
    with tiny_extractor(tmp_path / "cache"):
        yield


def smoke(folder: Path, variant: str = "fm_ot", seed: int = 0, **changes: Any) -> Run:
    job, config = new_run(folder, variant, seed, **changes)
    run(job, config)
    return job


def trained(job: Run, config: FlowMatchingImageConfig, **changes: Any) -> UnitCubeFlow:
    """Return the flow of a training of a small network."""
    config = dataclasses.replace(config, **changes)
    data, flow = Images(job, config), small(config)
    train(job, flow, data, config, Evaluation(job, data, config))
    return flow


def repeating(job: Run) -> dict[str, float]:
    return {key: value for key, value in untimed(job).items() if key != "peak_memory"}


# -- a whole run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("class")
    with tiny_extractor(folder / "cache"):
        return smoke(folder, "class")


def test_a_run_reports_what_it_declares(job: Run) -> None:
    assert {split_key(key)[0] for key in job.metrics} == set(EXPERIMENT.metrics)
    keys = {key for key in job.metrics if key.startswith("fid")}
    curve = {f"fid[{method} {n}]" for method in ("euler", "midpoint") for n in (2, 4)}
    real = {f"fid[{REAL}]", f"fid[{REAL}, extrapolated]", f"fid[{REAL}, few]"}
    guided = {"fid[guidance 1, midpoint 4]"}
    assert keys == {"fid", "fid[extrapolated]", "fid[dopri5]"} | curve | real | guided
    assert job.metrics["fid"].protocol.startswith(
        f"fid/{EXTRACTOR}/digits-train-8x8-200/140/uint8/dopri5-1e-3"
    )
    assert (job.metrics["nfe_forward"].value, job.metrics["nfe_backward"].value) == (1, 0)
    assert job.metrics["train_loss"].protocol.startswith("4 iterations of 8/")


def test_the_model_kept_draws_the_very_samples_that_the_record_shows(job: Run) -> None:
    config = EXPERIMENT.configure("class", "smoke")
    evaluation = Evaluation(job, Images(job, config), config)
    rows, columns = job.artifacts["samples"].shape[:2]
    labels = torch.arange(rows).repeat_interleave(columns)
    drawn = evaluation.draw(loaded(job), adaptive(config), labels)
    assert (drawn.images.reshape(job.artifacts["samples"].shape).numpy() == job.artifacts["samples"]).all()


def test_figures_show_what_is_recorded(job: Run) -> None:
    record = recorded(job)
    kept = record.array("samples")
    picture = figures.board(kept)
    assert picture.shape == (8 * 10, 8 * kept.shape[1], 1)
    np.testing.assert_allclose(picture[8:16, 16:24, 0], kept[1, 2, 0] / 255)
    assert [ax.get_title() for ax in figures.samples([record]).axes] == ["class", "class, guided"]
    euler, midpoint = figures.nfe([record]).axes
    assert (euler.get_title(), midpoint.get_title()) == ("euler", "midpoint")
    curve, mean, dopri5, real = euler.lines
    assert tuple(curve.get_ydata()) == tuple(mean.get_ydata()) == record.curves["fid_euler"].y
    assert dopri5.get_ydata()[0] == record.metrics["fid[dopri5]"].value
    assert real.get_ydata()[0] == record.metrics[f"fid[{REAL}, few]"].value
    loss, fid = figures.training([record]).axes
    assert (loss.get_ylabel(), fid.get_ylabel()) == ("mean squared error", "FID")
    assert tuple(fid.lines[0].get_ydata()) == record.curves["validation"].y
    assert figures.samples([]) is figures.nfe([]) is figures.training([]) is None


def test_same_seed_same_result(tmp_path: Path) -> None:
    short = {"iterations": 2, "solvers": ("euler",), "evaluations": (2,), "validate_every": 0}
    first, again = (smoke(tmp_path / str(i), "fm_vp", **short) for i in range(2))
    assert repeating(again) == repeating(first)
    assert again.curves == first.curves
    other, config = new_run(tmp_path, "fm_vp", 1, **short)
    trained(other, config)
    assert other.curves["loss"].y != first.curves["loss"].y
    assert other.curves["validation"].y != first.curves["validation"].y


def test_images_of_three_channels_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)

    def load(name: str, split: str) -> ImageSet:
        raw = torch.randint(256, (220, 3, 8, 8), generator=generator, dtype=torch.uint8)
        return ImageSet(raw, torch.arange(220) % 2, 2, (0.5,) * 3, (0.3,) * 3, 255.0)

    monkeypatch.setattr(data_module, "load", load)
    job = smoke(tmp_path, "class", iterations=1, solvers=())
    assert job.artifacts["samples"].shape == (2, 21, 3, 8, 8)
    assert job.metrics["fid"].protocol.startswith(f"fid/{EXTRACTOR}/digits-train-8x8-200/140/")


# -- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["fm_ot", "ot_cfm"])
def test_variants_share_reference_and_noise(tmp_path: Path, variant: str) -> None:
    (job, config), (vp, _) = new_run(tmp_path, variant), new_run(tmp_path, "fm_vp")
    flow, labels = small(config), torch.zeros(4, dtype=torch.int64)
    evaluations = [Evaluation(r, Images(r, config), config) for r in (job, vp)]
    assert torch.equal(*(e.judge._reference for e in evaluations))
    assert torch.equal(*(e.labels for e in evaluations))
    drawn = [e.draw(flow, equal_steps("euler", 1), labels).images for e in evaluations]
    assert torch.equal(*drawn)
    # With v = 0 a sample is its noise, by whatever solver.
    assert torch.equal(drawn[0], evaluations[0].draw(flow, equal_steps("midpoint", 4), labels).images)
    assert torch.equal(drawn[0], evaluations[0].draw(flow, adaptive(config), labels).images)


def test_a_loss_is_that_of_the_iterations_images_draws_and_dropped_labels(tmp_path: Path) -> None:
    """At a rate of zero the network stays what it is, and each loss can be computed again."""
    job, config = new_run(tmp_path, "class", learning_rate=0.0, iterations=3, ema_decay=0.0)
    flow, data, path = small(config), Images(job, config), METHODS["fm-ot"]()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    train(job, flow, data, config, Evaluation(job, data, config))
    for i, loss in enumerate(job.curves["loss"].y):
        x, classes = data.batch(i)
        draws = job.torch_generator(f"draw/{i}")
        drawn = draw(path, 2 * x - 1, draws)
        labels = drop_labels(classes, config.drop, 10, draws)
        expected = sound(velocity_of(flow), path.path, 2 * x - 1, drawn, labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4)


def test_validations_are_the_fid_of_the_fewer_samples_by_sixteen_evaluations(tmp_path: Path) -> None:
    job, config = new_run(tmp_path, learning_rate=0.0)
    flow = trained(job, config)
    evaluation = Evaluation(job, Images(job, config), config)
    drawn = evaluation.draw(flow, equal_steps("midpoint", 16), evaluation.few())
    expected = evaluation.judge.fid(drawn.images).value
    assert job.curves["validation"].x == (2, 4)
    assert job.curves["validation"].y == pytest.approx((expected, expected))
    assert job.curves["validation"].y_label == "FID, midpoint NFE 16"
    assert job.curves["loss"].y_label == "mean squared error"


def test_the_schedule_is_the_configs() -> None:
    config = IMAGES.configure("cifar10_ot_cfm", "paper")
    found = settings(dataclasses.replace(config, validate_every=7))
    assert (found.iterations, found.lr, found.schedule, found.warmup) == (400_001, 2e-4, "constant", 5000)
    assert (found.clip_norm, found.ema_decay, found.validate_every, found.optimizer) == (
        1.0,
        0.9999,
        7,
        "adam",
    )


def test_resumed_training_ends_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, config = new_run(tmp_path / "whole", "class")
    whole = trained(job, config)
    job, _ = new_run(tmp_path / "parts", "class")
    monkeypatch.setattr("replications.flows.training.loop._Trainer.save_if_due", lambda self: self.save())
    with monkeypatch.context() as broken:
        broken.setattr(module, "objective", _fails_at(2))
        with pytest.raises(SolveFailure):
            trained(job, config)
    job, _ = new_run(tmp_path / "parts", "class")
    resumed = trained(job, config)
    assert job.resumed == 1
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def _fails_at(iteration: int) -> Any:
    calls: list[int] = []

    def objective(*arguments: Any) -> Tensor:
        calls.append(1)
        loss = sound(*arguments)
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


def test_labels_are_dropped_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def objective(*arguments: Any) -> Tensor:
        seen.append(arguments[-1])
        return sound(*arguments)

    monkeypatch.setattr(module, "objective", objective)
    job, config = new_run(tmp_path, "class")
    trained(job, config, drop=0.5, batch=200, iterations=2, validate_every=0)
    share = (seen[0] == 10).float().mean().item()
    assert 0.3 < share < 0.7  # 5.6 standard deviations
    data = Images(job, dataclasses.replace(config, batch=200))
    given = seen[0] != 10
    assert torch.equal(seen[0][given], data.batch(0)[1][given])


# -- declaration --------------------------------------------------------------------------------------------------


def test_published_settings() -> None:
    ot, vp, cfm = (IMAGES.configure(f"cifar10_{name}", "paper") for name in ("fm_ot", "fm_vp", "ot_cfm"))
    assert (ot.channels, ot.mult, ot.depth, ot.attention) == (256, (1, 2, 2, 2), 2, (16,))
    assert (ot.iterations, ot.batch, ot.learning_rate, ot.warmup) == (391_000, 256, 5e-4, 45_000)
    assert (ot.schedule, ot.importance) == ("polynomial", (1, 20, 50))
    assert dataclasses.replace(vp, method="fm-ot") == ot
    published = (cfm.channels, cfm.batch, cfm.iterations, cfm.ema_decay, cfm.clip_norm)
    assert published == (128, 128, 400_001, 0.9999, 1.0)


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


def test_a_short_last_batch_weighs_as_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sizes_seen(monkeypatch)
    job, config = new_run(tmp_path)
    trained(job, config)
    rest = 1442 % config.batch
    assert rest > 0
    assert seen == [[config.batch] * (1442 // config.batch) + [rest]]
