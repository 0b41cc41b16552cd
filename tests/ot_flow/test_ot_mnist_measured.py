"""What is measured of an autoencoder and its flow, on images made by hand."""

import math

import numpy as np
import pytest
import torch

from replications.ot_flow.experiments.mnist import measured
from replications.ot_flow.experiments.mnist.autoencoder import Autoencoder, build
from replications.ot_flow.method import rk4


def test_reconstruction_is_compared_with_pixels_in_0_to_1_whatever_was_trained() -> None:
    net = Autoencoder(3, 2, torch.Generator().manual_seed(0), shift=0.4, scale=0.2).double()
    with torch.no_grad():
        net.outward.weight.zero_()
        net.outward.bias.fill_(math.log(3.0))  # every output is 3/4
    x = torch.tensor([[0.75, 0.75, 0.75], [0.0, 0.75, 1.0], [0.25, 0.25, 0.25]], dtype=torch.float64)
    expected = torch.tensor([0.0, (0.75**2 + 0.25**2) / 3, 0.25], dtype=torch.float64)
    torch.testing.assert_close(measured.reconstruction_errors(net, x, batch=2), expected)


def test_interpolation_is_bilinear_between_its_corners() -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 5.0]], dtype=torch.float64)
    grid = measured.interpolated(corners, 5).reshape(5, 5, 2)
    assert torch.equal(grid[[0, 0, -1, -1], [0, -1, 0, -1]], corners)
    torch.testing.assert_close(grid[2, 2], corners.mean(0), rtol=0, atol=1e-15)
    torch.testing.assert_close(grid[0, 1], 0.75 * corners[0] + 0.25 * corners[1], rtol=0, atol=1e-15)
    torch.testing.assert_close(grid[3, 0], 0.25 * corners[0] + 0.75 * corners[2], rtol=0, atol=1e-15)


def test_interpolated_images_are_decoded_between_corners_as_they_are() -> None:
    model = build(6, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    corners = torch.rand(4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    grid = measured.interpolation(model, corners, 3, rk4(4)).reshape(3, 3, 6)
    assert torch.equal(grid[[0, 0, 2, 2], [0, 2, 0, 2]], corners)
    with torch.no_grad():
        z = model.encode(corners, rk4(4))
        middle = model.decode(z.mean(0, keepdim=True), rk4(4))[0]
        above = model.decode((z[:1] + z[1:2]) / 2, rk4(4))[0]
    torch.testing.assert_close(grid[1, 1], middle)
    torch.testing.assert_close(grid[0, 1], above)


def test_the_kernel_is_as_wide_as_the_median_distance_of_the_test_points() -> None:
    draw = torch.Generator().manual_seed(0)
    samples, test = (torch.randn(n, 2, generator=draw, dtype=torch.float64) for n in (5, 9))
    y = test[:5].numpy()
    apart = [np.linalg.norm(y[i] - y[j]) for i in range(5) for j in range(i)]
    width = 2 * float(np.median(apart)) ** 2

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.exp(-(a - b).square().sum().item() / width)

    x, z = samples, test[:5]
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    expected = sum(k(x[i], x[j]) + k(z[i], z[j]) - k(x[i], z[j]) - k(x[j], z[i]) for i, j in pairs) / 20
    value, se = measured.median_mmd(samples, test)
    assert value == pytest.approx(expected)
    assert se > 0
