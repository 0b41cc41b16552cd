import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import dblquad

from bench.data import energies2d
from bench.errors import UserError


def points(n: int = 200) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-6, 6, (n, 2))


@pytest.mark.parametrize("name", energies2d.names())
def test_both_libraries_give_the_same_and_torch_a_gradient(name: str) -> None:
    z = points()
    x = torch.tensor(z, requires_grad=True)
    found = energies2d.energy(name, x, torch)
    np.testing.assert_allclose(found.detach().numpy(), energies2d.energy(name, z), rtol=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), x)
    step = 1e-6 * np.array([0.6, -0.8])
    difference = energies2d.energy(name, z + step) - energies2d.energy(name, z - step)
    np.testing.assert_allclose(slope.numpy() @ step * 2, difference, rtol=1e-5, atol=1e-9)


def test_partition_functions() -> None:
    """Over z_2 two of them are Gaussian integrals, which leave 8 + 0.4 sqrt(2 pi) over z_1; the other in polar form."""
    gauss = np.sqrt(2 * np.pi)
    across = 8 + 0.4 * gauss
    assert energies2d.log_partition("energy2") == pytest.approx(np.log(0.4 * gauss * across), abs=1e-10)
    assert energies2d.log_partition("energy3") == pytest.approx(np.log(2 * 0.35 * gauss * across), abs=1e-10)

    def density(r: float, angle: float) -> float:
        x = r * np.cos(angle)
        sides = np.exp(-(((x - 2) / 0.6) ** 2) / 2) + np.exp(-(((x + 2) / 0.6) ** 2) / 2)
        return r * np.exp(-(((r - 2) / 0.4) ** 2) / 2) * sides

    z = dblquad(density, 0, 2 * np.pi, 0, 8, epsabs=1e-9)[0]
    assert energies2d.log_partition("energy1") == pytest.approx(np.log(z), abs=1e-8)


def test_where_the_densities_are_highest() -> None:
    def at(name: str, *z: float) -> float:
        return float(energies2d.energy(name, np.array(z)))

    assert at("energy1", 2, 0) == pytest.approx(-np.log(1 + np.exp(-((4 / 0.6) ** 2) / 2)))
    assert at("energy1", 2, 0) == at("energy1", -2, 0) < at("energy1", 0, 2) - 4
    assert at("energy2", 1, 1) == at("energy2", -1, -1) == 0
    assert at("energy2", 1, 1.4) == pytest.approx(0.5)
    # the second branch of energy3 dips by 3 at z_1 = 1, and joins the first far from there
    assert at("energy3", 1, 1) == pytest.approx(at("energy3", 1, -2), abs=1e-12)
    assert at("energy3", 1, -0.5) > 8
    assert at("energy3", -3, 1) == pytest.approx(-np.log(2), abs=1e-6)


def test_only_the_wall_confines_the_waves() -> None:
    inside, outside = (
        np.array([[x, np.sin(np.pi * x / 2)] for x in xs]) for xs in ((-4, 0, 3.9), (4.4, -4.8))
    )
    np.testing.assert_allclose(energies2d.energy("energy2", inside), 0, atol=1e-12)
    np.testing.assert_allclose(energies2d.energy("energy2", outside), [0.5, 2.0], rtol=1e-9)


def test_an_unknown_energy_is_refused() -> None:
    with pytest.raises(UserError, match="energy1, energy2, energy3"):
        energies2d.energy("energy9", points())
