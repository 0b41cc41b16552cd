"""What departs from a published setting: declared, listed on the paper's page, and no claim's own setting."""

import re
from pathlib import Path

import pytest

import replications
from bench.claim import load_claims
from bench.experiment import Experiment
from bench.registry import registry

PAGES = Path(next(iter(replications.__path__)))
PAPERS = sorted({experiment.paper for experiment in registry().values()} & {p.name for p in PAGES.iterdir()})


def entries(experiments: list[Experiment]) -> list[str]:
    """Return the list of departures as a page has it."""
    return [
        f"- `{e.name}`{''.join(f', `{v}`' for v in d.variants if v != '*')}: {d.what}."
        for e in experiments
        for d in e.departures
    ]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_page_of_a_paper_lists_the_departures_that_its_experiments_declare(paper: str) -> None:
    declared = entries([e for e in registry().values() if e.paper == paper])
    text = (PAGES / paper / "README.md").read_text()
    section = re.search(r"^## Departures\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if section is None:
        assert not declared, "\n".join(["## Departures", *declared])
        return
    listed = [" ".join(part.split()) for part in re.split(r"^(?=- )", section[1], flags=re.MULTILINE)[1:]]
    assert listed == declared


def test_the_published_tier_of_an_experiment_is_what_its_config_declares() -> None:
    """But for those that say so: else nothing of them could be at its own setting."""
    changed = {
        name
        for name, experiment in registry().items()
        if not name.startswith("fake.") and experiment.tiers.get("paper")
    }
    assert changed == {"neural_ode.scaling"}


CHECKED = {
    "blog.theory": {"sign_flip"},
    "ffjord.density_integral": {"published"},
    "ffjord.tabular": {"power", "gas", "hepmass", "miniboone", "bsds300"},
    "ffjord.toy": {"8gaussians"},
    "lecture.inversion": {"dropout", "relu"},
    "lecture.mnist": {"mnist"},
    "ot_flow.published_weights": {"miniboone_test"},
    "ot_flow.tabular": {f"{name}_ot_flow" for name in ("power", "gas", "hepmass", "miniboone", "bsds300")},
    "ot_flow.trace": {"d43", "d63", "d784"},
}
"""Trainings and measurements that were compared with the published configurations, line by line."""


def test_no_claim_is_at_its_own_setting_but_by_what_was_compared_with_the_source() -> None:
    can_be: dict[str, set[str]] = {}
    for claim in load_claims():
        if not claim.experiment or claim.label or claim.source == "derived":
            continue
        experiment = registry()[claim.experiment]
        for variant in {claim.variant, claim.against.get("variant", claim.variant)}:
            if any(experiment.at_published_setting(variant, tier) for tier in ("cpu", "gpu", "paper")):
                can_be.setdefault(claim.experiment, set()).add(variant)
    assert can_be == CHECKED
