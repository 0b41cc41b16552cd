from typing import Any

import pytest
import torch
from torch import Tensor, nn

from replications.flows.density.divergence import Divergence, Evaluation, exact
from replications.flows.density.regularizers import REGULARIZERS, needs_frobenius
from replications.flows.errors import RequestError
from replications.flows.fields.mlp import MlpField
from replications.flows.fields.pushforward import push

T = torch.tensor(0.7, dtype=torch.float64)
DIM = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def mlp(hidden: tuple[int, ...] = (8, 7), **options: Any) -> nn.Module:
    return MlpField(DIM, hidden, generator(), **options).double()


class Rotating(nn.Module):
    """A field that is no MLP: tanh(A x) * t + |x|^2 x."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(normal(DIM, DIM, seed=5))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.matrix.T) * t + x.square().sum(-1, keepdim=True) * x


class Pushed(Rotating):
    """The same with a pushforward of its own."""

    def pushforward(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(x @ self.matrix.T)
        along = 2 * (x * v).sum(-1, keepdim=True) * x + x.square().sum(-1, keepdim=True) * v
        return self(t, x), (1 - h * h) * (v @ self.matrix.T) * t + along


class Convolution(nn.Module):
    """A field of images `(B, 2, 3, 3)`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1).double()

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x)) * t


TIMES = ("concat", "concatsquash", "output", "none")
SQUASH = {"time": "concatsquash"}
FIELDS: dict[str, nn.Module] = {
    **{f"{time}-{act}": mlp(time=time, activation=act) for time in TIMES for act in ("tanh", "softplus")},
    **{f"0-hidden-{time}": mlp((), time=time) for time in TIMES},
    **{f"1-hidden-{act}": mlp((9,), **SQUASH, activation=act) for act in ("tanh", "elu", "relu")},
    **{
        f"3-hidden-{act}": mlp((6, 5, 7), **SQUASH, activation=act)
        for act in ("tanh", "elu", "relu", "softplus")
    },
    "automatic": Rotating(),
    "own": Pushed(),
}


def jacobians(field: nn.Module, x: Tensor) -> Tensor:
    """The full Jacobian of each state, by reverse mode."""
    flat = x.flatten(1)

    def one(z: Tensor) -> Tensor:
        return field(T, z.reshape(1, *x.shape[1:])).flatten()

    return torch.stack([torch.autograd.functional.jacobian(one, z, create_graph=True) for z in flat])


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FIELDS)
def test_exact_divergence_is_the_trace(name: str) -> None:
    field, x = FIELDS[name], normal(5, DIM)
    full = jacobians(field, x)
    for frobenius in (False, True):
        at = exact(field, T, x, frobenius)
        close(at.f, field(T, x))
        close(at.divergence, full.diagonal(dim1=1, dim2=2).sum(1))
    assert at.frobenius is not None
    close(at.frobenius, full.square().sum((1, 2)))


@pytest.mark.parametrize("name", FIELDS)
def test_pushed_tangents_are_products_with_the_jacobian(name: str) -> None:
    field, x, v = FIELDS[name], normal(5, DIM), normal(2, 5, DIM, seed=2)
    f, jv = push(field, T, x, v)
    close(f, field(T, x))
    close(jv, torch.einsum("bij,kbj->kbi", jacobians(field, x), v))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kind", ["exact", "gaussian"])
def test_gradient_of_the_divergence_needs_no_double_backward(name: str, kind: str) -> None:
    field, x, eps = FIELDS[name], normal(4, DIM).requires_grad_(), normal(1, 4, DIM, seed=2)
    inputs = (x, *field.parameters())
    at = Divergence(kind)(field, T, x, eps, frobenius=True)
    assert at.frobenius is not None
    full = jacobians(field, x)
    probes = torch.eye(DIM, dtype=torch.float64)[:, None].expand(DIM, 4, DIM) if kind == "exact" else eps
    products = torch.einsum("bij,kbj->kbi", full, probes)
    reference = ((products * probes).sum() + products.square().sum() + field(T, x).sum(), inputs)
    ours = (at.divergence.sum() + at.frobenius.sum() + at.f.sum(), inputs)
    grads = (
        torch.autograd.grad(*pair, allow_unused=True, materialize_grads=True) for pair in (ours, reference)
    )
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_gradient_of_the_closed_form() -> None:
    field, x = mlp(time="concatsquash"), normal(4, DIM)

    def gradient(frobenius: bool) -> tuple[Tensor, ...]:
        loss = exact(field, T, x, frobenius).divergence.square().sum()
        return torch.autograd.grad(loss, tuple(field.parameters()), allow_unused=True, materialize_grads=True)

    for closed, pushed in zip(gradient(False), gradient(True), strict=True):
        close(closed, pushed)


