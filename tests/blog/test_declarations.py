import subprocess
import sys
from importlib import resources

import pytest
from matplotlib.figure import Figure

from bench.claim import read_claims
from bench.metrics.catalogue import split_key
from bench.registry import registry, resolve
from replications.blog.experiments import EXPERIMENTS
from replications.blog.experiments.spiral.figures import spiral_loss, trajectories


@pytest.fixture(scope="module")
def claims():
    with resources.as_file(resources.files("replications.blog") / "claims.toml") as path:
        return read_claims(path, "blog")


def test_declarations_import_no_torch():
    code = "import sys, replications.blog.experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_reported_metric_is_declared_and_every_declared_one_reported(finished):
    for experiment in EXPERIMENTS:
        reported = {
            split_key(key)[0]
            for (name, _), r in finished.items()
            if name == experiment.name
            for key in r.metrics
        }
        assert reported == set(experiment.metrics), experiment.name


def test_every_claim_of_these_experiments_names_a_metric_that_a_run_reports(claims, finished):
    ours = [c for c in claims if c.experiment.startswith("blog.")]
    assert len(ours) > 15
    for claim in ours:
        prefix = "digits_" if claim.experiment == "blog.adjoint_memory" else ""
        for variant, key in (
            (claim.variant, claim.metric),
            (claim.against.get("variant", claim.variant), claim.against.get("metric", claim.metric)),
        ):
            assert key in finished[claim.experiment, prefix + variant].metrics, claim.id


def test_impossible_claims_carry_their_proof(claims):
    impossible = [c for c in claims if c.verdict == "impossible"]
    assert {c.id for c in impossible} == {"blog.exp4.cnf.is", "blog.exp4.flow_matching.is"}
    assert all("IS <= 2" in c.note and c.value > 2 for c in impossible)


def test_figures_are_drawn_from_records_and_absent_without(finished):
    for experiment in EXPERIMENTS:
        records = [record for (name, _), record in finished.items() if name == experiment.name]
        for reference in experiment.figures.values():
            draw = resolve(reference)
            assert isinstance(draw(records), Figure)
            assert draw([]) is None


def test_the_figures_of_the_spiral_draw_what_the_records_hold(finished):
    records = {variant: finished["blog.spiral", variant] for variant in ("adjoint", "checkpoint")}
    loss = spiral_loss(list(records.values())).axes[0]
    assert {line.get_label(): list(line.get_ydata()) for line in loss.get_lines()} == {
        variant: list(record.curves["loss"].y) for variant, record in records.items()
    }
    for ax, record in zip(trajectories(list(records.values())).axes, records.values(), strict=True):
        drawn = [list(line.get_ydata()) for line in ax.get_lines()]
        keys = [f"trajectory[{name}, {axis}]" for axis in "xy" for name in ("learned", "true")]
        assert drawn == [list(record.curves[key].y) for key in keys]


def test_the_experiments_are_registered():
    assert {e.name for e in EXPERIMENTS} <= set(registry())
