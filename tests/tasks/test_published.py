"""What the declarations hold of published settings that a slip would change unseen."""

import dataclasses
from pathlib import Path

import pytest
from support import perform

from bench.identity import identify, why_stale
from bench.registry import registry
from replications.ffjord.experiments import TOY as FFJORD


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
