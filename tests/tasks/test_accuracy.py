"""Accuracy, its error and its evaluations, on a classifier that is known."""

from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import Identity
from bench.metrics.share import share
from replications.flows.ode.counter import Counter
from replications.tasks.classification import Accuracy, accuracy, record_accuracy, record_share
from replications.tasks.splits import TestSet, TrainSet

LABELS = torch.tensor([0, 1, 1, 0, 1])


def test_accuracy_is_the_share_of_all_images_whatever_the_batches() -> None:
    counter = Counter()
    counter.count(99)  # from before: not part of the test

    def model(x: torch.Tensor) -> torch.Tensor:
        counter.count(len(x))
        return torch.stack((1 - x[:, 0], x[:, 0]), 1)  # class 1 where the first number is above a half

    x = torch.tensor([[0.0], [2.0], [0.0], [0.0], [2.0]])
    for batch in (1, 2, 5):
        found = accuracy(model, TestSet(x, LABELS), lambda x: x / 2, counter, batch)
        assert (found.right, found.n) == (4, 5)
        sizes = [min(batch, 5 - start) for start in range(0, 5, batch)]
        assert found.nfe == sum(n * n for n in sizes) / 5  # each image has the evaluations of its batch
    assert (found.percent, found.error) == (80.0, 20.0)
    assert found.effective == pytest.approx(
        25 / (4 + 1 + 2**2)
    )  # two images twice with their label, one alone
    assert found.se == pytest.approx(share(4, 5, found.effective).percent[1])
    with pytest.raises(TypeError, match="takes a TestSet"):
        accuracy(model, TrainSet(x, LABELS))  # type: ignore[arg-type]


def test_it_is_recorded_with_its_error(tmp_path: Path) -> None:
    run = Run(Identity("test.classification", "only", "smoke", 0, 1, {}, {}), tmp_path)
    record_accuracy(run, Accuracy(3, 4, 8.0), "p", "tight")
    assert {k: (m.value, m.n, m.protocol) for k, m in run.metrics.items()} == {
        "test_accuracy[tight]": (75.0, 4, "p"),
        "test_error[tight]": (25.0, 4, "p"),
    }
    assert run.metrics["test_error[tight]"].se == pytest.approx(share(3, 4).percent[1])


def test_a_classifier_without_a_fault_on_few_images_has_an_error(tmp_path: Path) -> None:
    run = Run(Identity("test.classification", "only", "smoke", 0, 1, {}, {}), tmp_path)
    points, labels = torch.arange(6.0)[:, None], torch.zeros(6, dtype=torch.long)
    record_share(run, "test_accuracy", labels, labels, points, "p")
    found = run.metrics["test_accuracy"]
    assert (found.value, found.n) == (100.0, 6)
    assert found.se == pytest.approx(100 * (1 - 0.025 ** (1 / 6)) / 1.959964, rel=1e-6)  # (1 - p)^6 = 2.5 %
    record_share(run, "test_accuracy[copies]", labels, labels, torch.zeros(6, 1), "p")
    copies = run.metrics["test_accuracy[copies]"].se
    assert copies is not None
    assert copies == pytest.approx(100 * 0.975 / 1.959964, rel=1e-6)  # of one image: 2.5 % to 100 %
