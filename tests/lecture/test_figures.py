import subprocess
import sys
from pathlib import Path

import pytest

from bench.claim import load_claims
from bench.execution.run import Run
from bench.identity import identify
from bench.record import Record
from bench.report.style import render
from replications.lecture.experiments import CLASSIFIER, SOLVERS
from replications.lecture.experiments.mnist import run as mnist
from replications.lecture.experiments.mnist.figures import training
from replications.lecture.experiments.solvers import figures
from replications.lecture.experiments.solvers import run as solvers


@pytest.fixture(scope="module")
def solver_records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    records = []
    for method in ("euler", "dopri5", "radau"):
        job = Run(identify(SOLVERS, method, "smoke", 0), tmp_path_factory.mktemp(method))
        solvers.run(job, SOLVERS.configure(method, "smoke"))
        records.append(Record(job.identity, "done", metrics=job.metrics, curves=job.curves))
    return records


@pytest.mark.parametrize("name", SOLVERS.figures)
def test_solver_figures_draw_and_repeat(name: str, solver_records: list[Record]) -> None:
    draw = getattr(figures, name)
    first, second = draw(solver_records), draw(solver_records)
    assert render(first) == render(second)
    assert draw([]) is None


def test_order_figure_shows_fixed_steps_only(solver_records: list[Record]) -> None:
    figure = figures.order(solver_records)
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["euler"]


def test_failed_runs_are_not_drawn(solver_records: list[Record]) -> None:
    failed = [Record(r.identity, "diverged", curves=r.curves) for r in solver_records]
    assert figures.work_precision(failed) is None


def test_training_figure_has_a_row_a_data_set(tmp_path: Path) -> None:
    records = []
    for variant in ("digits", "digits_T4"):
        job = Run(identify(CLASSIFIER, variant, "smoke", 0), tmp_path)
        mnist.run(job, CLASSIFIER.configure(variant, "smoke"))
        records.append(Record(job.identity, "done", metrics=job.metrics, curves=job.curves))
    figure = training(records)
    drawn = [[line.get_ydata().tolist() for line in ax.get_lines()] for ax in figure.axes]
    keys = [["train_loss"], ["train_accuracy", "test_accuracy"], ["nfe_forward", "nfe_backward"]]
    rows = reversed(records)  # by name, the last one first
    assert drawn == [
        [list(r.curves[key].y) for key in panel if key in r.curves] for r in rows for panel in keys
    ]
    assert all(drawn[0] + drawn[1] + drawn[2])
    assert training([]) is None


def test_claims_are_well_formed_and_unique() -> None:
    ids = [claim.id for claim in load_claims() if claim.paper == "lecture"]
    assert len(ids) == len(set(ids))
    assert {"002.euler_order", "002.rk4_100x", "002.dopri5_stiff", "002.mnist"} <= set(ids)


def test_declaration_needs_no_torch() -> None:
    code = "import sys, replications.lecture.experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
