import math
from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import identify
from bench.stats import fit_exponent
from replications.lecture.experiments import SOLVERS
from replications.lecture.experiments.solvers.measured import (
    ROUNDING,
    observed_order,
    stability_limit,
    step_ladder,
)
from replications.lecture.experiments.solvers.methods import METHODS, grid, integrate
from replications.lecture.experiments.solvers.problems import (
    Decay,
    Forced,
    ForcedPrinted,
    Logistic,
    stiff_linear,
)
from replications.lecture.experiments.solvers.run import run

ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4, "rk4_38": 4}


def smoke_run(method: str, folder: Path, seed: int = 0) -> Run:
    job = Run(identify(SOLVERS, method, "smoke", seed), folder)
    run(job, SOLVERS.configure(method, "smoke"))
    return job


@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_observed_order_is_the_classical_one(method: str, order: int) -> None:
    sizes = [0.1, 0.05, 0.025]
    final = [float(integrate(Forced(), method, grid(5, round(5 / h))).errors[-1]) for h in sizes]
    one_step = [integrate(Forced(), method, grid(h, 1)).max_error for h in sizes]
    assert fit_exponent(sizes, final).slope == pytest.approx(order, abs=0.15)
    assert fit_exponent(sizes, one_step).slope == pytest.approx(order + 1, abs=0.15)


def test_errors_that_rounding_hides_take_no_part_in_an_order() -> None:
    sizes, errors = [1.0, 0.1, 0.01, 0.001], [1e-6, 1e-9, 1e-12, 1e-13]
    fit = observed_order(sizes, errors)
    assert fit is not None
    assert (fit.slope, fit.n) == (pytest.approx(3), 2)
    assert observed_order(sizes, [1.0, ROUNDING, 0.0, 0.0]) is None


def test_a_ladder_leaves_out_steps_beyond_the_stability_limit() -> None:
    problem = stiff_linear(50.0)  # Euler is stable below a step of 2 / 50
    ladder = step_ladder(problem, "euler", [10, 200])
    assert ladder.sizes == [problem.t1 / 200]
    assert ladder.nfe == [200]
    alone = integrate(problem, "euler", grid(problem.t1, 200))
    assert ladder.final == [float(alone.errors[-1])]
    assert ladder.largest == [alone.max_error]
    assert ladder.local == [integrate(problem, "euler", grid(problem.t1 / 200, 1)).max_error]


def test_one_step_of_rk4_is_the_taylor_polynomial() -> None:
    h = 0.5
    state = integrate(Decay(), "rk4", grid(h, 1)).states[-1]
    assert float(state) == pytest.approx(sum((-h) ** k / math.factorial(k) for k in range(5)), abs=1e-15)


def test_both_rk4_agree_on_a_linear_problem_and_differ_on_another() -> None:
    def distance(problem: Decay | Logistic) -> float:
        a, b = (integrate(problem, method, grid(2, 10)).states for method in ("rk4", "rk4_38"))
        return float((a - b).abs().max())

    assert distance(Decay()) < 1e-14
    assert distance(Logistic()) > 1e-9


def test_lecture_comparison() -> None:
    """What the lecture prints (equal errors of 0.283) and what its problem gives (a factor of 3.8e5)."""
    euler, rk4 = (integrate(Forced(), method, grid(5, 199)) for method in ("euler", "rk4"))
    assert (euler.nfe, rk4.nfe) == (199, 796)
    assert euler.max_error / rk4.max_error == pytest.approx(3.8e5, rel=0.02)
    printed = [integrate(ForcedPrinted(), method, grid(5, 199)).max_error for method in ("euler", "rk4")]
    assert printed == pytest.approx([0.2826, 0.2829], abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_solves_a_smooth_problem(method: str) -> None:
    assert integrate(Logistic(), method, grid(2, 20), rtol=1e-6).max_error < 0.02


@pytest.mark.parametrize("method", ["dopri5", "bdf", "radau"])
def test_tighter_tolerance_costs_more_and_errs_less(method: str) -> None:
    loose, tight = (integrate(Forced(), method, grid(5, 50), rtol) for rtol in (1e-3, 1e-7))
    assert tight.max_error < loose.max_error / 100
    assert tight.nfe > loose.nfe


def test_stiffness_costs_the_explicit_method_more() -> None:
    problem = stiff_linear(200.0)
    explicit, implicit = (integrate(problem, method, grid(2, 20)) for method in ("dopri5", "radau"))
    assert explicit.nfe > 4 * implicit.nfe
    assert max(explicit.max_error, implicit.max_error) < 0.01


@pytest.mark.parametrize(("method", "limit"), [("euler", 2.0), ("midpoint", 2.0), ("rk4", 2.7853)])
def test_stability_limit_is_where_the_growth_factor_passes_one(method: str, limit: float) -> None:
    assert stability_limit(method, steps=200) == pytest.approx(limit, abs=2e-3)


def test_fixed_point_iteration_is_no_stiff_solver() -> None:
    assert stability_limit("implicit_adams", steps=100, bisections=6) < 2


@pytest.mark.parametrize("method", ["rk4", "explicit_adams", "dopri5"])
def test_run_reports_only_what_it_declares(method: str, tmp_path: Path) -> None:
    job = smoke_run(method, tmp_path)
    assert {key.split("[")[0] for key in job.metrics} <= set(SOLVERS.metrics)
    assert all(math.isfinite(m.value) for m in job.metrics.values())
    alone = integrate(Forced(), method, grid(Forced().t1, 199))
    assert job.metrics["max_error[forced/199]"].value == alone.max_error
    assert job.metrics["nfe[forced/199]"].value == alone.nfe


def test_seed_draws_the_random_system(tmp_path: Path) -> None:
    first, again, other = (smoke_run("midpoint", tmp_path, seed) for seed in (0, 0, 1))
    assert first.curves == again.curves
    assert first.curves["error_against_nfe[linear]"] != other.curves["error_against_nfe[linear]"]
    assert first.curves["error_against_nfe[forced]"] == other.curves["error_against_nfe[forced]"]


def test_methods_of_a_seed_share_the_random_system(tmp_path: Path) -> None:
    seeds = {Run(identify(SOLVERS, m, "smoke", 0), tmp_path).seed("problem") for m in SOLVERS.variants}
    assert len(seeds) == 1


def test_output_times_do_not_bend_the_steps() -> None:
    few, many = (integrate(Forced(), "dopri5", grid(5, n)) for n in (2, 200))
    assert few.nfe == many.nfe
    torch.testing.assert_close(few.states[-1], many.states[-1])
