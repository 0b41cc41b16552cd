"""Images on the wrong scale: each kind of numbers gets its levels, or one error that names the fault and the mend."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.metrics.fidelity import quality as q
from bench.metrics.fidelity.extractors import get
from bench.metrics.fidelity.features import compatible, extract, shrunk
from bench.metrics.fidelity.levels import check_alike, check_scale, to_uint8

needs_fidelity = pytest.mark.skipif(
    find_spec("torch_fidelity") is None or find_spec("torchvision") is None,
    reason="torch-fidelity is not installed: pip install torch-fidelity torchvision",
)
CNN = "mnist-cnn-v1"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def strokes(n: int = 200, seed: int = 0, side: int = 28) -> np.ndarray:
    """Return images like digits: a soft bright spot on black, levels 0..255, uint8 `(n, 1, side, side)`."""
    draws = rng(seed)
    y, x = np.mgrid[:side, :side] / side
    place, width = draws.uniform(0.3, 0.7, (n, 2, 1, 1)), draws.uniform(0.05, 0.15, (n, 1, 1))
    spot = np.exp(-((x - place[:, 0]) ** 2 + (y - place[:, 1]) ** 2) / (2 * width**2))
    return np.round(255 * spot / spot.max((1, 2), keepdims=True)).astype(np.uint8)[:, None]


GREY = strokes()
UNIT = GREY / 255


@pytest.mark.parametrize(
    ("numbers", "black", "white"),
    [
        (UNIT, 0, 1),
        (UNIT.astype(np.float32), 0, 1),
        (2 * UNIT - 1, -1, 1),
        ((UNIT - 0.1307) / 0.3081, -0.1307 / 0.3081, (1 - 0.1307) / 0.3081),
        (255 * UNIT, 0, 255),
        (GREY, 0, 255),
        (GREY.astype(np.int64), 0, 255),
        (1 - UNIT, 1, 0),
        (torch.from_numpy(GREY).double() / 255, 0, 1),
    ],
    ids=["0..1", "float32", "-1..1", "normalised", "0..255", "uint8", "int64", "negative", "tensor"],
)
def test_each_declared_range_gives_the_same_levels(numbers, black, white):
    assert np.array_equal(to_uint8(numbers, black, white).numpy(), GREY)


def test_levels_are_rounded():
    x = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0])
    assert to_uint8(x, 0, 1).tolist() == [0, 0, 1, 128, 255]
    assert to_uint8(torch.tensor([True, False]), 0, 1).tolist() == [255, 0]


@pytest.mark.parametrize(
    ("numbers", "black", "white", "fault"),
    [
        (2 * UNIT - 1, 0, 1, "values from -1 to 1, outside of black 0 and white 1: declare the range"),
        (255 * UNIT, 0, 1, "values from 0 to 255, outside of black 0 and white 1"),
        ((UNIT - 0.1307) / 0.3081, 0, 1, "outside of black 0 and white 1"),
        (np.array([0, 256]), 0, 255, "values from 0 to 256"),
        (np.array([-1, 255]), 0, 255, "values from -1 to 255"),
        (np.array([0.0, math.nan]), 0, 1, "not finite"),
        (np.array([0.0, math.inf]), 0, 1, "not finite"),
        (UNIT, 1, 1, "real numbers and a range"),
        (UNIT + 0j, 0, 1, "real numbers and a range"),
    ],
)
def test_numbers_outside_the_declared_range_are_refused(numbers, black, white, fault):
    with pytest.raises(UserError, match=fault) as error:
        to_uint8(numbers, black, white)
    assert "\n" not in str(error.value)


WRONG = {
    "0..1 cast": (UNIT.astype(np.uint8), r"levels from 0 to 1 only: .* to_uint8"),
    "binary, not scaled": ((GREY > 99).astype(np.uint8), "levels from 0 to 1 only"),
    "0..16": ((GREY // 16).astype(np.uint8), "levels from 0 to 15 only"),
    "half bright": (GREY // 2, "levels from 0 to 127 only"),
    "0..1 taken for -1..1": (to_uint8(UNIT, -1, 1).numpy(), "levels from 128 to 255 only"),
    "black": (0 * GREY, "levels from 0 to 0 only"),
    "one grey": (np.full_like(GREY, 77), "levels from 77 to 77 only"),
    "floats 0..1": (UNIT, "takes uint8, but the .* is float64: turn it into levels by to_uint8"),
    "int64": (GREY.astype(np.int64), "takes uint8, but the .* is int64: .* to_uint8"),
    "bool": (GREY > 99, "takes uint8, but the .* is bool"),
    "channels last": (GREY.transpose(0, 2, 3, 1), r"last axis, so move them by permute\(0, 3, 1, 2\)"),
    "three channels": (GREY.repeat(3, 1), "give 1 channels, or take an extractor for 3"),
    "no channel": (GREY[:, 0], "give the axes image, channel, row, column"),
    "no pixels": (GREY[:, :, :, :0], "is empty, its shape is"),
    "no images": (GREY[:0], "is empty|too few"),
}
ALONE = {
    "one image": (GREY[:1], "too few: give at least 100"),
    "inverted": (255 - GREY, "look like the reference's negative .*: .* 255 - x inverts"),
    "binarised": (
        255 * (GREY > 99).astype(np.uint8),
        "2 distinct levels and the reference [0-9]+: round both",
    ),
    "17 levels": ((GREY // 16 * 17).astype(np.uint8), "16 distinct levels and the reference"),
    "another size": (strokes(side=14), r"shapes \(200, 1, 14, 14\) and \(200, 1, 28, 28\): bring both"),
}


@needs_fidelity
@pytest.mark.parametrize("entry", [q.quality, q.fid_alone], ids=["quality", "fid"])
@pytest.mark.parametrize("case", [*WRONG, *ALONE])
def test_every_score_refuses_a_faulty_sample_set(folders, entry, case):
    wrong, fault = (WRONG | ALONE)[case]
    with pytest.raises(UserError, match=fault) as error:
        entry(wrong, strokes(seed=1), CNN, "strokes", rng())
    assert "\n" not in str(error.value)


@needs_fidelity
@pytest.mark.parametrize("case", [*WRONG, "one image", "inverted", "another size"])
def test_every_score_refuses_a_faulty_reference(folders, case):
    wrong, fault = (WRONG | ALONE)[case]
    if case == "another size":
        fault = r"shapes \(200, 1, 28, 28\) and \(200, 1, 14, 14\)"
    with pytest.raises(UserError, match=fault):
        q.quality(GREY, wrong, CNN, "strokes", rng())


@pytest.mark.parametrize("case", WRONG)
def test_features_alone_refuse_what_one_set_shows(folders, case):
    wrong, fault = WRONG[case]
    with pytest.raises(UserError, match=fault):
        extract(wrong, get(CNN))


def test_binarised_sets_and_coarse_sets_go_with_their_like():
    binary = [255 * (strokes(seed=seed) > 99).astype(np.uint8) for seed in (0, 1)]
    coarse = [(strokes(seed=seed) // 16 * 17).astype(np.uint8) for seed in (0, 1)]
    for x, y in (binary, coarse, (GREY, strokes(seed=1)), (255 - GREY, 255 - strokes(seed=1))):
        compatible(x, y, get(CNN))


def test_a_bad_model_is_scored_and_not_refused():
    noise = rng(1).normal(127, 90, GREY.shape).clip(0, 255).astype(np.uint8)  # as bright as dark
    compatible(noise, GREY, get(CNN))
    compatible(np.roll(GREY, 7, axis=3) // 2 * 2, GREY, get(CNN))
    half = GREY.copy()
    half[::2] = 255 - half[::2]
    compatible(half, GREY, get(CNN))


def test_a_negative_of_images_as_bright_as_dark_can_not_be_seen():
    symmetric = rng(2).integers(256, size=GREY.shape).astype(np.uint8)
    check_alike(255 - symmetric, symmetric)  # the module says so


def test_a_set_without_pixels_has_no_scale():
    with pytest.raises(UserError, match="the reference has no pixels"):
        check_scale(np.zeros((3, 1, 0, 2), np.uint8), "reference")
    with pytest.raises(UserError, match="levels from 9 to 9 only"):
        check_scale(np.full((1, 1, 1, 1), 9, np.uint8), "reference")


def test_a_scale_is_judged_by_its_ends():
    check_scale(np.array([100, 228], np.uint8), "set")
    with pytest.raises(UserError, match="the set has levels from 100 to 227 only"):
        check_scale(np.array([100, 227], np.uint8), "set")


def test_large_images_are_shrunk_without_aliasing_and_small_ones_left_alone():
    extractor = get(CNN)
    stripes = np.zeros((100, 1, 84, 84), np.uint8)
    stripes[:, :, :, ::2] = 255  # one pixel wide: the mean of neighbours is grey, every third pixel is not
    small = shrunk(stripes, extractor)
    assert small.shape == (100, 1, 28, 28)
    inner = small[:, :, :, 2:-2].astype(float)
    assert abs(inner - 127.5).max() < 16
    assert shrunk(GREY, extractor) is GREY
    tiny = strokes(side=8)
    assert shrunk(tiny, extractor) is tiny
    flat = np.full((100, 1, 40, 30), 200, np.uint8)
    assert (shrunk(flat, extractor) == 200).all()


@needs_fidelity
def test_features_of_large_images_are_those_of_the_shrunk_ones_and_the_protocol_says_so(folders):
    large, reference = strokes(side=63), strokes(seed=1, side=63)
    extractor = get(CNN)
    found = extract(large, extractor)
    np.testing.assert_array_equal(found.features, extract(shrunk(large, extractor), extractor).features)
    scores = q.quality(large, reference, CNN, "strokes", rng())
    assert scores["fid"].protocol == "fid/mnist-cnn-v1/strokes-200/200/uint8/antialiased to 28"
    assert scores["kid"].protocol.startswith("kid/mnist-cnn-v1/strokes-200/200/uint8/antialiased to 28/")
    alone = q.fid_alone(large, reference, CNN, "strokes", rng())
    assert alone == scores["fid"]
    same = q.quality(GREY, strokes(seed=1), CNN, "strokes", rng())
    assert same["fid"].protocol == "fid/mnist-cnn-v1/strokes-200/200/uint8"
    assert scores["fid"].value == pytest.approx(same["fid"].value, abs=0.3 * same["fid"].value + 0.3)


def test_the_side_of_each_network_is_that_of_its_own_resizing():
    from bench.metrics.fidelity import mnist_cnn

    assert get(CNN).side == mnist_cnn.SIDE
    assert (get("inception-v3-compat").side, get("points-v1").side) == (299, 0)
