"""OT-Flow in the latent space of an autoencoder, on small random images."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bench
from bench.data.images import ImageSet
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record, write
from bench.registry import resolve
from replications.ot_flow.experiments.mnist import figures as mnist_figures
from replications.ot_flow.experiments.mnist import run as mnist
from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, build, size
from replications.ot_flow.experiments.mnist.declaration import MNIST, OTFlowMnistConfig
from replications.ot_flow.method import rk4
from replications.tasks.method import in_test

H, W, N = 6, 5, 120
TIMED = ("time", "memory")


def synthetic(name: str, split: str) -> ImageSet:
    """Random images, no two equal, of labels 0..9 in turn."""
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (N, 1, H, W), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(N) % 10, 10, (0.5,), (0.29,), 255.0)


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "load", synthetic)


def settings(variant: str = "standardised", **overrides: Any) -> OTFlowMnistConfig:
    """Small enough for a second; `overrides` come last."""
    small = {
        "validation_images": 20,
        "autoencoder_batch": 40,
        "epochs": 4,
        "iterations": 6,
        "validate_every": 2,
    }
    config: OTFlowMnistConfig = MNIST.configure(variant, "smoke", {**small, **overrides})
    return config


def new_run(folder: Path, variant: str = "standardised", seed: int = 0) -> Run:
    return Run(identify(MNIST, variant, "smoke", seed), folder)


def perform(folder: Path, variant: str = "standardised", seed: int = 0, **overrides: Any) -> Run:
    run = new_run(folder, variant, seed)
    mnist.run(run, settings(variant, **overrides))
    return run


def pixels(n: int = 7, p: int = 30) -> Tensor:
    return torch.rand(n, p, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def untimed(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if not any(word in key for word in TIMED)}


# -- the model ------------------------------------------------------------------------------------------------


def test_published_sizes() -> None:
    for tier in ("cpu", "gpu", "paper"):
        config = MNIST.configure("standardised", tier)
        model = build(784, config.latent, config.width, config.layers)
        assert (size(model.autoencoder), size(model.flow)) == (201_616, 34_700)


def test_autoencoder_is_its_formula_and_normalising_changes_nothing() -> None:
    net = Autoencoder(30, 8, torch.Generator().manual_seed(0), shift=0.1, scale=0.3).double()
    x = pixels(200)
    target = (x - 0.1) / 0.3
    h = (target @ net.inward.weight.T + net.inward.bias).clamp(min=0)
    out = 1 / (1 + torch.exp(-(h @ net.outward.weight.T + net.outward.bias)))
    torch.testing.assert_close(net(x), out, rtol=0, atol=1e-14)
    torch.testing.assert_close(net.loss(x), (out - target).square().mean(), rtol=0, atol=1e-14)
    before = net(x)
    net.normalise_by(x)
    torch.testing.assert_close(net.decode(net.encode(x)), before, rtol=0, atol=1e-12)


def test_latent_points_of_training_images_have_mean_zero_and_deviation_one() -> None:
    net = Autoencoder(30, 8, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        net.inward.bias[0] = -100.0  # never active
    x = pixels(200)
    net.normalise_by(x)
    y = net.encode(x)
    assert torch.equal(y[:, 0], torch.zeros(200, dtype=torch.float64))
    torch.testing.assert_close(y.mean(0), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    alive = net.std > 0
    assert alive.sum() >= 5
    # Divided by the deviation plus 1e-6, the deviation is that much below one.
    torch.testing.assert_close(
        y.std(0, correction=0)[alive], (net.std / (net.std + 1e-6))[alive], rtol=1e-12, atol=0
    )


def test_model_goes_from_images_to_the_base_and_back() -> None:
    model = build(30, 8, 6, generator=torch.Generator().manual_seed(1)).double()
    x, integration = pixels(), rk4(64)
    model.autoencoder.normalise_by(x)
    with torch.no_grad():
        z = model.encode(x, integration)
        assert z.shape == (7, 8)
        torch.testing.assert_close(model.decode(z, integration), model.autoencoder(x), rtol=0, atol=1e-6)
        y = model.autoencoder.encode(x)
        assert torch.equal(model.log_prob(x, integration), model.flow.log_prob(y, integration=integration))
        drawn = model.sample(5, torch.Generator().manual_seed(2), integration)
        latent = model.flow.sample(5, torch.Generator().manual_seed(2), integration)
    assert torch.equal(drawn, model.autoencoder.decode(latent))


# -- data -----------------------------------------------------------------------------------------------------


def rows(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


def test_sets_are_disjoint_and_complete(tmp_path: Path) -> None:
    data = mnist.images(new_run(tmp_path), settings())
    train, validation = rows(data.train), rows(data.validation)
    assert (len(train), len(validation), len(data.test)) == (N - 20, 20, 20)
    assert not train & validation
    assert train | validation == rows(synthetic("", "train").images.flatten(1).float() / 255)
    other = mnist.images(new_run(tmp_path, seed=1), settings())
    assert rows(other.validation) != validation


def test_corners_are_three_nines_and_a_one(tmp_path: Path) -> None:
    data = mnist.images(new_run(tmp_path), settings())
    expected = synthetic("", "test").images[[9, 19, 29, 1]].flatten(1).float() / 255
    assert torch.equal(data.corners, expected)


def test_all_images_for_validation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="120 validation images leave none of 120 to train on"):
        mnist.images(new_run(tmp_path), settings(validation_images=N))
    with pytest.raises(UserError, match="'validation_images' must be at least 1, got 0"):
        settings(validation_images=0)


# -- validation images are never trained on -------------------------------------------------------------------


def autoencoder_curves(folder: Path, validation: Callable[[Tensor], Tensor]) -> list[tuple[float, ...]]:
    """Train an autoencoder, its validation images replaced, and return losses and validations."""
    run, config = new_run(folder), settings()
    data = mnist.images(run, config)
    data = data._replace(validation=validation(data.validation))
    net = Autoencoder(H * W, 4, torch.Generator().manual_seed(0), data.mean, data.std)
    mnist.fit_autoencoder(run, net, data, config)
    return [run.curves[key].y for key in ("autoencoder_loss", "autoencoder_validation")]


def test_autoencoder_never_steps_on_validation_images(tmp_path: Path) -> None:
    losses, validations = autoencoder_curves(tmp_path, lambda x: x)
    others, changed = autoencoder_curves(tmp_path, lambda x: 1 - x)
    assert losses == others
    assert validations != changed


def test_a_step_on_validation_images_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above on the original's fault, planted: a step after each validation."""
    sound = mnist.train

    def leaking(run: Run, model: Autoencoder, loss: Any, integration: Any, validate: Any, phase: str) -> Any:
        validation = validate.__wrapped__.__closure__
        data = next(cell.cell_contents for cell in validation if isinstance(cell.cell_contents, mnist.Images))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)

        def step() -> float:
            optimizer.zero_grad()
            value = model.loss(data.validation)
            value.backward()
            optimizer.step()
            return value.item()

        return sound(run, model, loss, integration, step, phase=phase)

    monkeypatch.setattr(mnist, "train", leaking)
    first, other = (autoencoder_curves(tmp_path, change)[0] for change in (lambda x: x, lambda x: 1 - x))
    assert first != other


