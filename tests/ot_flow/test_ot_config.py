"""What OT-Flow can be told, what is refused, and what its config no longer holds."""

import dataclasses
from typing import Any

import pytest

from bench.errors import UserError
from bench.experiment import Experiment
from bench.identity import migrated, plain
from replications.ot_flow.config import METHOD_FIELDS, OTFlowConfig
from replications.ot_flow.experiments import MNIST, TABULAR, TOY, WEIGHTS
from replications.ot_flow.experiments.tabular.declaration import HELD_OUT, METHODS
from replications.tasks.tables.declaration import TableConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 1}, "'layers' must be at least 2"),
        ({"own_steps": 0}, "'own_steps' must be at least 1"),
        ({"alpha_R": -1.0}, "'alpha_R' must be at least 0, got -1"),
        ({"iterations": 0}, "'iterations' must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(OTFlowConfig(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("experiment", "variant", "overrides"),
    [
        (TOY, "moons", {"steps": 0}),  # each would be looked at only after the training, or never
        (TOY, "moons", {"path_times": 1}),
        (TOY, "moons", {"redrawn": 0}),
        (TOY, "moons", {"drop": 0.0}),
        (TOY, "moons", {"compared": 39}),
        (TABULAR, f"{HELD_OUT}_ot_flow", {"steps": 0}),
        (TABULAR, f"{HELD_OUT}_ot_flow", {"drop": 0.0}),
        (TABULAR, f"{HELD_OUT}_ffjord", {"checked": 0}),
        (TABULAR, f"{HELD_OUT}_ffjord", {"method": "realnvp"}),
        (MNIST, "standardised", {"test_images": -1}),
        (MNIST, "standardised", {"periods": 0}),
        (WEIGHTS, "swissroll", {"weights": "moons"}),
        (WEIGHTS, "swissroll", {"weights_data": "mnist"}),
        (WEIGHTS, "miniboone_test", {"rows": -1}),
    ],
)
def test_a_bad_setting_is_refused_before_anything_runs(
    experiment: Experiment, variant: str, overrides: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=f"config key '{next(iter(overrides))}' (must|is)"):
        experiment.configure(variant, "smoke", overrides)


@pytest.mark.parametrize("name", ["solver", "divergence", "T", "learn_T", "kinetic", "jacobian", "hidden"])
@pytest.mark.parametrize(("experiment", "variant"), [(TOY, "moons"), (MNIST, "standardised")])
def test_what_the_method_leaves_no_choice_of_is_no_setting(
    experiment: Experiment, variant: str, name: str
) -> None:
    assert name not in plain(experiment.config)
    with pytest.raises(UserError, match=f"unknown config key '{name}'"):
        experiment.configure(variant, "smoke", {name: 1.0})


def test_a_record_with_the_fields_that_are_gone_is_still_todays_where_they_were_as_the_method_is() -> None:
    config = TOY.configure("moons", "cpu")
    today = plain(config)
    old = {**today, **METHOD_FIELDS, "hidden": [64, 64, 64]}
    assert migrated(TOY, old) == (today, None)
    _, why = migrated(TOY, {**old, "T": 2.0})
    assert why is not None
    assert "T" in why


def test_methods_of_a_table_find_what_they_read_in_one_config() -> None:
    """OT-Flow's own settings and FFJORD's and RNODE's, at the values of each method's code."""
    of = {method: TABULAR.configure(f"power_{method}", "paper") for method in METHODS}
    assert (of["ot_flow"].steps, of["ot_flow"].learning_rate, of["ot_flow"].weight_decay) == (10, 0.03, 0.0)
    published = TableConfig()
    for name in ("solver", "steps", "divergence", "learn_T", "weight_decay", "learning_rate", "plateau"):
        assert getattr(of["ffjord"], name) == getattr(published, name), name
    assert (of["ffjord"].factors, of["ffjord"].blocks, of["ffjord"].kinetic) == ((10, 10, 10), 5, 0.0)
    rnode = of["rnode"]
    assert (rnode.solver, rnode.steps, rnode.learn_T, rnode.T) == ("rk4", 50, False, 1.0)
    assert (rnode.kinetic, rnode.jacobian) == (0.01, 0.01)
