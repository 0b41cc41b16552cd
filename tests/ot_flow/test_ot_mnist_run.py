"""OT-Flow in the latent space of an autoencoder: validation images train nothing, test images make each number."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_images import H, W, new_run, settings, synthetic
from support import loaded, recorded, sizes_seen, untimed
from torch import Tensor

from bench.execution.run import Run
from bench.metrics.catalogue import split_key
from bench.registry import resolve
from replications.flows.training.log import Log
from replications.ot_flow.experiments.mnist import data as data_module
from replications.ot_flow.experiments.mnist import figures as mnist_figures
from replications.ot_flow.experiments.mnist import measured
from replications.ot_flow.experiments.mnist import run as mnist
from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, LatentFlow, build
from replications.ot_flow.experiments.mnist.data import Images, images
from replications.ot_flow.experiments.mnist.declaration import MNIST
from replications.ot_flow.measured import costs_of
from replications.tasks.figures import mosaic
from replications.tasks.method import in_test
from replications.tasks.splits import Split, TestSet, TrainSet, ValidationSet, mapped

MEMORY = ("peak_memory",)


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "load", synthetic)


def perform(folder: Path, variant: str = "standardised", seed: int = 0, **overrides: Any) -> Run:
    run = new_run(folder, variant, seed)
    mnist.run(run, settings(variant, **overrides))
    return run


def repeating(run: Run) -> dict[str, float]:
    return {key: value for key, value in untimed(run).items() if key not in MEMORY}


# -- validation images are never trained on -------------------------------------------------------------------


def autoencoder_curves(folder: Path, validation: Callable[[Tensor], Tensor]) -> list[tuple[float, ...]]:
    """Train an autoencoder, its validation images replaced, and return losses and validations."""
    run, config = new_run(folder), settings()
    data = images(run, config)
    split = dataclasses.replace(data.split, validation=mapped(data.split.validation, validation))
    net = Autoencoder(H * W, 4, torch.Generator().manual_seed(0), data.mean, data.std)
    mnist.fit_autoencoder(run, net, split, config)
    return [run.curves[key].y for key in ("autoencoder_loss", "autoencoder_validation")]


def test_autoencoder_never_steps_on_validation_images(tmp_path: Path) -> None:
    losses, validations = autoencoder_curves(tmp_path, lambda x: x)
    others, changed = autoencoder_curves(tmp_path, lambda x: 1 - x)
    assert losses == others
    assert validations != changed


def test_a_step_on_validation_images_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above on the original's fault, planted: a step after each validation."""
    sound, config = mnist.train, settings()

    def curves(validation: Callable[[Tensor], Tensor]) -> tuple[float, ...]:
        x = validation(images(new_run(tmp_path), config).split.validation.points)

        def leaking(run: Run, model: Autoencoder, loss: Any, how: Any, validate: Any, **more: Any) -> Log:
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)

            def step() -> float:
                optimizer.zero_grad()
                value = model.loss(x)
                value.backward()
                optimizer.step()
                return value.item()

            return sound(run, model, loss, how, step, **more)

        monkeypatch.setattr(mnist, "train", leaking)
        return autoencoder_curves(tmp_path, validation)[0]

    assert curves(lambda x: x) != curves(lambda x: 1 - x)


def test_the_best_validated_autoencoder_is_kept(tmp_path: Path) -> None:
    """A rate so high that the validation error rises again."""
    run, config = new_run(tmp_path), settings(autoencoder_rate=0.3, epochs=8)
    data = images(run, config)
    net = Autoencoder(H * W, 4, torch.Generator().manual_seed(0), data.mean, data.std)
    mnist.fit_autoencoder(run, net, data.split, config)
    found = run.curves["autoencoder_validation"].y
    assert min(found) < found[-1]
    assert net.loss(data.split.validation.points).item() == pytest.approx(min(found), rel=1e-5)


def latents(validation: Tensor | None = None) -> Split:
    """Normal latent points; the validation's in place of their own where given."""
    train, own, test = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0))
    return Split(TrainSet(train), ValidationSet(own if validation is None else validation), TestSet(test))


