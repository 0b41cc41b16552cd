"""The estimate by autograd against the closed form, its law, its operations, and what is read off the clock."""

import itertools
import time
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import UserError
from replications.ot_flow.experiments.trace.declaration import PUBLISHED, TRACE, OTFlowTraceConfig
from replications.ot_flow.experiments.trace.measured import (
    by_gradients,
    by_pushes,
    compare,
    estimates,
    expected_error,
    operations,
    quotients,
    relative_error,
    worth_in_vectors,
)
from replications.ot_flow.potential import GradientField, Potential
from replications.tasks.trace.methods import by_loop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ticks() -> float:
    """A clock that moves by one second at each reading."""
    return float(next(_seconds))


_seconds = itertools.count()


def drawn(
    dim: int, batch: int, width: int = 16, layers: int = 2, dtype: torch.dtype = torch.float64
) -> tuple[GradientField, Tensor, Tensor]:
    """A field with the initial weights, a time, and standard normal states."""
    field = GradientField(Potential(dim, width, layers, generator())).to(dtype).requires_grad_(False)
    x = torch.randn(batch, dim, generator=generator(1), dtype=torch.float64)
    return field, torch.tensor(0.4, dtype=dtype), x.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("layers", [2, 4])
def test_the_exact_trace_is_that_of_the_unit_vectors(
    dtype: torch.dtype, tolerance: float, layers: int
) -> None:
    field, t, x = drawn(43, 16, layers=layers, dtype=dtype)
    exact = field.divergence(t, x).divergence
    units = torch.eye(43, dtype=dtype)[:, None].expand(43, *x.shape)
    for trace in (by_gradients(field, t, x, units), by_loop(field, t, x)[1]):
        assert relative_error(trace, exact) < tolerance


def test_a_relative_error_is_a_quotient_of_norms_over_the_batch() -> None:
    exact, estimate = torch.tensor([3.0, -4.0]), torch.tensor([3.0, -1.0])
    assert relative_error(estimate, exact) == pytest.approx(3 / 5)


def test_the_mean_over_all_sign_vectors_is_the_exact_trace() -> None:
    """No sample: a Rademacher vector takes 2^D values, all equally likely; so bias and expected error are exact."""
    field, t, x = drawn(6, 4)
    exact = field.divergence(t, x).divergence
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6)), dtype=x.dtype)
    eps = signs[:, None].expand(-1, *x.shape)
    for products in (by_gradients, by_pushes):
        assert relative_error(products(field, t, x, eps) / len(eps), exact) < 1e-12
    squares = torch.stack([(by_gradients(field, t, x, e[None]) - exact).square() for e in eps])
    root = (squares.mean() / exact.square().mean()).sqrt().item()
    assert root > 0.05
    assert expected_error(field, t, x, exact) == pytest.approx(root, rel=1e-12)


def test_the_error_falls_with_the_root_of_the_number_of_vectors() -> None:
    field, t, x = drawn(20, 256)
    exact, numbers = field.divergence(t, x).divergence, (1, 4, 16, 64)
    law = expected_error(field, t, x, exact)
    for k, _, estimate in estimates(by_gradients, field, t, x, numbers, generator(2), ticks):
        # 256 states: the norm of the errors has a standard deviation of about 1 / sqrt(2 * 256), 4.4 %
        assert relative_error(estimate, exact) == pytest.approx(law / k**0.5, rel=0.18)


def test_a_pass_nests_its_vectors_and_adds_up_its_seconds() -> None:
    field, t, x = drawn(5, 3)
    one, two, five = estimates(by_gradients, field, t, x, (1, 2, 5), generator(3), ticks)
    (alone,) = estimates(by_gradients, field, t, x, (5,), generator(3), ticks)
    torch.testing.assert_close(five[2], alone[2], rtol=1e-13, atol=1e-13)
    assert not torch.allclose(one[2], two[2])
    assert (one[1], two[1], five[1]) == (1, 2, 3)  # a reading before and one after each part
    pushed = list(estimates(by_pushes, field, t, x, (1, 2, 5), generator(3), ticks))
    torch.testing.assert_close(pushed[2][2], five[2], rtol=1e-12, atol=1e-12)
    (other,) = estimates(by_gradients, field, t, x, (5,), generator(4), ticks)
    assert not torch.allclose(other[2], five[2])


