"""Claims about quality are settled from half of the published length on; others where their tier says so."""

from dataclasses import replace

import pytest

from bench.claim import Claim, find_claims
from bench.experiment import TIERS
from bench.length import LEAST, least_tier, of_quality, share
from bench.registry import registry
from bench.verdict import DECISIVE, judge_all


def claim(**changes):
    fields = {
        "id": "c", "paper": "rnode", "text": "t", "where": "w", "kind": "bound", "source": "read", "value": 0.02,
        "relation": "<=", "experiment": "rnode.toy", "variant": "8gaussians_rnode", "metric": "bits_per_dim",
        "against": {"variant": "8gaussians_ffjord"}, "difference": True,
    }  # fmt: skip
    return Claim(**(fields | changes))


def test_the_share_of_the_published_length():
    toy = registry()["rnode.toy"]
    assert share(toy, "8gaussians_rnode", "paper") == 1.0
    assert share(toy, "8gaussians_rnode", "cpu") == 300 / toy.config.iterations < LEAST
    assert (
        share(registry()["lecture.solvers"], next(iter(registry()["lecture.solvers"].variants)), "cpu") == 1.0
    )


@pytest.mark.parametrize(
    ("changes", "tier"),
    [
        ({}, "gpu"),
        ({"metric": "nfe_test", "difference": False}, "cpu"),
        ({"against": {"metric": "bits_per_dim[training solver]"}}, "cpu"),  # two solves of one network
        ({"experiment": "", "variant": "", "metric": ""}, "cpu"),
    ],
)
def test_quality_alone_needs_length(changes, tier):
    assert least_tier(claim(**changes)) == tier


def test_the_first_tier_that_is_long_enough_is_taken(monkeypatch):
    toy = registry()["rnode.toy"]
    tiers = {**toy.tiers, "gpu": {"iterations": round(LEAST * toy.config.iterations)}}
    monkeypatch.setitem(vars(toy), "tiers", tiers)
    assert least_tier(claim()) == "gpu"
    monkeypatch.setitem(vars(toy), "tiers", {**tiers, "gpu": {"iterations": 300}})
    assert least_tier(claim()) == "paper"


def test_no_claim_on_quality_is_decided_by_a_short_training(fake_paper):
    """Whatever the numbers are, each claim of quality that is judged at a tier has enough of the published length."""
    claims = [c for c in find_claims()[0] if c.experiment and of_quality(c) and not c.verdict]
    assert len(claims) > 20
    for each in claims:
        experiment, tier = registry()[each.experiment], least_tier(each)
        assert TIERS.index(tier) >= TIERS.index(each.tier)
        if experiment.offers(each.variant, tier):
            assert share(experiment, each.variant, tier) >= LEAST


def test_a_short_training_is_scaled_down_and_says_so(fake_paper, monkeypatch):
    from made_up import made

    trained = registry()["fake.train"]
    monkeypatch.setitem(vars(trained), "seeds", {"cpu": 3})
    quality = claim(
        paper="fake", experiment="fake.train", variant="sgd", metric="train_loss", against={}, difference=False,
        value=2.0,
    )  # fmt: skip
    records = [made(trained, "sgd", s, [("train_loss", 1.0 + 0.01 * s)]) for s in range(3)]
    (verdict,) = judge_all([quality], records)
    assert verdict.verdict in DECISIVE
    length = 3 * trained.configure("sgd", "cpu").iterations
    monkeypatch.setitem(vars(trained), "config", replace(trained.config, iterations=length))
    tiers = {tier: {"iterations": length // 3, **more} for tier, more in trained.tiers.items()}
    monkeypatch.setitem(vars(trained), "tiers", tiers)
    (verdict,) = judge_all([quality], records)
    assert verdict.verdict == "scaled-down"
    assert "quality is judged from 50% of the published iterations on" in verdict.reason