def test_flow_never_steps_on_validation_images(tmp_path: Path) -> None:
    found = []
    for split in (latents(), latents(3 * latents().validation.points)):
        run = new_run(tmp_path)
        flow = build(H * W, 4, 4, generator=torch.Generator().manual_seed(0)).flow
        mnist.fit_flow(run, flow, split, settings())
        found.append([run.curves[key].y for key in ("loss", "validation")])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_latent_points_keep_the_kind_of_their_images(tmp_path: Path) -> None:
    data = images(new_run(tmp_path), settings()).split
    net = Autoencoder(H * W, 4, torch.Generator().manual_seed(0))
    found = mnist.encoded(net, data)
    for part, image in zip(
        (found.train, found.validation, found.test), (data.train, data.validation, data.test)
    ):
        assert type(part) is type(image)
        assert torch.equal(part.points, net.encode(image.points))


def test_what_the_autoencoders_training_cost(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    log = Log(losses=[3.0, 2.0], seconds=[0.5, 1.5], validations=[(1, 9.0), (2, 8.0)])
    mnist.record_autoencoder(run, log, torch.tensor([0.5, 0.25]), 40)
    found = {key: (m.value, m.protocol) for key, m in run.metrics.items()}
    assert found == {
        "iteration_time[autoencoder]": (1.0, "2 iterations of 40/eager/median"),
        "train_time[autoencoder]": (2.0, "2 iterations of 40/eager"),
    }
    assert run.curves["latent_std"].y == (0.25, 0.5)
    assert (run.curves["autoencoder_validation"].x, run.curves["autoencoder_validation"].y) == (
        (1, 2),
        (9, 8),
    )
    assert run.curves["autoencoder_loss"].y == (3, 2)


# -- runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["standardised", "unit_pixels"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "load", synthetic)
        return perform(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def model(job: Run) -> LatentFlow:
    trained: LatentFlow = loaded(job)
    return trained


@pytest.fixture
def data(job: Run) -> Images:
    return images(job, settings(job.identity.variant))


def test_sizes_are_those_of_the_networks(job: Run) -> None:
    assert {split_key(key)[0] for key in job.metrics} == set(MNIST.metrics)
    d, m = 4, 4
    assert job.metrics["parameters[autoencoder]"].value == 2 * H * W * d + d + H * W
    # K_0, b_0; K_1, b_1; w; A; b; c.
    assert job.metrics["parameters"].value == m * (d + 1) + m + m * m + m + m + (d + 1) ** 2 + d + 1 + 1
    assert len(job.curves["latent_std"].x) == d
    assert job.metrics["iteration_time[autoencoder]"].n == 4 * 3  # epochs of ceil(100 / 40) iterations


def test_pixels_are_standardised_where_told(job: Run, model: LatentFlow) -> None:
    shift, scale = model.autoencoder.shift, model.autoencoder.scale
    assert (shift, scale) == ((0.5, 0.29) if job.identity.variant == "standardised" else (0.0, 1.0))


def test_latent_points_are_normalised_by_training_images(model: LatentFlow, data: Images) -> None:
    with torch.no_grad():
        h = model.autoencoder.hidden(data.split.train.points)
    torch.testing.assert_close(model.autoencoder.mean, h.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.autoencoder.std, h.std(0, correction=0), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_each_number_is_of_its_own_set(job: Run, model: LatentFlow, data: Images) -> None:
    config = settings(job.identity.variant)
    test = data.split.test.points
    nll = -model.log_prob(test, in_test(config)).double().mean().item()
    assert job.metrics["nll"].value == pytest.approx(nll, rel=1e-5)
    for name, part in {
        "": data.split.test,
        "[train]": data.split.train,
        "[validation]": data.split.validation,
    }.items():
        errors = (model.autoencoder(part.points) - part.points).square().mean(1).double()
        found = job.metrics[f"reconstruction_error{name}"]
        assert found.value == pytest.approx(errors.mean().item(), rel=1e-5)
        assert found.se == pytest.approx(errors.std().item() / len(errors) ** 0.5, rel=1e-4)
        assert found.n == len(part)
    latent = model.autoencoder.encode(test)
    own = costs_of(model.flow, latent, config.own_steps)
    assert job.metrics["nll[own solver]"].value == pytest.approx(own.C.mean().item(), rel=1e-5)
    assert job.metrics["transport_cost[own solver]"].value == pytest.approx(own.L.mean().item(), rel=1e-4)
    z = torch.randn(20, 4, generator=job.torch_generator("generated"))
    drawn = model.flow.decode(z, mnist.rk4(config.own_steps))
    assert job.metrics["mmd"].value == pytest.approx(measured.median_mmd(drawn, latent)[0], abs=1e-6)
    assert job.metrics["nll_error"].n == 4


@torch.no_grad()
def test_pictures_are_of_test_images(job: Run, model: LatentFlow, data: Images) -> None:
    record = recorded(job)
    own = mnist.rk4(settings(job.identity.variant).own_steps)
    originals = data.split.test.points[:8]
    expected = {
        "originals": originals,
        "reconstructions": model.autoencoder(originals),
        "samples": model.sample(16, job.torch_generator("samples"), own),
    }
    for key, x in expected.items():
        assert record.array(key).shape == (len(x), H, W)
        away = np.abs(record.array(key).reshape(len(x), -1) / 255 - x.numpy())
        assert away.max() <= 0.5 / 255 + 1e-5, key


def test_figures_show_what_is_recorded(job: Run, data: Images) -> None:
    record = recorded(job)
    grid = mosaic(record.array("interpolation"), 6)
    assert grid.shape == (6 * H, 6 * W)
    upper_right = data.corners.points[1].reshape(H, W).numpy()
    assert np.abs(grid[:H, -W:] - upper_right).max() <= 0.5 / 255 + 1e-6
    shown = {name: resolve(MNIST.figures[name])([record]).axes[0] for name in ("samples", "reconstructions")}
    expected = {
        "samples": mosaic(record.array("samples"), 4),
        "reconstructions": mosaic(
            np.concatenate([record.array("originals"), record.array("reconstructions")]), 8
        ),
    }
    for name, ax in shown.items():
        np.testing.assert_array_equal(ax.images[0].get_array(), expected[name])
    (ax,) = mnist_figures.interpolation([record]).axes
    np.testing.assert_array_equal(ax.images[0].get_array(), grid)
    framed = {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)) for p in ax.patches}
    assert framed == {(0, 0), (5 * W, 0), (0, 5 * H), (5 * W, 5 * H)}
    assert mnist_figures.samples([]) is None


def test_same_seed_same_result(tmp_path: Path) -> None:
    first, again, other = (perform(tmp_path / str(i), seed=seed) for i, seed in enumerate((0, 0, 1)))
    assert repeating(first) == repeating(again)
    assert np.array_equal(first.artifacts["samples"], again.artifacts["samples"])
    assert repeating(first)["nll"] != repeating(other)["nll"]


class Interrupted(Run):
    """A run that is interrupted after so many iterations of all its trainings."""

    left = math.inf

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_interrupted_in_the_flow_and_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("autoencoder_settings", "in_periods"):
        plain = getattr(mnist, name)
        monkeypatch.setattr(
            mnist, name, lambda *a, plain=plain: dataclasses.replace(plain(*a), checkpoint_seconds=0)
        )
    expected = repeating(perform(tmp_path / "whole"))
    autoencoder = 4 * 3  # epochs of ceil(100 / 40) iterations
    first, second = (Interrupted(new_run(tmp_path).identity, tmp_path / "parts") for _ in range(2))
    first.left = autoencoder + 3
    with pytest.raises(KeyboardInterrupt):
        mnist.run(first, settings())
    second.left = 6 - 3  # were the autoencoder trained anew, that would not do
    mnist.run(second, settings())
    assert repeating(second) == expected
    assert second.resumed >= 1


def test_the_published_schedule_of_the_autoencoder() -> None:
    autoencoder = mnist.autoencoder_settings(MNIST.configure("standardised", "paper"), 63)
    rates = [autoencoder.lr_at(63 * epoch - 1) for epoch in (150, 151, 600)]
    assert autoencoder.iterations == 600 * 63
    assert rates == pytest.approx([1e-3, 1e-4, 1e-6])
    assert autoencoder.validate_every == 63


def test_short_last_batches_weigh_as_their_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sizes_seen(monkeypatch)
    run = perform(tmp_path, batch=64, autoencoder_batch=70)
    assert seen == [[64, 36]]
    log = Log(losses=[1.0, 8.0] * 400, seconds=[1.0] * 800, validations=[(800, 1.0)])
    mnist.record_autoencoder(run, log, torch.ones(2), 70, [70, 30])
    assert run.curves["autoencoder_loss"].y[0] == pytest.approx((2 * 70 + 30 * 8) / 170)  # 70, 30 and 70
