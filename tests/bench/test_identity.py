"""Ids, seeds, currency: what a change of a declaration does to records, and what it does not."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from bench.errors import UserError
from bench.experiment import Change, Experiment
from bench.identity import Identity, canonical, identify, is_current, why_stale
from bench.record import Measured, Record
from bench.registry import refuse_other_variants, registry
from bench.settings import read_setting, read_settings, replace
from bench.verdict import current


@dataclass(frozen=True)
class Solve:
    rtol: float = 1e-5
    method: str = "dopri5"


@dataclass(frozen=True)
class Before:
    data: str = "moons"
    spread: float = 0.0
    steered: bool = False
    rate: float = 0.1
    solve: Solve = Solve()


@dataclass(frozen=True)
class After:
    """One field renamed, one removed, one added with a default that does as before."""

    data: str = "moons"
    b: float = 0.0
    rate: float = 0.1
    warmup: int = 0
    solve: Solve = Solve()


VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "wide": {"spread": 0.5}}
BEFORE = Experiment(
    "test.moving", "Moves", Before(), "m:f", VARIANTS, {"smoke": {}, "cpu": {"rate": 0.2}}, ("nll",),
    seeded_by=("data",),
)  # fmt: skip


def after(**changes: Any) -> Experiment:
    fields = {f.name: getattr(BEFORE, f.name) for f in dataclasses.fields(BEFORE)}
    fields |= {
        "config": After(), "variants": {"plain": {}, "wide": {"b": 0.5}}, "renamed": {"spread": "b"},
        "removed": {"steered": False},
    }  # fmt: skip
    return Experiment(**(fields | changes))


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch):
    """Return a function that declares an experiment in place of the one of its name."""

    def declare(experiment: Experiment) -> None:
        known = {experiment.name: experiment}
        for module in ("bench.identity", "bench.registry"):
            monkeypatch.setattr(f"{module}.registry", lambda: known)

    return declare


def old(variant: str = "plain", seed: int = 0, overrides: dict[str, Any] | None = None) -> Identity:
    return identify(BEFORE, variant, "cpu", seed, overrides)


def test_fields_added_renamed_and_removed_and_new_variants_orphan_nothing(declared) -> None:
    declared(after())
    assert [why_stale(old(variant)) for variant in VARIANTS] == [None, None]
    more = {"plain": {}, "wide": {"b": 0.5}, "third": {"warmup": 9}}
    declared(after(variants=more))
    assert all(is_current(old(variant)) for variant in VARIANTS)
    declared(after(variants={"plain": {}, "wide": {"b": 0.5, "warmup": 0}}))  # a key that says the default
    assert all(is_current(old(variant)) for variant in VARIANTS)
    kept = current([Record(old(v), "done", metrics={"nll": Measured(1.0, "nats", "p")}) for v in VARIANTS])
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"config": After(rate=0.3), "tiers": {"cpu": {}}}, "rate: 0.2, today 0.3"),
        ({"variants": {"plain": {"warmup": 5}}}, "warmup: 0, today 5"),
        ({"removed": {"steered": True}}, "steered = false is no longer there; today it is as for true"),
        ({"removed": {}}, "steered is no longer declared"),
        ({"renamed": {}, "removed": {"steered": False}}, "spread is no longer declared"),
        ({"variants": {"wide": {"b": 0.5}}}, "there is no variant plain any more"),
        ({"tiers": {"smoke": {}}}, "it is not offered at tier cpu any more"),
        ({"changes": (Change(2, "nfe of midpoint"),)}, "version 2: nfe of midpoint"),
        ({"changes": (Change(2, "x", ("wide",)), Change(3, "y", ("pl*",)))}, "version 3: y"),
    ],
)
def test_what_changes_a_run_makes_its_records_stale_and_says_why(declared, changed, reason) -> None:
    declared(after(**changed))
    assert why_stale(old()) == reason


def test_a_field_that_is_gone_may_have_held_no_value(declared) -> None:
    declared(after())
    made = old()
    empty = dataclasses.replace(made, config={**made.config, "steered": None})
    assert why_stale(empty) == "steered = null is no longer there; today it is as for false"
    declared(after(removed={"steered": None}))
    assert is_current(empty)
    assert not is_current(made)


def test_a_change_spares_the_variants_it_does_not_name_and_later_records(declared) -> None:
    experiment = after(changes=(Change(2, "x", ("wide",)),))
    declared(experiment)
    assert is_current(old("plain"))
    assert not is_current(old("wide"))
    assert is_current(identify(experiment, "wide", "cpu", 0))
    declared(after())
    assert why_stale(identify(experiment, "wide", "cpu", 0)) == "it is of version 2, today's is 1"
    declared(dataclasses.replace(experiment, name="test.other"))
    assert why_stale(old()) == "there is no experiment test.moving any more"


def test_an_overridden_run_is_current_under_its_own_settings(declared) -> None:
    declared(after())
    run = old("wide", overrides={"spread": 0.25, "solve.rtol": 1e-3})
    assert is_current(run)
    assert run.overrides == {"spread": 0.25, "solve.rtol": 0.001}
    assert run.label == "test.moving/wide [solve.rtol=0.001, spread=0.25] cpu seed 0"
    assert current([Record(run, "done")]) == []  # it settles no claim
    assert old("plain", overrides={"rate": 0.2}).overrides == {}  # the declared value is no override


def test_ids_follow_from_what_is_run_and_from_nothing_else() -> None:
    plain = old()
    assert plain.id == old().id
    assert plain.id == identify(dataclasses.replace(BEFORE, seeded_by=(), task="t"), "plain", "cpu", 0).id
    others = [old("wide"), old(seed=1), identify(BEFORE, "plain", "smoke", 0), old(overrides={"rate": 0.3})]
    assert len({plain.id, *(o.id for o in others)}) == 5


def test_streams_follow_from_task_data_and_seed_alone() -> None:
    seed = old().stream_seed("data")
    assert seed == old("wide", overrides={"rate": 9.0, "solve.rtol": 0.1}).stream_seed("data")
    assert seed == identify(BEFORE, "plain", "smoke", 0).stream_seed("data")
    other_name = dataclasses.replace(BEFORE, name="test.twin", task="test.moving")
    assert seed == identify(other_name, "plain", "cpu", 0).stream_seed("data")
    assert 0 <= seed < 2**63
    different = [
        old(seed=1).stream_seed("data"), old().stream_seed("probes"),
        old(overrides={"data": "rings"}).stream_seed("data"),
        identify(dataclasses.replace(BEFORE, task="other"), "plain", "cpu", 0).stream_seed("data"),
    ]  # fmt: skip
    assert len({seed, *different}) == 5


def other_value(value: Any) -> Any:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case tuple():
            return (*value, *value[-1:]) or ("x",)
    raise AssertionError(f"no other value for {value!r}")


@pytest.mark.parametrize("name", sorted(registry()))
def test_no_setting_but_the_datas_own_moves_the_streams_of_an_experiment(name: str) -> None:
    """Every experiment: an overridden setting leaves data, initial weights and probes what they are."""
    experiment = registry()[name]
    tier = next(iter(experiment.tiers))
    variant = next(v for v in experiment.variants if experiment.offers(v, tier))
    base = identify(experiment, variant, tier, 0)
    assert base.seeded_by["by"].keys() == set(experiment.seeded_by)
    moved = []
    for key, value in ((k, v) for k, v in vars(experiment.configure(variant, tier)).items()):
        settings = replace_config(base.config, key, other_value(value))
        run = dataclasses.replace(base, config=settings, seeded_by=seeding_of(experiment, settings))
        if run.stream_seed("s") != base.stream_seed("s"):
            moved.append(key)
    assert sorted(moved) == sorted(experiment.seeded_by)
    assert identify(experiment, variant, tier, 1).stream_seed("s") != base.stream_seed("s")
    for other in (v for v in experiment.variants if experiment.offers(v, tier)):
        same = all(
            identify(experiment, other, tier, 0).config[key] == base.config[key]
            for key in experiment.seeded_by
        )
        assert (identify(experiment, other, tier, 0).stream_seed("s") == base.stream_seed("s")) == same


def replace_config(config: Any, key: str, value: Any) -> dict[str, Any]:
    return {**config, key: list(value) if isinstance(value, tuple) else value}


def seeding_of(experiment: Experiment, config: Any) -> dict[str, Any]:
    from bench.identity import seeding

    return seeding(experiment, config, 0)


def test_settings_are_typed_and_nested() -> None:
    assert replace(Before(), {"spread": 1}, "t").spread == 1.0
    assert replace(Before(), {"solve.method": "rk4", "solve.rtol": 0.1}, "t").solve == Solve(0.1, "rk4")
    assert replace(Before(), {"solve": {"rtol": 0.5}}, "t").solve == Solve(0.5)
    for bad, message in [
        ({"spred": 1.0}, "unknown config key 'spred'; did you mean spread"),
        ({"spread": "wide"}, "'spread' wants float, got str 'wide'"),
        ({"rate": float("inf")}, "wants a finite number"),
        ({"solve.speed": 1}, "unknown config key 'speed'"),
        ({"rate.x": 1}, "'rate' has no keys of its own"),
    ]:
        with pytest.raises(UserError, match=message):
            replace(Before(), bad, "t")


def test_a_setting_is_read_as_toml_or_as_a_bare_word() -> None:
    texts = ["b=0.3", "n = 4", "name=rk4", "on=true", "dims=[1, 2]", 'text="a b"']
    assert dict(map(read_setting, texts)) == {
        "b": 0.3, "n": 4, "name": "rk4", "on": True, "dims": [1, 2], "text": "a b",
    }  # fmt: skip
    for bad in ("b", "=3", "b="):
        with pytest.raises(UserError, match="wants key=value"):
            read_setting(bad)


@pytest.mark.parametrize("bad", ["b=0.3\nn = 4", "b=0.3\n[more]", "b.=3", ".b=3", "solve..rtol=1"])
def test_a_setting_is_one_key_and_one_value(bad: str) -> None:
    with pytest.raises(UserError, match="wants one key=value"):
        read_setting(bad)


def test_a_key_is_set_once() -> None:
    assert read_settings(["a=1", "b=2"]) == {"a": 1, "b": 2}
    with pytest.raises(UserError, match="gives 'a' twice"):
        read_settings(["a=1", "b=2", "a = 1"])


def test_what_would_make_another_variant_is_refused_by_its_name() -> None:
    for overrides in ({"spread": 0.5}, {"spread": 0.5, "rate": 9.0}):
        with pytest.raises(
            UserError, match=r"test\.moving/plain: .*would make it test\.moving/wide; run that"
        ):
            refuse_other_variants(BEFORE, "plain", "cpu", overrides)
    for variant, overrides in (("plain", {"spread": 0.4}), ("wide", {"rate": 9.0}), ("plain", {"rate": 9.0})):
        refuse_other_variants(BEFORE, variant, "cpu", overrides)
    with pytest.raises(UserError, match=r"would make it test\.moving/plain"):
        refuse_other_variants(BEFORE, "wide", "cpu", {"spread": 0.0})


def test_settings_that_change_nothing_make_no_other_variant() -> None:
    """Set to their own values, they differ from another variant in no more keys than were given."""
    refuse_other_variants(BEFORE, "wide", "cpu", {"spread": 0.5, "rate": 0.2})
    refuse_other_variants(BEFORE, "plain", "cpu", {"spread": 0.0, "rate": 0.2, "data": "moons"})


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"seeded_by": ("size",)}, "'size' is no config key"),
        ({"renamed": {"old": "missing"}}, "'missing' is no config key"),
        ({"removed": {"rate": 1.0}}, "'rate' is declared as gone"),
        ({"changes": (Change(3, "x"),)}, "must have the versions 2, 3"),
    ],
)
def test_a_history_that_can_not_be_is_refused(history: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(BEFORE, **history)


def test_the_order_of_keys_changes_no_id() -> None:
    from bench.identity import canonical, digest

    assert canonical({"b": 1, "a": [1.5, "x"]}) == '{"a":[1.5,"x"],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_a_change_holds_for_each_of_the_variants_that_it_names(declared) -> None:
    declared(after(changes=(Change(2, "x", ("wide", "third")),)))
    assert why_stale(old("wide")) == "version 2: x"
    assert is_current(old("plain"))


def test_records_of_other_data_are_stale_and_those_of_the_same_are_not(declared) -> None:
    of_images = identify(registry()["lecture.mnist"], "mnist", "cpu", 0)
    path, *_ = sorted(of_images.data)
    assert is_current(of_images)
    other = dataclasses.replace(of_images, data={**of_images.data, path: "0" * 64})
    assert why_stale(other) == f"other data: {path}"
    declared(after())
    assert why_stale(dataclasses.replace(old(), data={"a": "1", "b": "2"})) == "other data: a, b"


def test_seeds_of_streams_have_63_bits_and_nothing_without_a_value_is_hashed() -> None:
    seeds = [old(seed=seed).stream_seed(stream) for seed in range(8) for stream in ("a", "b", "c", "d")]
    assert len(set(seeds)) == 32
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"rate": float("nan")})
