"""What the declarations hold of published settings that a slip would change unseen."""

import dataclasses
from pathlib import Path

import pytest
from support import loaded, perform

from bench.identity import identify, why_stale
from bench.registry import registry
from replications.ffjord.experiments import DENSITY_INTEGRAL
from replications.ffjord.experiments import TABULAR as TABLES
from replications.ffjord.experiments import TOY as FFJORD
from replications.flows.density import evaluate as measured
from replications.flows.density.integration import DEFAULT
from replications.ot_flow.experiments import MNIST as OT_FLOW_MNIST
from replications.ot_flow.experiments import TOY as OT_FLOW
from replications.ot_flow.experiments.mnist.run import autoencoder_settings
from replications.ot_flow.training import in_periods
from replications.steer.experiments import TOY as STEER
from replications.tasks.density2d.evaluation import VALIDATED, fresh
from replications.tasks.tables.evaluation import settings as of_tables


def test_the_end_time_moves_only_where_a_variant_says_so() -> None:
    """FFJORD's and STEER's code detach it from the solve: it is a parameter there, but never moves."""
    learned = {
        f"{name}/{variant}"
        for name, experiment in registry().items()
        for variant in experiment.variants
        for tier in experiment.tiers
        if experiment.offers(variant, tier) and getattr(experiment.configure(variant, tier), "learn_T", False)
    }
    assert learned == {"ffjord.toy/8gaussians_learned_T", "ffjord.density_integral/learned_T"}


def test_records_of_a_learned_end_time_are_stale_and_those_of_a_given_one_are_not() -> None:
    for name, variant, learned in (
        ("ffjord.toy", "moons", True),
        ("ffjord.density_integral", "fixed_T", False),
        ("ot_flow.tabular", "miniboone_heldout_ffjord", True),
        ("rnode.toy", "pinwheel_ffjord", False),
    ):
        today = identify(registry()[name], variant, "cpu", 0)
        earlier = dataclasses.replace(today, config={**today.config, "learn_T": learned})
        assert why_stale(earlier) == ("learn_T: true, today false" if learned else None), name


@pytest.mark.parametrize(("variant", "moved"), [("8gaussians", False), ("8gaussians_learned_T", True)])
def test_a_training_moves_the_end_time_or_leaves_it(variant: str, moved: bool, tmp_path: Path) -> None:
    end = perform(FFJORD, variant, tmp_path, iterations=3, learning_rate=0.1).metrics.get("end_time")
    assert (end is not None and abs(end.value - 0.5) > 0.01) == moved


# -- which weights are kept -----------------------------------------------------------------------------------------


def test_weights_are_chosen_by_validations_where_the_source_chooses() -> None:
    assert of_tables(TABLES.configure("miniboone", "paper")).keeps_best
    assert in_periods(OT_FLOW.configure("moons", "paper")).keeps_best
    latent = OT_FLOW_MNIST.configure("standardised", "paper")
    assert in_periods(latent).keeps_best
    assert autoencoder_settings(latent, 10).keeps_best
    for experiment, variant in ((FFJORD, "moons"), (DENSITY_INTEGRAL, "published")):
        assert experiment.configure(variant, "paper").validate_every == 100
    assert STEER.configure("pinwheel_steer", "paper").validate_every == 0  # declared as a departure


@pytest.mark.parametrize("every", [1, 0])
def test_the_weights_that_are_tested_are_those_with_the_lowest_validation(every: int, tmp_path: Path) -> None:
    """At a rate of 1 a training gets worse after its first steps; no number of the test takes part in the choice."""
    run = perform(
        FFJORD, "pinwheel", tmp_path, iterations=6, learning_rate=1.0, validate_every=every, test_points=400
    )
    flow, law = loaded(run), fresh(run, "pinwheel")
    found = measured.likelihood(flow, law.validation(VALIDATED).points, DEFAULT).nll
    if not every:
        assert "validation" not in run.curves
        return
    values = run.curves["validation"].y
    assert min(values) < values[-1] - 0.05
    assert found == pytest.approx(min(values), abs=1e-4)
    tested = measured.likelihood(flow, law.test(400).points, DEFAULT).nll
    assert run.metrics["nll"].value == pytest.approx(tested, abs=1e-4)
    points = {tuple(x) for x in law.validation(VALIDATED).points.tolist()}
    assert not points & {tuple(x) for x in law.test(400).points.tolist()}
