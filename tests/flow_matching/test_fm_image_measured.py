"""Samples, scores and likelihood of image flows against closed forms."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_images_fm import EXTRACTOR, needs_fidelity, new_run, small, tiny_extractor
from torch import Tensor, nn

from bench.metrics.share import share
from replications.flow_matching.experiments.images import measured
from replications.flow_matching.experiments.images.measured import (
    Bits,
    Judge,
    bits,
    draw_images,
    equal_steps,
)
from replications.flow_matching.model import flow_of, velocity_of
from replications.flows.density.divergence import Divergence
from replications.flows.density.images import UnitCubeFlow, dequantise
from replications.flows.density.integration import Integration
from replications.flows.density.priors import ShapedNormal
from replications.flows.ode.solver import Solver
from replications.tasks.splits import TestSet, TrainSet

CLOCK = itertools.count(0.0, 0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(flow: UnitCubeFlow, labels: Tensor, integration: Integration, **more: Any) -> measured.Drawn:
    settings: dict[str, Any] = {"generator": generator(3), "levels": 256, "batch": 70} | more
    return draw_images(flow, labels, integration, clock=lambda: next(CLOCK), **settings)


# -- samples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun2"])
def test_equal_steps_make_as_many_evaluations_as_asked_for(tmp_path: Path, method: str) -> None:
    flow = small(new_run(tmp_path)[1])
    assert draw(flow, torch.zeros(3, dtype=torch.int64), equal_steps(method, 8)).nfe == 8


class Gliding(nn.Module):
    """v = c + 0 x for images: y1 = y0 + c."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.c + 0 * x


def gliding(c: float) -> UnitCubeFlow:
    return UnitCubeFlow(flow_of(Gliding(c), ShapedNormal((1, 2, 2))), alpha=None)


def test_samples_are_floored_to_levels_cut_and_scaled_to_white() -> None:
    """x = (y + 1) / 2 of y = z + c; v = floor(L x) in 0..L-1; then 255 v / (L - 1)."""
    found = draw(gliding(0.2), torch.zeros(50, dtype=torch.int64), equal_steps("euler", 1), levels=5)
    z = torch.randn(50, 4, generator=generator(3)).reshape(50, 1, 2, 2)
    v = (5 * (z + 1.2) / 2).floor().clamp(0, 4)
    assert found.images.dtype == torch.uint8
    assert torch.equal(found.images, (v * 255 / 4).round().byte())
    assert set(found.images.unique().tolist()) == {0, 64, 128, 191, 255}


def test_evaluations_are_the_mean_over_images_and_seconds_those_of_all() -> None:
    """Three images by threes and one left over: an adaptive solver may need other numbers for each batch."""
    flow, seen = gliding(0.5), []
    sample = flow.sample

    def counted(n: int, draws: torch.Generator, integration: Integration) -> Tensor:
        steps = 2 if n == 3 else 6
        seen.append(n)
        return sample(n, draws, equal_steps("euler", steps))

    flow.sample = counted  # type: ignore[method-assign]
    found = draw(flow, torch.zeros(7, dtype=torch.int64), equal_steps("euler", 1), batch=3)
    assert seen == [3, 3, 1]
    assert found.nfe == pytest.approx((3 * 2 + 3 * 2 + 1 * 6) / 7)
    assert found.seconds == 0.5
    assert len(found.images) == 7


def test_guidance_and_classes_reach_the_sampler(tmp_path: Path) -> None:
    # v = embedding of the class, a constant image: a step of Euler from t = 0 to 1 ends at x0 + v_w.
    flow = small(new_run(tmp_path, "class")[1])
    velocity_of(flow).forward = lambda t, x, labels: (labels.float() / 40)[:, None, None, None].expand_as(x)
    one = equal_steps("euler", 1)
    ends = {w: draw(flow, torch.tensor([0, 8]), one, w=w).images for w in (0.0, 1.0)}
    null = draw(flow, torch.tensor([10, 10]), one, w=0.0).images
    inside = [(ends[0.0] != edge) & (ends[1.0] != edge) & (null != edge) for edge in (0, 255)]
    change = (ends[1.0].float() - ends[0.0].float()) / 128  # of y = 2x - 1
    for place, label in enumerate((0, 8)):
        seen = (inside[0] & inside[1])[place]
        # (1 + w) v_c - w v_null = v_c + w (v_c - v_null), with v_null = 10 / 40
        assert seen.sum() > 20
        torch.testing.assert_close(
            change[place][seen], torch.full((int(seen.sum()),), (label - 10) / 40), rtol=0, atol=0.02
        )


# -- scores -------------------------------------------------------------------------------------------------------


