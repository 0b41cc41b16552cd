"""The image experiments, on images that ship with scikit-learn, and on MNIST where it is at hand."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import recorded, sizes_seen

import bench
from bench.data import registry
from bench.data.images import load
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.record import Record, write
from replications.ffjord.method import build_images as build
from replications.ffjord.networks import CIFAR10
from replications.flows.density.integration import Integration
from replications.flows.ode.solve import Solver
from replications.flows.training.settings import Training
from replications.rnode.settings import SCRIPT
from replications.steer.experiments.images.declaration import SteerImageConfig
from replications.steer.experiments.images.run import run
from replications.steer.method import in_training, objective
from replications.tasks import figures
from replications.tasks.images import evaluation
from replications.tasks.images import figures as image_figures
from replications.tasks.images.declaration import images
from replications.tasks.images.evaluation import Pixels, in_test, pooled, record_trace_variance, sample

DIGITS: dict[str, Any] = {"data": "digits", "pool": 1}
EXPERIMENT = images(
    "test.images",
    "Images",
    "replications.steer.experiments.images.run:run",
    SteerImageConfig(),
    {
        "ffjord": DIGITS,
        "single_scale": {**DIGITS, "scales": 1},
        "rnode": {**DIGITS, **SCRIPT, "kinetic": 0.01, "jacobian": 0.01},
        "steer": {**DIGITS, "b": 0.75},
        "mirrored": {**DIGITS, "flip": True},
        "mnist": {"data": "mnist"},
        "cifar10": CIFAR10,
    },
)
TIMED = ("time", "overhead", "peak_memory")


def smoke(folder: Path, variant: str, seed: int = 0) -> Run:
    job = Run(identify(EXPERIMENT, variant, "smoke", seed), folder)
    run(job, EXPERIMENT.configure(variant, "smoke"))
    return job


@pytest.fixture(scope="module", params=["ffjord", "single_scale", "rnode", "steer", "mnist"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    if request.param == "mnist" and registry.get("mnist").locate() is None:
        pytest.skip("MNIST is not here")
    return smoke(tmp_path_factory.mktemp(request.param), request.param)


def new_run(variant: str = "ffjord", folder: Path = Path()) -> tuple[Run, SteerImageConfig]:
    return Run(identify(EXPERIMENT, variant, "smoke", 0), folder), EXPERIMENT.configure(variant, "smoke")


def dimension(job: Run) -> tuple[int, int]:
    """Return D and L of a smoke run."""
    return (14 * 14, 256) if job.identity.variant == "mnist" else (8 * 8, 17)


# -- runs -----------------------------------------------------------------------------------------------------


def test_run_reports_what_it_declares(job: Run) -> None:
    reported = {key.split("[")[0] for key in job.metrics}
    absent = set(EXPERIMENT.metrics) - reported
    assert reported <= set(EXPERIMENT.metrics)
    method = job.identity.variant
    # Nothing to compare plain FFJORD with; no end time where it is given.
    assert absent == {"end_time"} | (set() if method in ("rnode", "steer") else {"overhead"})


def test_bits_are_those_of_the_nll(job: Run) -> None:
    dim, levels = dimension(job)
    nll, bits = job.metrics["nll"], job.metrics["bits_per_dim"]
    assert bits.value == pytest.approx((nll.value / dim + math.log(levels)) / math.log(2), rel=1e-9)
    assert bits.se == pytest.approx(nll.se / dim / math.log(2), rel=1e-9)
    noise = "centres of cells" if job.identity.variant == "rnode" else "uniform noise"
    assert bits.protocol == nll.protocol
    assert f"-1/dopri5-1e-3/{noise}, K=1/" in bits.protocol


def test_curve_of_the_loss_is_in_bits(job: Run) -> None:
    dim, levels = dimension(job)
    curve, last = job.curves["loss"], job.metrics["train_loss"].value  # that of the last of two iterations
    assert len(curve.y) == 2
    assert curve.y[-1] == pytest.approx((last / dim + math.log(levels)) / math.log(2), rel=1e-6)


def test_published_sizes_are_recorded(job: Run) -> None:
    sizes = {key: m.value for key, m in job.metrics.items() if key.startswith("parameters[")}
    assert sizes == {
        "parameters[mnist 64-64-64]": 800_636,
        "parameters[cifar10 64-64-64]": 1_358_868,
        "parameters[imagenet64 64-64-64]": 1_996_116,
        "parameters[celeba_hq_256 64-64-64]": 4_609_236,
        "parameters[cifar10 64-64]": 833_812,
    }


def test_figures_are_drawn_from_the_record(job: Run) -> None:
    record = recorded(job)
    picture, kept = figures.mosaic(record.array("samples"), 4), record.array("samples")
    side = 14 if job.identity.variant == "mnist" else 8
    assert kept.shape == (16, 1, side, side)
    assert picture.shape == (4 * side, 4 * side, 1)
    assert picture[side : 2 * side, 2 * side : 3 * side, 0].tolist() == (kept[6, 0] / 255).tolist()
    white = 255 if side == 14 else 16
    shares = {round(255 * level / white) for level in range(white + 1)}
    assert set(kept.flatten().tolist()) <= shares  # integers 0..L-1, at their share of white
    assert len(image_figures.samples([record]).axes) == 1
    assert image_figures.training([record]).axes[0].get_ylabel() == "loss (bits/dim)"
    assert image_figures.samples([]) is image_figures.training([]) is None


def test_trained_model_loads(job: Run) -> None:
    path = write(job.folder, Record(job.identity, "done", metrics=job.metrics))
    config = EXPERIMENT.configure(job.identity.variant, "smoke")
    flow, data, integration = bench.load(path), Pixels(job, config), in_test(config)
    with torch.no_grad():
        found = -flow.log_prob(
            data.test().points, generator=job.torch_generator("test probes"), integration=integration
        )
    assert found.double().mean().item() == pytest.approx(job.metrics["nll"].value, rel=1e-6)


def test_same_seed_same_result(tmp_path: Path) -> None:
    first, again, other = (smoke(tmp_path / str(i), "mirrored", seed) for i, seed in enumerate((0, 0, 1)))
    for key in (k for k in first.metrics if not any(word in k for word in TIMED)):
        assert again.metrics[key] == first.metrics[key], key
    assert other.metrics["nll"] != first.metrics["nll"]


# -- parts ----------------------------------------------------------------------------------------------------


def test_loss_is_bits_and_penalties_up_to_scale_and_constant() -> None:
    job, config = new_run("rnode")
    flow, dim = build((1, 8, 8), (4,), blocks=1, alpha=config.alpha), 64
    x = Pixels(job, config).batch(0)
    loss = objective(flow, x, config, job.torch_generator("probes"))
    path = flow.path(x, generator=job.torch_generator("probes"), integration=in_training(config))
    nll = -(flow.prior.log_prob(path.z) + path.delta).mean()
    bits = (nll / dim + math.log(17)) / math.log(2)
    whole = bits + sum(0.01 * path.integrals[name].mean() for name in ("kinetic_half_mean", "jacobian_mean"))
    scaled = dim * math.log(2) * whole - dim * math.log(17)
    torch.testing.assert_close(loss, scaled, rtol=1e-5, atol=1e-4)
    assert (whole - bits).item() > 1e-4


def test_batches_are_pure_and_their_noise_is_fresh() -> None:
    job, config = new_run()
    first, again = (Pixels(job, config).batch(3) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (4, 1, 8, 8)
    data = Pixels(job, dataclasses.replace(config, batch=len(Pixels(job, config).train)))
    noises = [(17 * data.batch(i)).frac().flatten() for i in range(2)]
    # Two independent uniform numbers differ by 1/3 on average, the same but for rounding hardly ever.
    assert (noises[0] - noises[1]).abs().mean().item() == pytest.approx(1 / 3, abs=0.01)
    assert data.per_epoch == 1


class Begun(Exception):
    """A training that was to be watched only."""


def test_a_training_has_the_settings_of_its_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job, config = new_run(folder=tmp_path)
    config = dataclasses.replace(
        config, weight_decay=0.25, warmup=7, learning_rate=0.5, epochs=2, iterations=10**6
    )

    def begun(
        run: Run,
        flow: Any,
        method: Any,
        config: SteerImageConfig,
        batch: Any,
        settings: Training,
        sizes: list[int],
    ) -> None:
        assert sizes == Pixels(run, config).sizes
        assert settings == Training(config.iterations, 0.5, weight_decay=0.25, warmup=7)
        assert config.iterations == 2 * Pixels(run, config).per_epoch
        raise Begun

    monkeypatch.setattr(evaluation, "fit_by", begun)
    with pytest.raises(Begun):
        run(job, config)


def test_each_split_has_its_own_images() -> None:
    job, config = new_run()
    data = Pixels(job, config)
    train, test = load("digits", "train"), load("digits", "test")
    assert torch.equal(data.train.points, train.images)
    assert torch.equal(data.raw_test, test.images[: config.test_images])
    assert data.levels == 17
    cells = (17 * data.test().points).floor().clamp(0, 16)
    assert torch.equal(cells, test.images[: config.test_images].float())


def test_half_of_the_images_are_mirrored() -> None:
    job, config = new_run("mirrored")
    data = Pixels(job, dataclasses.replace(config, batch=1442))
    v = data._batches(0).float()
    found = (17 * data.batch(0)).floor().clamp(0, 16)
    kept = (found == v).flatten(1).all(1)
    assert torch.equal(found[~kept], v.flip(3)[~kept])
    assert 0.4 < kept.float().mean() < 0.6


def test_test_points_are_noisy_or_centres() -> None:
    job, config = new_run()
    noisy, centred = (Pixels(job, dataclasses.replace(config, test_noise=noise)) for noise in (True, False))
    assert torch.equal(noisy.test().points, noisy.test().points)
    torch.testing.assert_close(17 * centred.test().points - centred.raw_test, torch.full((6, 1, 8, 8), 0.5))
    assert (17 * noisy.test().points - noisy.raw_test).std() > 0.2


def test_the_noise_of_the_test_is_of_no_training_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    job, config = new_run()
    data, asked, original = Pixels(job, config), list[str](), job.torch_generator

    def generator(stream: str) -> torch.Generator:
        asked.append(stream)
        return original(stream)

    monkeypatch.setattr(job, "torch_generator", generator)
    data.batch(0)
    in_training = set(asked)
    asked.clear()
    data.test()
    assert asked
    assert not [stream for stream in asked if stream in in_training or "/" in stream]


def test_pictures_of_samples_are_the_levels_below(tmp_path: Path) -> None:
    """Of L = 17 levels u has floor(17 u), at most 16; level k is shown as 255 k / 16."""
    job, config = new_run(folder=tmp_path)
    pixels = Pixels(job, config)
    values = torch.tensor([0.0, 0.99 / 17, 1.01 / 17, 0.5, 1.0])

    class Fixed:
        def sample(self, n: int, generator: torch.Generator, integration: Integration) -> torch.Tensor:
            return values.repeat(n)[:n].reshape(n, 1, 1, 1)

    sample(job, Fixed(), Integration(), pixels)  # type: ignore[arg-type]
    shown = torch.from_numpy(job.artifacts["samples"]).flatten()[:5]
    assert shown.tolist() == [0, 0, 16, 8 * 255 / 16 // 1 + 1, 255]


def test_pooling_averages_and_rounds() -> None:
    raw = torch.tensor([[0, 1, 255, 255], [1, 1, 255, 254]], dtype=torch.uint8)[None, None]
    assert pooled(raw, 2).tolist() == [[[[1, 255]]]]
    assert pooled(raw, 1) is raw
    with pytest.raises(UserError, match="2x4 pixels can not be averaged over squares of 3"):
        pooled(raw, 3)


def test_trace_variance_is_hutchinsons_for_a_linear_flow(tmp_path: Path) -> None:
    # One affine layer, one block: delta = T tr J estimated by one probe; for Gaussian probes its variance is
    # 2 |A|_F^2 with A the symmetric part of J.
    job, _ = new_run("rnode", tmp_path)
    flow = build((1, 4, 4), (), blocks=1, learn_T=False)
    field, x = flow.flow.scales[0].before[0].field, torch.rand(2, 1, 4, 4, generator=job.torch_generator("x"))
    jacobian = torch.autograd.functional.jacobian(
        lambda y: field(torch.tensor(0.0), y), torch.zeros(1, 1, 4, 4)
    )
    symmetric = (jacobian.reshape(16, 16) + jacobian.reshape(16, 16).T) / 2
    integration = in_test(EXPERIMENT.configure("rnode", "smoke"))
    with torch.no_grad():
        record_trace_variance(job, flow, x, integration, 4000, 50)
    expected = 2 * symmetric.square().sum().item()
    found = {key: measured.value for key, measured in job.metrics.items()}
    assert found["trace_variance"] == pytest.approx(expected, rel=0.15)
    bits = found["trace_variance"] / (16 * math.log(2)) ** 2
    assert found["trace_variance[bits/dim]"] == pytest.approx(bits)
    assert found["trace_variance[bits/dim, test set]"] == pytest.approx(bits / 50)


def test_a_likelihood_is_timed_by_the_clock_of_its_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job, config = new_run("ffjord", tmp_path)
    times = iter([10.0, 17.5])
    monkeypatch.setattr(evaluation, "reader", lambda device: {job.device: times.__next__}[device])
    flow, data = build((1, 8, 8), (4,), blocks=1), Pixels(job, config)
    evaluation.likelihood(job, flow, data.test(), in_test(config), data.levels, config)
    assert job.metrics["loglik_time"].value == 7.5


# -- declaration ----------------------------------------------------------------------------------------------


def test_published_settings_are_ffjords_and_rnodes() -> None:
    ffjord, rnode = (EXPERIMENT.configure(variant, "paper") for variant in ("mnist", "rnode"))
    assert (ffjord.alpha, ffjord.learn_T, ffjord.test_noise, ffjord.epochs) == (1e-6, False, True, 1000)
    assert in_training(ffjord) == Integration(
        Solver("dopri5", 1e-5, 1e-5), in_test(ffjord).divergence, "adjoint"
    )
    assert in_training(rnode).protocol == "gaussian-1/rk4-4"
    assert in_test(rnode).protocol == "gaussian-1/dopri5-1e-5"
    assert (rnode.alpha, rnode.learn_T, rnode.test_noise, rnode.epochs) == (1e-5, False, False, 100)


def test_cifar_is_not_offered_at_tier_cpu() -> None:
    assert [EXPERIMENT.offers("cifar10", tier) for tier in ("smoke", "cpu", "gpu", "paper")] == [
        True,
        False,
        True,
        True,
    ]
    assert EXPERIMENT.offers("mnist", "cpu")


def test_a_short_last_batch_weighs_as_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, batch = sizes_seen(monkeypatch), EXPERIMENT.configure("ffjord", "smoke").batch
    smoke(tmp_path, "ffjord")
    rest = 1442 % batch
    assert rest > 0
    assert seen == [[batch] * (1442 // batch) + [rest]]