def test_flow_never_steps_on_validation_images(tmp_path: Path) -> None:
    drawn = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0))
    found = []
    for validation in (drawn[1], 3 * drawn[1]):
        run = new_run(tmp_path)
        flow = build(H * W, 4, 4, generator=torch.Generator().manual_seed(0)).flow
        mnist.fit_flow(run, flow, mnist.Latents(drawn[0], validation, drawn[2]), settings())
        found.append([run.curves[key].y for key in ("loss", "validation")])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


# -- runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["standardised", "unit_pixels"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "load", synthetic)
        return perform(tmp_path_factory.mktemp(request.param), request.param)


def test_run_reports_what_it_declares_and_its_model_loads(job: Run) -> None:
    assert {split_key(key)[0] for key in job.metrics} == set(MNIST.metrics)
    d, m = 4, 4
    assert job.metrics["parameters[autoencoder]"].value == 2 * H * W * d + d + H * W
    # K_0, b_0; K_1, b_1; w; A; b; c.
    assert job.metrics["parameters"].value == m * (d + 1) + m + m * m + m + m + (d + 1) ** 2 + d + 1 + 1
    assert len(job.curves["latent_std"].x) == d
    path = write(job.folder, Record(job.identity, "done", metrics=job.metrics))
    model, config = bench.load(path), settings(job.identity.variant)
    test = mnist.images(job, config).test
    with torch.no_grad():
        nll = -model.log_prob(test, in_test(config)).double().mean().item()
        error = (model.autoencoder(test) - test).square().mean().item()
    assert nll == pytest.approx(job.metrics["nll"].value, rel=1e-5)
    assert error == pytest.approx(job.metrics["reconstruction_error"].value, rel=1e-5)