def test_a_comparison_gives_each_method_its_error_and_its_time() -> None:
    field, t, x = drawn(5, 8)
    found = compare(field, t, x, (1, 2, 5), 3, partial(generator, 3), ticks)
    exact = -field.potential.derivatives(t, x)[2]
    steps = {
        k: estimate for k, _, estimate in estimates(by_gradients, field, t, x, (1, 2, 5), generator(3), ticks)
    }
    for k, estimate in steps.items():
        assert found.errors[f"hutchinson-{k}"] == pytest.approx(relative_error(estimate, exact), rel=1e-9)
    assert found.errors["expected-1"] == pytest.approx(expected_error(field, t, x[:3], exact), rel=1e-9)
    assert found.errors["unit vectors"] < 1e-12
    assert found.errors["exact by G"] < 1e-12
    assert found.seconds == {
        "exact": 1, "exact by G": 1, "hutchinson-1": 1, "hutchinson-2": 2, "hutchinson-5": 3,
        "pushed-1": 1, "pushed-2": 2, "unit vectors": 1,
    }  # fmt: skip


@pytest.mark.parametrize("layers", [2, 3])
def test_operations_are_those_that_torch_counts(layers: int) -> None:
    config = OTFlowTraceConfig(dim=12, vectors=(1, 2), width=7, layers=layers, batch=5)
    field, t, x = drawn(12, 5, 7, layers)
    work = {
        "exact": lambda: field.potential.derivatives(t, x, short=False),
        "exact by G": lambda: field.potential.derivatives(t, x, short=True),
        "hutchinson-1": lambda: by_gradients(field, t, x, torch.ones_like(x)[None]),
    }
    for name, stated in operations(config).items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            # counts by module, which autograd.grad does not allow
            counter.mod_tracker.__exit__(None, None, None)
            work[name]()
        assert counter.get_total_flops() == stated, name


TRUE = {
    "exact": 1.0,
    "exact by G": 0.5,
    "hutchinson-1": 2.0,
    "hutchinson-7": 5.0,
    "pushed-1": 4.0,
    "unit vectors": 8.0,
}
"""Seconds of the methods on a machine that never changes."""


def drifting(repeats: int, forth_and_back: bool = True) -> list[dict[str, float]]:
    """Seconds on a machine that slows down by 5 % of its first speed at every method."""
    names, found, done = list(TRUE), [], itertools.count()
    for i in range(repeats):
        order = names[::-1] if forth_and_back and i % 2 else names
        found.append({name: TRUE[name] * (1 + 0.05 * next(done)) for name in order})
    return found


def slow_in_between() -> list[dict[str, float]]:
    """Seconds where the second of three repeats takes nine times as long."""
    return [{name: slow * value for name, value in TRUE.items()} for slow in (1, 9, 1)]


PAIRS = (
    "exact/hutchinson-1", "exact by G/hutchinson-1", "exact/exact by G", "exact/pushed-1", "exact/unit vectors",
    "hutchinson-7/exact", "pushed-1/hutchinson-1",
)  # fmt: skip


@pytest.mark.parametrize("seconds", [drifting(2), drifting(5), slow_in_between(), [TRUE]])
def test_neither_a_drift_nor_a_slow_repeat_changes_a_quotient(seconds: list[dict[str, float]]) -> None:
    true = {pair: TRUE[pair.split("/")[0]] / TRUE[pair.split("/")[1]] for pair in PAIRS}
    assert quotients((1, 7), seconds) == pytest.approx(true)
    assert worth_in_vectors((1, 7), seconds) == pytest.approx({"exact": 7 / 5, "exact by G": 7 / 10})


def test_in_one_order_a_drift_would_change_it() -> None:
    found = quotients((1, 7), drifting(5, forth_and_back=False))
    assert found["exact/unit vectors"] < 0.97 / 8


def test_every_second_repeat_goes_backwards() -> None:
    field, t, x = drawn(5, 8)
    forth, back = (
        compare(field, t, x, (1, 2, 5), 3, partial(generator, 3), time.perf_counter, backwards=backwards)
        for backwards in (False, True)
    )
    assert forth.errors == back.errors
    methods = ("exact", "exact by G", "hutchinson-1", "pushed-1", "unit vectors")
    assert [name for name in forth.seconds if name in methods] == list(methods)
    assert [name for name in back.seconds if name in methods] == list(methods[::-1])


@pytest.mark.parametrize(
    "settings",
    [{"dim": 5}, {"vectors": (3, 1)}, {"vectors": (0, 1)}, {"vectors": (2,)}, {"repeats": 0}, {"batch": 0}],
)
def test_bad_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match="config key"):
        OTFlowTraceConfig(**settings)  # type: ignore[arg-type]


def test_every_published_number_of_vectors_is_read_off() -> None:
    for variant, (dim, vectors) in zip(TRACE.variants, PUBLISHED.items(), strict=True):
        config = TRACE.configure(variant, "cpu")
        assert (config.dim, config.numbers, config.batch) == (dim, vectors, 512)
        assert config.numbers[-1] == dim
