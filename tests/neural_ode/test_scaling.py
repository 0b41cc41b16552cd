"""The experiment `neural_ode.scaling`: what it records of planted costs, what its runs show."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from support import perform, untimed

from bench.execution.run import Run
from bench.identity import identify
from bench.record import Record
from bench.registry import resolve
from replications.neural_ode.experiments.scaling.declaration import SCALING, ScalingConfig
from replications.neural_ode.experiments.scaling.figures import cost_of_steps, tolerance
from replications.neural_ode.experiments.scaling.measured import PassCost, Rung
from replications.neural_ode.experiments.scaling.run import record_costs, record_ladder, residual_stack

CONFIG = ScalingConfig(
    batch=64,
    dim=16,
    hidden=(32,),
    steps=(4, 8, 16),
    tolerances=(1e-3, 1e-5, 1e-7),
    repeats=1,
    reference_tolerance=1e-10,
)


def new_run(folder: Path, variant: str = "adjoint") -> Run:
    return Run(identify(SCALING, variant, "smoke", 0), folder)


def test_growth_and_exponents_of_planted_costs(tmp_path: Path) -> None:
    run, state = new_run(tmp_path), torch.zeros(3, 5)
    found = [PassCost(60 * depth, 0.5 * depth**2) for depth in CONFIG.steps]
    record_costs(run, CONFIG, found, state)
    values = {key: m.value for key, m in run.metrics.items()}
    assert values == pytest.approx(
        {
            "memory_slope": 60.0,
            "ratio[memory_slope/state_bytes]": 1.0,  # 3 x 5 numbers of 4 bytes
            "time_slope": 72 / 7,  # of the least-squares line through (4, 8), (8, 32), (16, 128)
            "scaling_exponent[memory/depth]": 1.0,
            "scaling_exponent[time/depth]": 2.0,
            "peak_memory": 960.0,
            "forward_backward_time": 128.0,
        },
        rel=1e-6,
    )
    assert run.metrics["memory_slope"].protocol == "forward-backward/rk4/depth-4-16/batch-3"
    assert run.curves["memory/depth"].y == (240, 480, 960)
    assert run.curves["time/depth"].y == (8, 32, 128)


def test_a_planted_ladder_gets_its_names(tmp_path: Path) -> None:
    run, tolerances = new_run(tmp_path), (1e-2, 1e-4)
    record_ladder(run, tolerances, [Rung(1e-1, 2e-1, 10, 30, 4.0), Rung(1e-3, 4e-3, 40, 60, 8.0)])
    values = {key: m.value for key, m in run.metrics.items()}
    assert values == pytest.approx(
        {
            "nfe_forward": 25.0,
            "nfe_backward": 45.0,
            "nfe_ratio": 1.8,  # of the means, not the mean of 3 and 1.5
            "final_error": 1e-3,
            "gradient_error": 4e-3,
            "scaling_exponent[error/tolerance]": 1.0,
            "scaling_exponent[time/nfe]": 0.5,
        }
    )
    curves = {key: (c.x, c.y) for key, c in run.curves.items()}
    assert curves == {
        "error/tolerance": (tolerances, (1e-1, 1e-3)),
        "gradient_error/tolerance": (tolerances, (2e-1, 4e-3)),
        "nfe_forward/tolerance": (tolerances, (10, 40)),
        "nfe_backward/tolerance": (tolerances, (30, 60)),
        "time/nfe": ((10, 40), (4, 8)),
    }


def test_a_deeper_residual_network_starts_with_the_shallower_ones_layers(tmp_path: Path) -> None:
    make = residual_stack(new_run(tmp_path, "resnet"), CONFIG)
    two, three = make(2), make(3)
    assert len(three.fields) == 3
    for one, other in zip(two.parameters(), three.parameters()):
        assert torch.equal(one, other)
    first, second = (next(field.parameters()) for field in two.fields)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("variant", SCALING.variants)
def test_a_run_repeats(variant: str, tmp_path: Path) -> None:
    first, again = (perform(SCALING, variant, tmp_path) for _ in range(2))
    assert untimed(first) == untimed(again)


def test_another_seed_draws_another_field(tmp_path: Path) -> None:
    errors = [perform(SCALING, "adjoint", tmp_path, seed).metrics["final_error"].value for seed in (0, 1)]
    assert errors[0] != errors[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant of `neural_ode.scaling`."""
    done = {}
    for variant, fields in SCALING.variants.items():
        done[variant] = new_run(tmp_path_factory.mktemp(variant), variant)
        resolve(SCALING.run)(done[variant], dataclasses.replace(CONFIG, **fields))
    return done


def test_memory_against_depth(runs: dict[str, Run]) -> None:
    slopes = {v: run.metrics["memory_slope"].value for v, run in runs.items()}
    exponents = {v: run.metrics["scaling_exponent[memory/depth]"].value for v, run in runs.items()}
    state = CONFIG.batch * CONFIG.dim * 4
    assert slopes["backprop"] > 4 * state
    assert slopes["checkpoint"] <= state + 0.02 * slopes["backprop"]
    assert slopes["adjoint"] <= state + 0.02 * slopes["backprop"]
    assert exponents["backprop"] == pytest.approx(1, abs=0.15)
    # A layer keeps what its gradient needs, and its parameters' gradient.
    assert slopes["resnet"] > 2 * state
    assert exponents["resnet"] == pytest.approx(1, abs=0.25)
    assert exponents["adjoint"] == pytest.approx(0, abs=0.05)


def test_error_falls_with_the_tolerance_and_gradients_agree(runs: dict[str, Run]) -> None:
    run = runs["adjoint"]
    for key in ("error/tolerance", "gradient_error/tolerance"):
        errors = run.curves[key].y
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 1e-5
    forward, backward = (run.curves[f"nfe_{pass_}/tolerance"].y for pass_ in ("forward", "backward"))
    assert forward[0] < forward[-1]
    assert all(count > 0 for count in backward)
    assert set(runs["backprop"].curves["nfe_backward/tolerance"].y) == {0}
    assert math.isclose(run.metrics["final_error"].value, run.curves["error/tolerance"].y[-1])


def test_figures_show_the_recorded_curves_and_nothing_else(runs: dict[str, Run]) -> None:
    records = [Record(run.identity, "done", metrics=run.metrics, curves=run.curves) for run in runs.values()]
    memory, time = cost_of_steps(records).axes
    assert {line.get_label(): tuple(line.get_ydata()) for line in memory.lines} == {
        v: tuple(y / 2**20 for y in run.curves["memory/depth"].y) for v, run in runs.items()
    }
    assert {tuple(line.get_ydata()) for line in time.lines} == {
        r.curves["time/depth"].y for r in runs.values()
    }
    error, by_nfe, nfe = tolerance(records).axes
    (line,) = error.lines
    assert tuple(line.get_ydata()) in {r.curves["error/tolerance"].y for r in records[1:]}
    assert len(by_nfe.lines) == 1
    assert {line.get_label(): (tuple(line.get_xdata()), tuple(line.get_ydata())) for line in nfe.lines} == {
        v: tuple(runs[v].curves[f"nfe_{pass_}/tolerance"].y for pass_ in ("forward", "backward"))
        for v in ("backprop", "adjoint", "checkpoint")
    }
    assert cost_of_steps([]) is None
    assert tolerance(records[:1]) is None  # a residual network has none
