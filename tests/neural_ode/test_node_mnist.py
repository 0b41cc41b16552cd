"""The experiment `neural_ode.mnist`: its data, its loss, what it records, on planted images."""

from pathlib import Path

import pytest
import torch
from planted import image_set
from support import loaded, perform, untimed
from torch import Tensor

from bench.data.images import ImageSet
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.share import share
from bench.record import Record
from replications.flows.ode.solver import Solver
from replications.flows.training.clock import TrainingClock
from replications.neural_ode.experiments.mnist import run as mnist
from replications.neural_ode.experiments.mnist.declaration import EPOCH, MNIST
from replications.neural_ode.experiments.mnist.figures import training
from replications.neural_ode.experiments.mnist.measured import Evaluations
from replications.tasks.classification import Accuracy
from replications.tasks.splits import TrainSet

SMOKE = MNIST.configure("odenet", "smoke")


def planted(name: str, split: str) -> ImageSet:
    """Noise, the training's dark and the test's bright; 40 images and 1010."""
    plain = image_set(40 if split == "train" else 1010, 28, 0)
    low = 0 if split == "train" else 100
    generator = torch.Generator().manual_seed(low)
    raw = torch.randint(low, low + 150, plain.images.shape, generator=generator, dtype=torch.uint8)
    return ImageSet(raw, plain.labels, 10, plain.mean, plain.std, 255.0)


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for MNIST."""
    monkeypatch.setattr(mnist, "load", planted)


def new_run(folder: Path) -> Run:
    return Run(identify(MNIST, "odenet", "smoke", 0), folder)


def test_paper_tier_is_the_published_schedule() -> None:
    published = mnist.settings(MNIST.configure("odenet", "paper"))
    assert published.iterations == 160 * EPOCH
    assert published.milestones == (60 * EPOCH, 100 * EPOCH, 140 * EPOCH)
    assert (published.optimizer, published.momentum) == ("sgd", 0.9)
    rates = [published.lr_at(epoch * EPOCH) for epoch in (0, 59, 60, 100, 140, 159)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4])


# -- data and loss ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("images")
def test_test_images_are_those_of_the_test_split_every_so_many() -> None:
    train, test, white = mnist.images_of(SMOKE)
    assert (len(train), len(test), white) == (40, 3, 255.0)  # 0, 500 and 1000 of 1010
    assert train.points.max() < 150
    whole = planted("mnist", "test")
    assert torch.equal(test.points, whole.images[[0, 500, 1000]])
    assert test.labels is not None
    assert torch.equal(test.labels, whole.labels[[0, 500, 1000]])


def test_images_are_scaled_to_one_and_averaged_over_squares() -> None:
    raw = torch.tensor([[0, 200, 8, 8], [200, 200, 8, 8]], dtype=torch.uint8)[None, None]
    assert mnist.scaled(raw, 200.0, 2, "cpu").flatten().tolist() == pytest.approx([0.75, 0.04])
    assert mnist.scaled(raw, 200.0, 1, "cpu")[0, 0, 0].tolist() == pytest.approx([0.0, 1.0, 0.04, 0.04])


class Reader(torch.nn.Module):
    """Logits of the class that is written on an image, in ten times its value."""

    def forward(self, x: Tensor) -> Tensor:
        return 30 * torch.nn.functional.one_hot((10 * x.amax((1, 2, 3))).round().long(), 10).float()


def test_labels_go_with_their_images_into_the_loss(tmp_path: Path) -> None:
    labels = torch.arange(40) % 10
    written = labels[:, None, None, None].expand(40, 1, 28, 28).to(torch.uint8)

    def loss(labels: Tensor) -> float:
        train = TrainSet(written, labels)
        value = mnist.training_loss(
            new_run(tmp_path), SMOKE, Reader(), train, lambda raw: raw / 10, TrainingClock()
        )
        return max(value(i).item() for i in range(10))

    assert loss(labels) < 1e-6
    assert loss((labels + 1) % 10) > 20


def test_each_iteration_shifts_its_images_by_draws_of_its_own(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def prepare(raw: Tensor) -> Tensor:
        seen.append(raw)
        return raw / 1000

    config = MNIST.configure("odenet", "smoke", {"padding": 4})
    train = TrainSet(torch.full((4, 1, 28, 28), 255, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    loss = mnist.training_loss(new_run(tmp_path), config, Reader(), train, prepare, TrainingClock())
    for i in (0, 0, 1):
        loss(i)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert (seen[0] == 0).any()  # what was shifted in


# -- recording --------------------------------------------------------------------------------------------------


def test_evaluations_and_tests_get_their_names_and_protocols(tmp_path: Path) -> None:
    run, solver = new_run(tmp_path), Solver("dopri5", rtol=1e-3, atol=1e-3)
    mnist.record_evaluations(run, Evaluations(ratio=0.5, trend=2.0, n=7), solver)
    mnist.record_tested(run, SMOKE, Accuracy(1500, 2001, 26.0), 1e-5, "tight")
    mnist.record_tested(run, SMOKE, Accuracy(1500, 2001, 20.0), 1e-3)
    found = {key: (m.value, m.n) for key, m in run.metrics.items()}
    assert found == {
        "nfe_ratio": (0.5, 7),
        "trend_slope[nfe_forward/iteration]": (2.0, 7),
        "nfe_test[tight]": (26.0, 3),  # batches
        "test_error[tight]": (pytest.approx(100 * 501 / 2001), 2001),
        "nfe_test": (20.0, 3),
    }
    assert run.metrics["test_error[tight]"].se == pytest.approx(share(1500, 2001).percent[1])
    protocols = {
        key: run.metrics[key].protocol for key in ("nfe_test", "nfe_test[tight]", "test_error[tight]")
    }
    assert protocols == {
        "nfe_test": f"forward-pass/batch-1000/{solver.protocol}",
        "nfe_test[tight]": f"forward-pass/batch-1000/{Solver('dopri5', 1e-5, 1e-5).protocol}",
        "test_error[tight]": "test-error/mnist-test-every-500th/14x14/2-iterations/"
        + Solver("dopri5", 1e-5, 1e-5).protocol,
    }


def test_what_a_first_pass_allocates_and_keeps_is_no_part_of_the_memory(tmp_path: Path) -> None:
    run, kept, model = new_run(tmp_path), [], torch.nn.Linear(2, 3)

    def loss(iteration: int) -> Tensor:
        if not kept:
            kept.append(torch.zeros(100_000))
        return model.weight.sum()

    mnist.record_step(run, SMOKE, model, loss)
    assert run.metrics["peak_memory"].value < 1000
    assert run.metrics["parameters"].value == 9


# -- runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "load", planted)
        return {
            variant: perform(MNIST, variant, tmp_path_factory.mktemp(variant)) for variant in MNIST.variants
        }


def test_ode_networks_start_alike_and_their_gradients_are_as_exact_as_they_should_be(
    runs: dict[str, Run],
) -> None:
    solved = {variant for variant, run in runs.items() if "nfe_forward" in run.metrics}
    assert solved == {"rknet", "odenet", "odenet_checkpoint"}
    losses = {variant: run.curves["loss"].y[0] for variant, run in runs.items()}
    assert losses["odenet"] == pytest.approx(losses["rknet"], rel=1e-5)
    assert losses["odenet_checkpoint"] == pytest.approx(losses["rknet"], rel=1e-5)
    errors = {v: runs[v].metrics["gradient_error"].value for v in solved}
    assert errors["rknet"] == 0
    assert errors["odenet_checkpoint"] < 1e-4 < errors["odenet"]
    sizes = {v: run.metrics["parameters"].value for v, run in runs.items()}
    assert sizes == {"mlp": 238_510, "resnet": 576_778} | dict.fromkeys(solved, 208_266)


@pytest.mark.usefixtures("images")
def test_the_recorded_accuracy_is_the_models_on_the_test_images(runs: dict[str, Run]) -> None:
    _, test, white = mnist.images_of(SMOKE)
    for variant, pool in (("mlp", 1), ("odenet", 2)):
        model = loaded(runs[variant])
        assert model.training is False
        with torch.no_grad():
            right = model(mnist.scaled(test.points, white, pool, "cpu")).argmax(1) == test.labels
        measured = runs[variant].metrics["test_accuracy"]
        assert (measured.value, measured.n) == (pytest.approx(100 * right.double().mean().item()), 3)


@pytest.mark.usefixtures("images")
def test_a_run_repeats_for_a_seed_and_changes_with_it(runs: dict[str, Run], tmp_path: Path) -> None:
    assert untimed(runs["mlp"]) == untimed(perform(MNIST, "mlp", tmp_path))
    other = perform(MNIST, "mlp", tmp_path / "other", seed=1)
    assert runs["mlp"].curves["loss"].y != other.curves["loss"].y


def test_the_figure_shows_the_recorded_curves(runs: dict[str, Run]) -> None:
    records = [Record(run.identity, "done", metrics=run.metrics, curves=run.curves) for run in runs.values()]
    loss, forward, backward = training(records).axes
    drawn = {line.get_label(): tuple(line.get_ydata()) for line in backward.lines}
    solved = {"rknet", "odenet", "odenet_checkpoint"}
    assert drawn == {variant: runs[variant].curves["nfe_backward"].y for variant in solved}
    assert {line.get_label() for line in loss.lines} == set(runs)
    assert {tuple(line.get_ydata()) for line in forward.lines} == {
        runs[variant].curves["nfe_forward"].y for variant in solved
    }
    assert training(records[:2]) is None  # no evaluations


@pytest.mark.usefixtures("images")
def test_a_short_last_batch_weighs_as_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, sound = [], mnist.record_training

    def spied(*arguments: object, sizes: list[int]) -> None:
        seen.append(sizes)
        sound(*arguments, sizes=sizes)  # type: ignore[arg-type]

    monkeypatch.setattr(mnist, "record_training", spied)
    perform(MNIST, "mlp", tmp_path, batch=32)
    assert seen == [[32, 8]]
