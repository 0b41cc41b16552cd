import math

import pytest
import torch
from torch import nn

from replications.flows.density.priors import IsotropicNormal, StandardNormal
from replications.flows.fields.mlp import ConcatLinear, ConcatSquashLinear, MlpField, initialise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_concat_is_the_affine_map_of_state_and_time() -> None:
    layer = ConcatLinear(3, 4).double()
    x, t = torch.randn(5, 3, generator=generator(), dtype=torch.float64), torch.tensor(0.7).double()
    appended = torch.cat([x, t.expand(5, 1)], dim=1)
    expected = appended @ layer.weight.T + layer.bias
    torch.testing.assert_close(layer(t, x), expected, rtol=1e-12, atol=1e-12)


def test_concatsquash_formula() -> None:
    layer = ConcatSquashLinear(3, 4).double()
    x, t = torch.randn(5, 3, generator=generator(), dtype=torch.float64), torch.tensor([[0.7]]).double()
    expected = layer.layer(x) * torch.sigmoid(layer.gate(t)) + layer.shift(t)
    torch.testing.assert_close(layer(t, x), expected, rtol=1e-12, atol=1e-12)


def test_output_adds_time_at_the_output() -> None:
    field = MlpField(2, (8, 8), generator(), time="output").double()
    x, t = torch.ones(3, 2).double(), torch.tensor([[1.3]]).double()
    a, b, c = field.layers
    assert field.time is not None
    expected = c(torch.tanh(b(torch.tanh(a(x))))) + field.time(t)
    torch.testing.assert_close(field(t.squeeze(), x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("time", ["concat", "concatsquash", "output"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "elu"])
def test_one_time_for_each_sample_equals_one_call_each(time: str, activation: str) -> None:
    field = MlpField(2, (8,), generator(), time=time, activation=activation).double()
    x, t = torch.randn(4, 2, generator=generator(), dtype=torch.float64), torch.linspace(0, 1, 4).double()
    each = torch.stack([field(t[i], x[i]) for i in range(4)])
    torch.testing.assert_close(field(t[:, None], x), each, rtol=1e-12, atol=1e-12)
    assert not torch.equal(field(t[0], x), field(t[3], x))


def test_without_time_the_field_is_autonomous() -> None:
    field, x = MlpField(2, (8,), generator(), time="none"), torch.ones(3, 2)
    assert torch.equal(field(torch.tensor(0.0), x), field(torch.tensor(5.0), x))


@pytest.mark.parametrize("wrong", [{"time": "concatt"}, {"activation": "gelu"}])
def test_unknown_names_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        MlpField(2, (8,), generator(), **wrong)


def test_initialisation_depends_on_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = MlpField(2, (16,), generator(3))
    torch.manual_seed(2)
    again, other = MlpField(2, (16,), generator(3)), MlpField(2, (16,), generator(4))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize("layer", [nn.Linear(50, 400), nn.Conv2d(8, 64, 3)])
def test_initialisation_has_the_default_distribution(layer: nn.Module) -> None:
    initialise(layer, generator())
    weight, bias = layer.weight, layer.bias
    bound = weight[0].numel() ** -0.5
    for parameter in (weight, bias):
        assert bound * 0.9 < parameter.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_normal_density_and_samples() -> None:
    prior = IsotropicNormal(3, 2.0)
    x = prior.sample(20_000, generator(), dtype=torch.float64)
    assert x.std().item() == pytest.approx(2.0, rel=0.02)
    reference = torch.distributions.Normal(0.0, torch.tensor(2.0).double()).log_prob(x).sum(1)
    torch.testing.assert_close(prior.log_prob(x), reference, rtol=1e-12, atol=1e-12)
    assert StandardNormal(3).scale == 1.0
    assert torch.equal(prior.sample(4, generator(1)), 2 * StandardNormal(3).sample(4, generator(1)))