def grey(n: int, low: int, high: int, seed: int = 0) -> Tensor:
    """Return images of some levels, and one black and one white pixel."""
    x = torch.randint(low, high, (n, 1, 8, 8), generator=generator(seed), dtype=torch.uint8)
    x[0, 0, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)
    return x


def judge(reference: Any) -> Judge:
    return Judge(reference, "made-train", EXTRACTOR, lambda: np.random.default_rng(0))


@pytest.fixture
def brightness(tmp_path: Path) -> Any:
    with tiny_extractor(tmp_path / "cache"):
        yield


@pytest.mark.usefixtures("brightness")
def test_only_training_images_judge() -> None:
    for part in (TestSet(grey(200, 0, 9)), grey(200, 0, 9)):
        with pytest.raises(TypeError, match="takes a TrainSet"):
            judge(part)


@needs_fidelity
@pytest.mark.usefixtures("brightness")
def test_the_fid_is_that_of_the_extractors_features() -> None:
    x, y = grey(140, 20, 200), grey(200, 0, 100, seed=1)
    features = [
        torch.nn.functional.adaptive_avg_pool2d(images.double() / 255, 2).flatten(1).numpy()
        for images in (x, y)
    ]
    mu, sigma = zip(*((f.mean(0), np.cov(f.T)) for f in features))
    root = np.linalg.eigvals(sigma[0] @ sigma[1])
    expected = (
        ((mu[0] - mu[1]) ** 2).sum() + np.trace(sigma[0] + sigma[1]) - 2 * np.sqrt(root.real.clip(0)).sum()
    )
    found = judge(TrainSet(y)).fid(x)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.n == 140
    assert found.protocol == f"fid/{EXTRACTOR}/made-train-200/140/uint8"


@needs_fidelity
@pytest.mark.usefixtures("brightness")
def test_the_fid_alone_is_that_among_all_scores() -> None:
    reference = TrainSet(grey(200, 0, 100, seed=1))
    assert judge(reference).fid(grey(140, 0, 99)) == judge(reference).scores(grey(140, 0, 99))["fid"]


@needs_fidelity
@pytest.mark.usefixtures("brightness")
def test_agreement_is_the_share_of_the_classifiers_hits() -> None:
    x = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    x[:2, :, :, :4] = 200
    x[2:, :, :, 4:] = 200
    score = judge(TrainSet(x)).agreement(x, torch.tensor([1, 0, 0, 0]))
    assert score.value == 75
    # Three kinds of images with their labels, of which one is there twice.
    assert score.se == pytest.approx(share(3, 4, 16 / (1 + 1 + 4)).percent[1])
    assert (score.n, score.protocol) == (4, f"class_agreement/{EXTRACTOR}/4")


# -- likelihood ---------------------------------------------------------------------------------------------------


def test_draws_of_an_image_are_averaged_as_densities() -> None:
    log_p = torch.tensor([[0.0, 1.0], [math.log(3.0), 1.0], [50.0, 50.0]], dtype=torch.float64)
    found = Bits(log_p, dim=4, levels=8, nfe=0, solves=3, seconds=0)
    first, second = found.of(1), found.of(2)
    torch.testing.assert_close(first, (math.log(8) - log_p[0] / 4) / math.log(2))
    mean = torch.tensor([math.log(2.0), 1.0], dtype=torch.float64)  # of 1 and 3; of e and e
    torch.testing.assert_close(second, (math.log(8) - mean / 4) / math.log(2))


def test_likelihood_of_a_translation_is_its_closed_form() -> None:
    """y = 2x - 1 of the dequantised image, z = y - c: log p(x) = log N(z) + D log 2, one u and one probe a draw."""
    flow, levels = gliding(0.3).double(), 5
    v = torch.randint(levels, (7, 1, 2, 2), generator=generator(1)).double()
    integration = Integration(Solver("rk4", steps=3), Divergence("rademacher"))
    clock = itertools.count(0.0, 2.0)
    found = bits(flow, v, levels, 2, integration, generator(2), lambda: next(clock), batch=3)
    draws, expected = generator(2), []
    for _ in range(2):
        parts = []
        for part in v.split(3):
            y = 2 * dequantise(part, levels, draws).double() - 1
            integration.divergence.draw(y, draws)
            z = y - 0.3
            parts.append(-0.5 * z.square().sum((1, 2, 3)) - 2 * math.log(2 * math.pi) + 4 * math.log(2))
        expected.append(torch.cat(parts))
    torch.testing.assert_close(found.log_prob, torch.stack(expected), rtol=1e-6, atol=1e-6)
    assert (found.dim, found.levels, found.solves) == (4, 5, 6)
    assert found.nfe == 4 * 3  # in each of three batches, twice
    assert found.seconds == 2.0
