"""What the comparison of traces records, and the figure of it."""

from pathlib import Path

import pytest
import torch
from support import perform, recorded

from bench.execution.run import Run
from bench.identity import Identity
from bench.metrics.catalogue import split_key
from replications.ot_flow.experiments.trace import run as module
from replications.ot_flow.experiments.trace.declaration import TRACE, OTFlowTraceConfig
from replications.ot_flow.experiments.trace.figures import trace as figure
from replications.ot_flow.experiments.trace.measured import expected_error
from replications.ot_flow.potential import GradientField, Potential


@pytest.fixture
def blank(tmp_path: Path) -> Run:
    return Run(Identity("test.trace", "only", "smoke", 0, 1, {}, {}), tmp_path)


def values(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items()}


def test_times_are_medians_over_the_repeats(blank: Run) -> None:
    names = ("exact", "exact by G", "hutchinson-1", "hutchinson-4", "pushed-1", "unit vectors")
    seconds = [{name: (k + 1.0) * s for k, name in enumerate(names)} for s in (1.0, 10.0, 2.0)]
    module.record_times(blank, (1, 4), seconds, "p")
    found = values(blank)
    assert {name: found[f"evaluation_time[{name}]"] for name in names} == {
        name: 2.0 * (k + 1) for k, name in enumerate(names)
    }
    assert found["ratio[time: exact/hutchinson-1]"] == pytest.approx(1 / 3)
    assert found["ratio[time: hutchinson-4/exact]"] == pytest.approx(4)
    assert found["ratio[time: exact/vector]"] == pytest.approx(4 * 1 / 4)
    assert blank.curves["time/K[hutchinson]"].y == (6.0, 8.0)
    assert blank.metrics["evaluation_time[exact]"].n == 3


def test_errors_are_means_with_standard_errors_beside_the_expected_one(blank: Run) -> None:
    errors = [{"expected-1": 0.5, "hutchinson-1": h, "hutchinson-4": h / 2} for h in (0.4, 0.6, 0.8)]
    module.record_errors(blank, (1, 4), errors, "p")
    found = values(blank)
    assert found["trace_error[hutchinson-1]"] == pytest.approx(0.6)
    assert blank.metrics["trace_error[hutchinson-1]"].se == pytest.approx(0.2 / 3**0.5)
    assert found["ratio[error: hutchinson-1/expected]"] == pytest.approx(1.2)
    assert found["scaling_exponent[error/K: hutchinson]"] == pytest.approx(-0.5)
    assert blank.curves["error/K[expected]"].y == pytest.approx((0.5, 0.25))
    assert blank.curves["error/K[hutchinson]"].y == pytest.approx((0.6, 0.3))


def test_the_error_of_a_single_repeat_has_no_standard_error(blank: Run) -> None:
    module.record_errors(blank, (1, 4), [{"expected-1": 1.0, "hutchinson-1": 0.4, "hutchinson-4": 0.2}], "p")
    assert blank.metrics["trace_error[hutchinson-1]"].se is None


def test_operations_are_in_units_of_one_vector(blank: Run) -> None:
    module.record_operations(blank, {"exact": 6, "exact by G": 3, "hutchinson-1": 12}, "counted/p")
    assert values(blank) == {
        "ratio[operations: exact/hutchinson-1]": 0.5,
        "ratio[operations: exact by G/hutchinson-1]": 0.25,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant."""
    return {variant: perform(TRACE, variant, tmp_path_factory.mktemp(variant)) for variant in TRACE.variants}


def errors(run: Run) -> dict[str, float]:
    return {key: m.value for key, m in run.metrics.items() if "time" not in key}


def test_records_hold_what_is_declared_and_repeat_for_a_seed(runs: dict[str, Run], tmp_path: Path) -> None:
    for run in runs.values():
        assert {split_key(key)[0] for key in run.metrics} == set(TRACE.metrics)
        assert run.metrics["trace_error[unit vectors]"].value < 1e-5
        assert run.metrics["trace_error[exact by G]"].value < 1e-5
    assert errors(runs["d43"]) == errors(perform(TRACE, "d43", tmp_path))
    other = errors(perform(TRACE, "d43", tmp_path, seed=1))
    assert other["trace_error[hutchinson-1]"] != errors(runs["d43"])["trace_error[hutchinson-1]"]


def test_states_are_normal_weights_initial_and_each_repeat_has_its_own(runs: dict[str, Run]) -> None:
    run = runs["d43"]
    config: OTFlowTraceConfig = TRACE.configure("d43", "smoke")
    phi = Potential(config.dim, config.width, config.layers, run.torch_generator("weights/0"))
    draws = run.torch_generator("states/0")
    x, t = torch.randn(config.batch, config.dim, generator=draws), torch.randn((), generator=draws)
    exact = -phi.derivatives(t, x)[2].detach()
    law = expected_error(GradientField(phi).requires_grad_(False), t, x[: config.checked], exact)
    assert run.metrics["trace_error[expected-1]"].value == pytest.approx(law, rel=1e-4)
    again = module.repeat(run, config, 1)
    assert again.errors["expected-1"] != pytest.approx(law, rel=1e-4)


def test_the_figure_shows_the_record(runs: dict[str, Run]) -> None:
    records = [recorded(run) for run in runs.values()]
    times, relative_errors = figure(records).axes
    for k, record in enumerate(records):
        estimate, exact, short = times.lines[3 * k : 3 * k + 3]
        assert tuple(estimate.get_ydata()) == record.curves["time/K[hutchinson]"].y
        assert set(exact.get_ydata()) == {record.metrics["evaluation_time[exact]"].value}
        assert set(short.get_ydata()) == {record.metrics["evaluation_time[exact by G]"].value}
        found, law = relative_errors.lines[2 * k : 2 * k + 2]
        assert tuple(found.get_ydata()) == record.curves["error/K[hutchinson]"].y
        assert tuple(law.get_ydata()) == record.curves["error/K[expected]"].y
    assert figure([]) is None
