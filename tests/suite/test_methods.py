"""The suite's methods: one network, one number of parameters, the losses of their papers."""

import pytest
import torch

from bench.errors import UserError
from replications.suite.methods import BUILDERS, Model, build, parameters, potential_width
from replications.suite.settings import METHODS


def made(method: str, dim: int = 2, width: int = 16, strength: float = 0.1, seed: int = 0) -> Model:
    return build(method, dim, width, strength, torch.Generator().manual_seed(seed))


def count(model: Model) -> int:
    return sum(p.numel() for p in model.parameters())


def test_there_is_a_builder_and_as_many_settings_for_each_method() -> None:
    assert list(BUILDERS) == list(METHODS)
    assert {len(settings) for settings in METHODS.values()} == {4}


@pytest.mark.parametrize(("dim", "width"), [(2, 64), (8, 64), (32, 64), (43, 128), (63, 128)])
@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_as_many_within_five_percent(method: str, dim: int, width: int) -> None:
    assert count(made(method, dim, width)) == pytest.approx(parameters(dim, width), rel=0.05)


def test_the_potentials_width_is_the_nearest() -> None:
    width = potential_width(2, parameters(2, 64))
    near = [abs(_potential(w) - parameters(2, 64)) for w in (width - 1, width, width + 1)]
    assert near[1] == min(near)


def _potential(width: int) -> int:
    from replications.ot_flow.potential import Potential

    return sum(p.numel() for p in Potential(2, width, 2, torch.Generator()).parameters())


def test_methods_of_one_network_start_from_the_same_weights() -> None:
    states = [torch.nn.utils.parameters_to_vector(made(m).parameters()) for m in METHODS if m != "ot_flow"]
    assert all(torch.equal(states[0], other) for other in states[1:])


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_a_loss_a_density_and_samples(method: str) -> None:
    model, x = made(method), torch.randn(12, 2, generator=torch.Generator().manual_seed(1))
    loss = model.loss(x, torch.Generator().manual_seed(2))
    loss.backward()
    again = model.loss(x, torch.Generator().manual_seed(2))
    assert all(
        p.grad is not None for p in model.parameters() if p.requires_grad and p.numel() > 1 and p.ndim > 1
    )
    assert torch.equal(loss, again)
    with torch.no_grad():
        assert model.log_prob(x).shape == (12,)
    assert model.sample(5, torch.Generator().manual_seed(3)).shape == (5, 2)


def test_cnfs_loss_is_the_exact_nll_and_ffjords_is_not() -> None:
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    exact, estimated = made("cnf"), made("ffjord")
    nll = -exact.log_prob(x).mean()
    assert exact.loss(x, torch.Generator()).item() == pytest.approx(nll.item(), abs=1e-5)
    draws = [estimated.loss(x, torch.Generator().manual_seed(seed)).item() for seed in range(2)]
    assert draws[0] != draws[1]


def test_the_strength_is_that_of_what_the_method_adds() -> None:
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))

    def loss(method: str, strength: float) -> float:
        return made(method, strength=strength).loss(x, torch.Generator().manual_seed(0)).item()

    for method in ("rnode", "steer", "ot_flow", "rnode_steer"):
        assert loss(method, 0.1) != loss(method, 0.5)
    for method in ("cnf", "ffjord", "fm_ot", "ot_cfm", "fm_diffusion"):
        assert loss(method, 0.1) == loss(method, 0.5)


def test_fine_tuning_goes_from_the_regression_to_the_likelihood() -> None:
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(1))
    model, matching, likelihood = made("fm_finetuned", strength=2.0), made("fm_ot"), made("cnf")

    def draws() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    losses = [model.loss(x, draws()).item() for _ in range(4)]
    regression = matching.loss(x, draws()).item()
    assert losses[:2] == [regression, regression]
    # The flow matching field is the reversed velocity: its likelihood is its own, not the other network's.
    nll = -model.log_prob(x).mean().item()
    assert losses[2:] == pytest.approx([nll, nll], abs=1e-5)
    assert losses[2] != likelihood.loss(x, draws()).item()


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UserError, match="no method of the suite is called 'glow'"):
        made("glow")
