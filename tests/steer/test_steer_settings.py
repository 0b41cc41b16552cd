"""STEER's b against the authors' code, whose training solves last at least 0.25 whatever T is."""

import pytest

from bench.claim import load_claims
from bench.registry import registry
from replications.steer.settings import METHODS, ON_POINTS, published_b


def test_b_is_what_leaves_a_quarter_at_the_published_end_times() -> None:
    for T, shortest, longest in ((0.5, 0.25, 0.75), (1.0, 0.25, 1.75)):
        b = published_b(T)
        assert ((1 - b) * T, (1 + b) * T) == pytest.approx((shortest, longest))


@pytest.mark.parametrize(
    ("experiment", "data", "b"),
    [("toy", "pinwheel", 0.5), ("tabular", "miniboone", 0.75), ("images", "mnist", 0.75)],
)
def test_every_experiment_takes_the_b_of_its_kind_of_data(experiment: str, data: str, b: float) -> None:
    found = registry()[f"steer.{experiment}"]
    declared = {m: found.configure(f"{data}_{m}", "paper").b for m in METHODS}
    assert declared == {"ffjord": 0.0, "steer": b, "rnode": 0.0, "rnode_steer": b}
    assert METHODS.keys() == ON_POINTS.keys()


def test_the_other_b_on_points_are_not_the_published_one() -> None:
    toy = registry()["steer.toy"]
    others = {v: toy.configure(v, "paper").b for v in toy.variants if "_b" in v}
    assert others == {"pinwheel_steer_b0.25": 0.25, "pinwheel_steer_b0.75": 0.75}


def test_no_short_training_tells_whether_steer_loses_performance() -> None:
    tiers = {
        claim.id: claim.tier
        for claim in load_claims()
        if claim.paper == "steer" and claim.id.endswith(".loss")
    }
    assert len(tiers) == 6
    assert set(tiers.values()) == {"paper"}
