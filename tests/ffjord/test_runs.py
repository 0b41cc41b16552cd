"""Small runs of the experiments on points and tables, of all three papers."""

import os
from pathlib import Path

import pytest
import torch
from support import loaded, perform, recorded, untimed

from bench.errors import UserError
from bench.execution.plan import plan
from replications.blog.experiments import CRESCENT
from replications.blog.experiments.crescent import figures as crescent_figures
from replications.ffjord.experiments import TABULAR, TOY
from replications.rnode.experiments import TABULAR as RNODE_TABULAR
from replications.rnode.experiments import TOY as RNODE_TOY
from replications.steer.experiments import TABULAR as STEER_TABULAR
from replications.steer.experiments import TOY as STEER_TOY
from replications.tasks import figures
from replications.tasks.tables.evaluation import settings

needs_rows = pytest.mark.skipif(
    "CNF_BENCH_DATA" not in os.environ, reason="CNF_BENCH_DATA names no folder with MINIBOONE's rows"
)


def test_a_toy_repeats_for_a_seed_changes_with_it_and_is_loaded_again(tmp_path: Path) -> None:
    run = perform(TOY, "moons", tmp_path)
    assert untimed(run) == untimed(perform(TOY, "moons", tmp_path / "again"))
    assert untimed(run) != untimed(perform(TOY, "moons", tmp_path / "other", seed=1))
    model = loaded(run)
    x = torch.zeros(1, 2)
    assert torch.isfinite(model.log_prob(x)).all()
    assert model.sample(3, torch.Generator().manual_seed(0)).shape == (3, 2)


def test_methods_are_paired_and_differ_where_they_should(tmp_path: Path) -> None:
    """First losses: same points and weights, so RNODE adds penalties and STEER another end to the same number."""
    runs = {
        m: perform(STEER_TOY, f"pinwheel_{m}", tmp_path) for m in ("ffjord", "steer", "rnode", "rnode_steer")
    }
    first = {m: run.curves["loss"].y[0] for m, run in runs.items()}
    assert len(set(first.values())) == 4
    assert first["ffjord"] < first["rnode"] < first["ffjord"] + 0.1
    assert {m for m, run in runs.items() if "overhead[step]" in run.metrics} == {
        "steer",
        "rnode",
        "rnode_steer",
    }
    plain = perform(RNODE_TOY, "pinwheel_ffjord", tmp_path)
    assert "overhead[step]" not in plain.metrics
    assert "end_time" not in plain.metrics  # given, as RNODE trains


def test_fixed_steps_in_training_are_tested_with_both_solvers(tmp_path: Path) -> None:
    run = perform(RNODE_TOY, "8gaussians_rnode_rk4", tmp_path)
    assert run.metrics["nfe_forward"].value == 16
    assert "rk4-4" in run.metrics["nll[training solver]"].protocol
    assert "dopri5" in run.metrics["nll"].protocol


def test_the_crescent_keeps_its_paths_and_is_drawn(tmp_path: Path) -> None:
    run = perform(CRESCENT, "rademacher", tmp_path)
    records = [recorded(run)]
    paths = records[0].array("paths")
    assert paths.shape == (21, 150, 2)
    base = torch.randn(150, 2, generator=run.torch_generator("paths"))
    assert torch.equal(torch.from_numpy(paths[0]), base)
    assert len(crescent_figures.samples(records).axes) == 4
    assert len(crescent_figures.transport(records).axes) == 4
    assert len(figures.densities(records).axes) == 1
    assert len(figures.training(records).axes) == 3
    for draw in (crescent_figures.samples, crescent_figures.transport, figures.densities, figures.training):
        assert draw([]) is None


@needs_rows
def test_a_table_runs_for_every_method_and_stops_early(tmp_path: Path) -> None:
    for experiment, prefix in ((TABULAR, ""), (RNODE_TABULAR, "_rnode"), (STEER_TABULAR, "_rnode_steer")):
        run = perform(experiment, f"miniboone_heldout{prefix}", tmp_path)
        assert run.metrics["parameters[miniboone]"].value == 820_613
        assert run.metrics["nll"].n == 50
    stopped = perform(
        TABULAR, "miniboone_heldout", tmp_path, iterations=6, learning_rate=0.0, validate_every=1, patience=2
    )
    assert len(stopped.curves["loss"].x) == 3  # the first validation is the best


def test_training_rows_that_are_not_the_published_ones_stay_below_tier_gpu() -> None:
    assert [job.identity.variant for job in plan(["ffjord.tabular"], "cpu", [0])] == ["miniboone_heldout"]
    assert "miniboone_heldout" not in {job.identity.variant for job in plan(["ffjord.tabular"], "paper", [0])}
    with pytest.raises(UserError, match="offered at tier paper"):
        plan(["ffjord.tabular/miniboone_heldout"], "paper", [0])


def test_the_published_schedule_of_the_tables() -> None:
    published = settings(TABULAR.configure("miniboone", "paper"))
    rates = [published.lr_at(0, stalest) for stalest in (0, 10, 11, 20, 21, 30)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert (published.patience, published.validate_every) == (31, 200)
