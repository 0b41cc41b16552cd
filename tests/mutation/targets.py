"""What is mutated, by which tests it is guarded, and mutants that change nothing a test could see, with the reason."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A source file, the tests that guard it, and how many of its mutants the default run takes."""

    source: str
    tests: str
    sample: int = 12


BENCH, FLOWS, TASKS = "tests/bench", "tests/flows", "tests/tasks"

TARGETS = (
    # statistics, verdicts
    Target("bench/stats.py", f"{BENCH}/test_stats.py", 10),
    Target("bench/verdict.py", f"{BENCH}/test_verdict.py", 10),
    Target("bench/identity.py", f"{BENCH}/test_identity.py {BENCH}/test_record.py", 10),
    Target("bench/verify.py", f"{BENCH}/test_verify.py", 10),
    Target("bench/execution/progress.py", f"{BENCH}/test_progress.py", 8),
    # measurements, metrics
    Target("bench/measure/clock.py", f"{BENCH}/test_measure.py", 8),
    Target("bench/measure/memory.py", f"{BENCH}/test_measure.py", 10),
    Target("bench/metrics/transport.py", f"{BENCH}/test_transport.py", 10),
    Target("bench/metrics/paths.py", f"{BENCH}/test_path_metrics.py", 10),
    Target("bench/metrics/classification.py", f"{BENCH}/test_classification.py", 8),
    Target("bench/metrics/fidelity/quality.py", f"{BENCH}/test_fidelity.py", 10),
    # solves, evaluations
    Target("replications/flows/ode/step.py", f"{FLOWS}/ode/test_solve.py {FLOWS}/ode/test_counter.py", 10),
    Target("replications/flows/ode/controller.py", f"{FLOWS}/ode/test_controller.py", 10),
    Target(
        "replications/flows/ode/integrate.py",
        f"{FLOWS}/ode/test_counter.py {FLOWS}/ode/test_controller.py",
        12,
    ),
    Target("replications/flows/ode/counter.py", f"{FLOWS}/ode/test_counter.py", 4),
    Target(
        "replications/flows/ode/guards.py",
        f"{FLOWS}/ode/test_solve_failures.py {FLOWS}/ode/test_counter.py",
        10,
    ),
    Target("replications/flows/density/evaluate.py", f"{FLOWS}/test_evaluate.py", 10),
    Target(
        "replications/flows/density/regularizers.py", f"{FLOWS}/test_cnf.py {FLOWS}/test_divergence.py", 8
    ),
    Target("replications/flows/training/settings.py", f"{FLOWS}/training/test_train.py", 10),
    Target(
        "replications/flows/training/log.py", f"{FLOWS}/training/test_train.py {TASKS}/test_recording.py", 10
    ),
    # splits, recording, cost, methods
    Target("replications/tasks/splits.py", f"{TASKS}/test_splits.py", 10),
    Target("replications/tasks/recording.py", f"{TASKS}/test_recording.py", 10),
    Target("replications/tasks/cost.py", f"{TASKS}/test_cost.py", 10),
    Target("replications/tasks/density2d/evaluation.py", f"{TASKS}/test_density2d.py", 10),
    Target("replications/tasks/images/evaluation.py", f"{TASKS}/test_image_task.py", 10),
    Target("replications/rnode/method.py", "tests/rnode", 8),
    Target("replications/steer/method.py", "tests/steer/test_steer_method.py", 4),
    Target("replications/ffjord/method.py", "tests/ffjord/test_ffjord_method.py", 6),
)

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "bench/measure/memory.py",
        "gc.collect()  # or garbage from before could change when the collector runs, and with it the peak",
        "pass",
    ): "it only keeps a rare coincidence away",
    ("bench/verify.py", "if now is None or not math.isclose(now, before.value, rel_tol=tolerance, abs_tol=1e-9):",
     "before.value, now"): "closeness is symmetric",
    ("bench/metrics/fidelity/quality.py", "total, products_total = sums.sum(axis=0), np.sum(products, axis=0)", "mean"):
        "the rows are centred: their total is zero, and so is its mean",
}  # fmt: skip
"""(source, text of the line, text after) -> why no test can see it."""
