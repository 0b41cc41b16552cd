"""Trainings until a goal: their budgets, when they are validated, and the two experiments made of them."""

from typing import Any

import pytest

from bench.claim import load_claims
from bench.errors import UserError
from bench.identity import migrated, plain
from replications.blog.experiments.fm_vs_cnf.declaration import FM_VS_CNF
from replications.flow_matching.convergence.declaration import ConvergenceConfig
from replications.flow_matching.experiments.claims.declaration import CLAIMS

VARIANTS = ("cnf", "fm", "fm_8000")


def test_the_schedule_is_dense_at_first_then_geometric_and_ends_with_the_budget() -> None:
    of = {variant: FM_VS_CNF.configure(variant, "cpu").schedule for variant in VARIANTS}
    assert of["fm_8000"][:8] == (20, 40, 60, 80, 100, 120, 160, 200)
    assert [schedule[-1] for schedule in of.values()] == [2000, 3000, 8000]
    assert len(of["fm_8000"]) < 30
    for short in ("cnf", "fm"):
        assert set(of[short][:-1]) <= set(of["fm_8000"])
    assert ConvergenceConfig(iterations=5, validate_every=20).schedule == (5,)
    assert ConvergenceConfig(iterations=50, validate_every=20, spacing=1.0).schedule == (20, 40, 50)


def test_budgets_of_the_tiers() -> None:
    budgets = {
        (variant, tier): FM_VS_CNF.configure(variant, tier).budget
        for variant in VARIANTS
        for tier in ("cpu", "gpu", "paper")
    }
    assert {budgets["cnf", t] for t in ("gpu", "paper")} == {8000}
    assert budgets["cnf", "cpu"] == 2000
    assert {budgets["fm", t] for t in ("cpu", "gpu", "paper")} == {3000}
    assert {budgets["fm_8000", t] for t in ("cpu", "gpu", "paper")} == {8000}


def test_a_share_is_of_the_iterations_and_that_of_the_cnf_is_the_cnfs_alone() -> None:
    shares = {"iterations": 1000, "share": 0.5, "cnf_share": 0.1}
    assert ConvergenceConfig(method="cnf", **shares).budget == 50  # type: ignore[arg-type]
    assert ConvergenceConfig(method="fm-ot", **shares).budget == 500  # type: ignore[arg-type]


def test_both_experiments_train_one_network_on_their_own_sets() -> None:
    claims = {name: CLAIMS.configure(name, "paper") for name in CLAIMS.variants}
    assert {(c.data, c.method) for c in claims.values()} == {
        (data, method) for data in ("8gaussians", "checkerboard") for method in ("cnf", "fm-ot", "fm-vp")
    }
    blog = {FM_VS_CNF.configure(name, "paper").data for name in FM_VS_CNF.variants}
    assert blog == {"moons"}
    assert FM_VS_CNF.configure("fm", "paper").hidden == (128, 128, 128)
    assert set(FM_VS_CNF.metrics) - set(CLAIMS.metrics) == {"inception_score"}


def test_few_steps_of_two_paths_are_compared_above_the_noise_of_their_points() -> None:
    compared = [c for c in load_claims() if c.id.startswith("flow_matching.claims.short.")]
    assert len(compared) == 2
    for claim in compared:
        assert claim.difference
        assert claim.metric.startswith("debiased_wasserstein2[")
        for variant in (claim.variant, claim.against["variant"]):
            assert CLAIMS.configure(variant, claim.tier).w2_sets == 10


@pytest.mark.parametrize("experiment", [FM_VS_CNF, CLAIMS])
def test_a_record_of_before_the_renaming_is_todays(experiment: Any) -> None:
    today = plain(experiment.configure(next(iter(experiment.variants)), "cpu"))
    old = {("yardsticks" if key == "reference_sets" else key): value for key, value in today.items()}
    assert "yardsticks" in old
    assert migrated(experiment, old) == (today, None)


@pytest.mark.parametrize("overrides", [{"share": 0.0}, {"cnf_share": 1.5}, {"compared": 3}, {"scored": 100}])
def test_settings_out_of_range_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(overrides))):
        ConvergenceConfig(**overrides)
