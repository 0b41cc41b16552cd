import pytest
import torch
from torch.nn import functional

from replications.blog.experiments.adjoint_memory import run as adjoint_memory
from replications.blog.experiments.adjoint_memory.declaration import METHODS
from replications.blog.experiments.adjoint_memory.run import (
    Classifier,
    Extractor,
    Features,
    measure,
    pretrained_features,
    solver_of,
)

NAME = "blog.adjoint_memory"


def features(make_run, variant, seed=0):
    return pretrained_features(*make_run(NAME, variant, seed=seed))


def test_all_ways_of_a_seed_get_the_same_features_and_other_seeds_get_others(make_run):
    first = features(make_run, "digits_backprop")
    second = features(make_run, "digits_adjoint_adaptive")
    assert torch.equal(first.train, second.train)
    assert torch.equal(first.test, second.test)
    assert not torch.equal(first.train, features(make_run, "digits_backprop", seed=1).train)
    assert not first.train.requires_grad


def test_all_ways_start_from_one_classifier_and_agree_on_its_gradient(make_run):
    gradients = {}
    for method in METHODS:
        run, config = make_run(NAME, f"digits_{method}", tolerance=1e-8)
        model = Classifier(config, run.torch_generator("classifier")).double()
        x = torch.randn(12, config.features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        functional.cross_entropy(model(x), torch.arange(12) % 10).backward()
        gradients[method] = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(gradients["checkpoint_fixed"], gradients["backprop"], rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(
        gradients["checkpoint_adaptive"], gradients["adjoint_adaptive"], rtol=1e-4, atol=1e-7
    )
    assert not torch.equal(gradients["adjoint_fixed"], gradients["backprop"])


def test_velocity_field_has_five_linear_layers_and_100_steps(make_run):
    run, config = make_run(NAME, "backprop", tier="cpu")
    model = Classifier(config, run.torch_generator("classifier"))
    assert len(model.block.field.layers) == 5
    assert solver_of(config).steps == 100


@pytest.mark.parametrize("size", [8, 28, 32])
def test_extractor_fits_every_image_size(make_run, size):
    run, config = make_run(NAME, "digits_backprop")
    extractor = Extractor(1, size, config, run.torch_generator("extractor"))
    assert extractor(torch.zeros(3, 1, size, size)).shape == (3, 10)
    assert extractor.features(torch.zeros(3, 1, size, size)).shape == (3, config.features)


def test_memory_time_and_evaluations_of_every_way(finished):
    records = {method: finished[NAME, f"digits_{method}"] for method in METHODS}
    steps = records["backprop"].identity.config["steps"]
    assert records["backprop"].value("nfe_forward") == steps
    assert records["backprop"].value("nfe_backward") == 0
    assert records["adjoint_fixed"].value("nfe_backward") == steps
    assert records["checkpoint_fixed"].value("nfe_backward") == steps
    assert "overhead[memory/backprop]" not in records["backprop"].metrics
    for method, record in records.items():
        if method != "backprop":
            baseline = record.value("peak_memory") / (1 + record.value("overhead[memory/backprop]") / 100)
            assert baseline == pytest.approx(records["backprop"].value("peak_memory"), rel=1e-9)
            assert record.value("overhead[time/backprop]") > -100


@pytest.mark.parametrize("method", ["adjoint_fixed", "checkpoint_fixed"])
def test_memory_falls_against_backprop_with_many_steps(make_run, method):
    run, config = make_run(NAME, f"digits_{method}", steps=60, iterations=1, extractor_iterations=1)
    adjoint_memory.run(run, config)
    assert run.metrics["overhead[memory/backprop]"].value < -50


def test_what_a_first_pass_allocates_and_keeps_is_no_part_of_the_memory(make_run, monkeypatch):
    run, config = make_run(NAME, "digits_adjoint_fixed")
    model = Classifier(config, run.torch_generator("classifier"))
    x, labels = torch.zeros(config.batch, config.features), torch.zeros(config.batch, dtype=torch.long)
    kept, head = [], model.head.forward

    def keeping(z):
        if not kept:
            kept.append(torch.zeros(20_000_000))
        return head(z)

    monkeypatch.setattr(model.head, "forward", keeping)
    measure(run, config, model, Features(x, labels, x, labels))
    assert run.metrics["peak_memory"].value < 80_000_000
    assert run.metrics["nfe_forward"].value == config.steps


def test_a_short_last_batch_weighs_as_its_images(make_run, monkeypatch):
    """At rate zero the loss of each epoch is that of all images."""
    run, config = make_run(
        NAME, "digits_backprop", iterations=20, learning_rate=0.0, extractor_iterations=1, batch=150
    )
    sizes, sound = [], adjoint_memory.mean_over_points
    monkeypatch.setattr(adjoint_memory, "measure", lambda *_: None)
    monkeypatch.setattr(adjoint_memory, "mean_over_points", lambda v, n: sizes.append(n) or sound(v, n))
    adjoint_memory.run(run, config)
    whole = [150] * 9 + [92]  # 1442 images
    epoch = [whole[i % len(whole)] for i in range(20)]
    assert sizes == [epoch[-10:]]
    expected = sum(n * v for n, v in zip(epoch[-10:], run.curves["loss"].y[-10:])) / sum(epoch[-10:])
    assert run.metrics["train_loss"].value == pytest.approx(expected)
    assert run.metrics["train_loss"].protocol.endswith("/mean of the last 10, over points")
    assert run.metrics["test_accuracy"].se > 0
    assert run.metrics["test_accuracy[extractor]"].se > 0