def test_figures_are_drawn_from_the_record(job: Run) -> None:
    record = recorded(job)
    data = mnist.images(job, settings(job.identity.variant))
    grid = mosaic(record.array("interpolation"), 6)
    assert grid.shape == (6 * H, 6 * W)
    upper_right = data.corners[1].reshape(H, W).numpy()
    assert np.abs(grid[:H, -W:] - upper_right).max() <= 0.5 / 255 + 1e-6
    originals = mosaic(record.array("originals"), 8)
    assert np.abs(originals[:, W : 2 * W] - data.test[1].reshape(H, W).numpy()).max() <= 0.5 / 255 + 1e-6
    for name in ("samples", "reconstructions", "interpolation"):
        draw = resolve(MNIST.figures[name])
        figure = draw([record])
        assert len(figure.axes) == 1
        assert len(figure.axes[0].images) == 1
        assert draw([]) is None
    assert len(mnist_figures.interpolation([record]).axes[0].patches) == 4


def test_same_seed_same_result(tmp_path: Path) -> None:
    first, again, other = (perform(tmp_path / str(i), seed=seed) for i, seed in enumerate((0, 0, 1)))
    assert untimed(first) == untimed(again)
    assert np.array_equal(first.artifacts["samples"], again.artifacts["samples"])
    assert untimed(first) != untimed(other)


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
    expected = untimed(perform(tmp_path / "whole"))
    autoencoder = 4 * 3  # epochs of ceil(100 / 40) iterations
    first, second = (Interrupted(new_run(tmp_path).identity, tmp_path / "parts") for _ in range(2))
    first.left = autoencoder + 3
    with pytest.raises(KeyboardInterrupt):
        mnist.run(first, settings())
    second.left = 6 - 3  # were the autoencoder trained anew, that would not do
    mnist.run(second, settings())
    assert untimed(second) == expected
    assert second.resumed >= 1


# -- pictures -------------------------------------------------------------------------------------------------


def test_interpolation_is_bilinear_between_its_corners() -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 5.0]], dtype=torch.float64)
    grid = mnist.interpolated(corners, 5).reshape(5, 5, 2)
    assert torch.equal(grid[[0, 0, -1, -1], [0, -1, 0, -1]], corners)
    torch.testing.assert_close(grid[2, 2], corners.mean(0), rtol=0, atol=1e-15)
    torch.testing.assert_close(grid[0, 1], 0.75 * corners[0] + 0.25 * corners[1], rtol=0, atol=1e-15)
    torch.testing.assert_close(grid[3, 0], 0.25 * corners[0] + 0.75 * corners[2], rtol=0, atol=1e-15)


# -- declaration ----------------------------------------------------------------------------------------------


def test_published_schedules() -> None:
    config = MNIST.configure("standardised", "paper")
    flow, autoencoder = mnist.in_periods(config), mnist.autoencoder_settings(config, 63)
    rates = [flow.lr_at(i) for i in (0, 4999, 5000, 49_999)]
    assert rates == pytest.approx([0.008, 0.008, 0.008 / math.sqrt(10), 0.008 / 10**4.5])
    rates = [autoencoder.lr_at(63 * epoch - 1) for epoch in (150, 151, 600)]
    assert autoencoder.iterations == 600 * 63
    assert rates == pytest.approx([1e-3, 1e-4, 1e-6])
    assert mnist.precision(config) == torch.float64
