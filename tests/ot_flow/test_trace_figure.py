"""The estimate by autograd against the closed form, its law, its operations, and the experiment's record."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.registry import resolve
from replications.ot_flow.experiments.trace.declaration import PUBLISHED, TRACE, TraceConfig
from replications.ot_flow.experiments.trace.figures import trace as figure
from replications.ot_flow.experiments.trace.run import (
    by_gradients,
    by_pushes,
    estimates,
    expected,
    operations,
    relative,
)
from replications.ot_flow.potential import GradientField, Potential
from replications.tasks.trace.estimators import by_loop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
        assert relative(trace, exact) < tolerance


def test_the_mean_over_all_sign_vectors_is_the_exact_trace() -> None:
    """No sample: a Rademacher vector takes 2^D values, all equally likely; so bias and expected error are exact."""
    field, t, x = drawn(6, 4)
    exact = field.divergence(t, x).divergence
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6)), dtype=x.dtype)
    eps = signs[:, None].expand(-1, *x.shape)
    for products in (by_gradients, by_pushes):
        assert relative(products(field, t, x, eps) / len(eps), exact) < 1e-12
    squares = torch.stack([(by_gradients(field, t, x, e[None]) - exact).square() for e in eps])
    root = (squares.mean() / exact.square().mean()).sqrt().item()
    assert root > 0.05
    assert expected(field, t, x, exact) == pytest.approx(root, rel=1e-12)


def test_the_error_falls_with_the_root_of_the_number_of_vectors() -> None:
    field, t, x = drawn(20, 256)
    exact, marks = field.divergence(t, x).divergence, (1, 4, 16, 64)
    law = expected(field, t, x, exact)
    for k, _, estimate in estimates(by_gradients, field, t, x, marks, generator(2)):
        # 256 states: the norm of the errors has a standard deviation of about 1 / sqrt(2 * 256), 4.4 %
        assert relative(estimate, exact) == pytest.approx(law / k**0.5, rel=0.18)


def test_a_pass_nests_its_vectors_and_adds_up_its_seconds() -> None:
    field, t, x = drawn(5, 3)
    one, two, five = estimates(by_gradients, field, t, x, (1, 2, 5), generator(3))
    (alone,) = estimates(by_gradients, field, t, x, (5,), generator(3))
    torch.testing.assert_close(five[2], alone[2], rtol=1e-13, atol=1e-13)
    assert not torch.allclose(one[2], two[2])
    assert 0 < one[1] < two[1] < five[1]
    pushed = list(estimates(by_pushes, field, t, x, (1, 2, 5), generator(3)))
    torch.testing.assert_close(pushed[2][2], five[2], rtol=1e-12, atol=1e-12)
    (other,) = estimates(by_gradients, field, t, x, (5,), generator(4))
    assert not torch.allclose(other[2], five[2])


@pytest.mark.parametrize("layers", [2, 3])
def test_operations_are_those_that_torch_counts(layers: int) -> None:
    config = TraceConfig(dim=12, vectors=(1, 2), width=7, layers=layers, batch=5)
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


@pytest.mark.parametrize(
    "settings",
    [{"dim": 5}, {"vectors": (3, 1)}, {"vectors": (0, 1)}, {"vectors": (2,)}, {"repeats": 0}, {"batch": 0}],
)
def test_bad_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match="config key"):
        TraceConfig(**settings)  # type: ignore[arg-type]


def perform(variant: str, folder: Path, seed: int = 0) -> Run:
    run = Run(identify(TRACE, variant, "smoke", seed), folder)
    resolve(TRACE.run)(run, TRACE.configure(variant, "smoke"))
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant."""
    return {variant: perform(variant, tmp_path_factory.mktemp(variant)) for variant in TRACE.variants}


def errors(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if "time" not in key}


def test_records_hold_what_is_declared_and_repeat_for_a_seed(runs: dict[str, Run], tmp_path: Path) -> None:
    for run in runs.values():
        assert {split_key(key)[0] for key in run.metrics} == set(TRACE.metrics)
        assert run.metrics["trace_error[unit vectors]"].value < 1e-5
        assert run.metrics["trace_error[exact by G]"].value < 1e-5
    assert errors(runs["d43"]) == errors(perform("d43", tmp_path))
    assert errors(runs["d43"]) != errors(perform("d43", tmp_path, seed=1))


def test_every_published_number_of_vectors_is_read_off() -> None:
    for variant, (dim, vectors) in zip(TRACE.variants, PUBLISHED.items(), strict=True):
        config = TRACE.configure(variant, "cpu")
        assert (config.dim, config.marks, config.batch) == (dim, vectors, 512)
        assert config.marks[-1] == dim


def test_the_figure_has_a_line_a_dimension_and_the_exact_trace(runs: dict[str, Run]) -> None:
    records = [Record(r.identity, "done", metrics=r.metrics, curves=r.curves) for r in runs.values()]
    times, relative_errors = figure(records).axes
    assert (len(times.lines), len(relative_errors.lines)) == (3 * len(records), 2 * len(records))
    for line, way in zip(times.lines[1:3], ("exact", "exact by G")):
        assert set(line.get_ydata()) == {records[0].metrics[f"evaluation_time[{way}]"].value}
    assert figure([]) is None