def test_images_have_a_divergence_too() -> None:
    field, x = Convolution(), normal(2, 2, 3, 3)
    full = jacobians(field, x)
    at = exact(field, T, x, True)
    assert at.frobenius is not None
    close(at.divergence, full.diagonal(dim1=1, dim2=2).sum(1))
    close(at.frobenius, full.square().sum((1, 2)))
    eps = normal(2, 2, 2, 3, 3, seed=3)
    flat = eps.flatten(2)
    close(
        Divergence("gaussian", 2)(field, T, x, eps).divergence,
        torch.einsum("kbi,bij,kbj->b", flat, full, flat) / 2,
    )


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_with_the_known_variance(kind: str) -> None:
    field, n = mlp(), 40_000
    x = normal(1, DIM).expand(n, DIM)
    full = jacobians(field, x[:1])[0].detach()
    estimator = Divergence(kind)
    at = estimator(field, T, x, estimator.draw(x, generator(7)), frobenius=True)
    assert at.frobenius is not None
    for estimate, truth in ((at.divergence, full.trace()), (at.frobenius, full.square().sum())):
        assert (estimate.mean() - truth).abs() < 4 * estimate.std() / n**0.5
    symmetric = (full + full.T) / 2
    variance = 2 * symmetric.square().sum()
    if kind == "rademacher":
        variance -= 2 * symmetric.diagonal().square().sum()
    assert at.divergence.var().item() == pytest.approx(variance.item(), rel=0.05)


def test_more_probes_are_averaged() -> None:
    field, x = mlp(), normal(4, DIM)
    eps = Divergence("gaussian", 3).draw(x, generator())
    assert eps is not None
    single = [Divergence("gaussian")(field, T, x, e[None], True) for e in eps]
    joint = Divergence("gaussian", 3)(field, T, x, eps, True)
    close(joint.divergence, torch.stack([at.divergence for at in single]).mean(0))
    assert joint.frobenius is not None
    close(joint.frobenius, torch.stack([at.frobenius for at in single if at.frobenius is not None]).mean(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probes_depend_on_the_generator_alone(dtype: torch.dtype) -> None:
    x = torch.zeros(5, DIM, dtype=dtype)
    for kind in ("rademacher", "gaussian"):
        first, again, other = (Divergence(kind, 2).draw(x, generator(seed)) for seed in (1, 1, 2))
        assert first is not None
        assert again is not None
        assert other is not None
        assert first.shape == (2, 5, DIM)
        assert first.dtype == dtype
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    signs = Divergence("rademacher").draw(x, generator())
    assert signs is not None
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert Divergence().draw(x, generator()) is None


def test_float32_follows_float64() -> None:
    x, eps = normal(6, DIM), normal(1, 6, DIM, seed=2)
    for kind in ("exact", "gaussian"):
        double = Divergence(kind)(mlp(), T, x, eps)
        single = Divergence(kind)(mlp().float(), T.float(), x.float(), eps.float())
        assert single.divergence.dtype == torch.float32
        torch.testing.assert_close(single.divergence.double(), double.divergence, rtol=1e-4, atol=1e-5)


def test_names_in_a_protocol() -> None:
    assert [d.protocol for d in (Divergence(), Divergence("rademacher"), Divergence("gaussian", 4))] == [
        "exact-trace",
        "rademacher-1",
        "gaussian-4",
    ]


def test_faults_are_named() -> None:
    with pytest.raises(RequestError, match="unknown divergence 'sphere'"):
        Divergence("sphere")
    with pytest.raises(RequestError, match="at least 1 probe"):
        Divergence("gaussian", 0)
    with pytest.raises(RequestError, match="needs probes"):
        Divergence("gaussian")(mlp(), T, normal(2, DIM), None)
    with pytest.raises(RequestError, match="unknown regularizer 'kinetic'"):
        needs_frobenius(("kinetic",))


def test_regularizers_are_normalised_as_they_are_named() -> None:
    f, frobenius = normal(4, 2, 3), normal(4, seed=2).square()
    at = Evaluation(f, frobenius, frobenius, potential_t=frobenius)
    values = {name: r(at) for name, r in REGULARIZERS.items()}
    close(values["kinetic_sum"], torch.stack([(one**2).sum() for one in f]))
    close(values["kinetic_half_mean"], values["kinetic_sum"] / (2 * 6))
    close(values["kinetic_half_sum"], values["kinetic_sum"] / 2)
    close(values["hjb"], (values["kinetic_sum"] / 2 - frobenius).abs())
    close(values["jacobian_sum"], frobenius)
    close(values["jacobian_mean"], frobenius / 6)
    assert needs_frobenius(("kinetic_sum", "jacobian_mean"))
    assert not needs_frobenius(("kinetic_sum",))
