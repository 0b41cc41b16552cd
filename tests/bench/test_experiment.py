"""Declarations: layers of config, selection, overrides."""

import re
import sys
from dataclasses import dataclass

import pytest

from bench import registry as registry_module
from bench.cli.main import main
from bench.errors import UserError
from bench.execution.plan import plan
from bench.experiment import Experiment
from bench.registry import read_overrides, registry, select


@dataclass(frozen=True)
class Config:
    steps: int = 10
    rate: float = 0.1
    widths: tuple[int, ...] = (4,)
    name: str = "a"


def declare(**changes):
    fields = {
        "name": "p.e",
        "title": "t",
        "config": Config(),
        "run": "m:f",
        "variants": {"v": {"name": "b"}},
        "tiers": {"smoke": {"steps": 1}, "cpu": {}},
        "metrics": ("nfe",),
    }
    return Experiment(**(fields | changes))


def test_layers_override_in_order():
    config = declare().configure("v", "smoke", {"rate": 1})
    assert config == Config(steps=1, rate=1.0, name="b")
    assert isinstance(config.rate, float)


def test_a_list_becomes_a_tuple():
    assert declare().configure("v", "cpu", {"widths": [1, 2]}).widths == (1, 2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"step": 1}, "unknown config key 'step'; did you mean steps"),
        ({"steps": "many"}, "wants int, got str"),
        ({"steps": 1.5}, "wants int, got float"),
        ({"steps": True}, "wants int, got bool"),
    ],
)
def test_a_bad_override_names_the_fault(overrides, message):
    with pytest.raises(UserError, match=message):
        declare().configure("v", "cpu", overrides)


def test_a_declaration_with_an_unknown_key_is_refused_at_once():
    with pytest.raises(UserError, match="unknown config key"):
        declare(variants={"v": {"nope": 1}})
    with pytest.raises(UserError, match="unknown tier"):
        declare(tiers={"huge": {}})


def test_selection_by_pattern(fake_paper):
    assert len(select(["fake.*"])) == len(registry()["fake.act"].variants) + 1
    assert [v for _, v in select(["fake.act/d*"])] == ["double", "diverges", "dies"]
    with pytest.raises(UserError, match=r"did you mean fake\.act"):
        select(["fake.art"])


def test_the_plan_goes_seed_by_seed(fake_paper):
    jobs = plan(["fake.act/plain", "fake.act/double"], "smoke", [0, 1])
    assert [(j.identity.seed, j.identity.variant) for j in jobs] == [
        (0, "plain"),
        (0, "double"),
        (1, "plain"),
        (1, "double"),
    ]
    with pytest.raises(UserError, match="offered at tier paper"):
        plan(["fake.*"], "paper", [0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "not valid TOML"),
        ('["fake.nope"]\nfactor = 1.0', "no experiment 'fake.nope'"),
        ('"fake.act" = 3', "must be a table"),
    ],
)
def test_a_bad_override_file_names_the_fault(fake_paper, tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_overrides(path)


def test_every_declared_experiment_is_whole():
    for experiment in registry().values():
        assert experiment.metrics
        assert {"smoke", "cpu"} <= set(experiment.tiers)
        assert experiment.title


def test_a_variant_may_be_offered_at_some_tiers_only():
    experiment = declare(variants={"v": {"name": "b"}, "w": {}}, offered={"w": ("cpu",)})
    assert experiment.configure("w", "cpu") == Config()
    with pytest.raises(UserError, match=r"p\.e/w is not offered at tier smoke; it is at cpu"):
        experiment.configure("w", "smoke")
    with pytest.raises(UserError, match=r"p\.e is not offered at tier paper; it is at smoke, cpu"):
        experiment.configure("v", "paper")
    with pytest.raises(UserError, match="names 'u', which is no variant"):
        declare(offered={"u": ("cpu",)})
    with pytest.raises(UserError, match="unknown tier 'night'"):
        declare(offered={"v": ("night",)})
    with pytest.raises(UserError, match="unknown tier 'night'"):
        declare(captions={"night": "late"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("raise ValueError('planted')", "cannot be imported: ValueError: planted"),
        ("def :", "cannot be imported: SyntaxError"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit"),
        ("x = 1", "has no tuple EXPERIMENTS"),
        ("EXPERIMENTS = (1,)", "has no tuple EXPERIMENTS"),
        ("EXPERIMENTS = ()\nBUILDERS = (3,)", "BUILDERS are no texts"),
        ("from fake_paper.experiments import EXPERIMENTS", "'fake' and 'odd' both declare fake.act"),
    ],
)
def test_a_broken_paper_is_left_out_named_and_stops_no_other(
    fake_paper, tmp_path, monkeypatch, capsys, text, fault
):
    info = tmp_path / "odd-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[cnf_bench.papers]\nodd = odd_paper\n")
    (tmp_path / "odd_paper.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_paper", raising=False)
    registry_module.forget()
    assert registry_module.left_out() == ()
    assert "fake.act" in registry_module.registry()
    assert "odd" not in registry_module.papers()
    (line,) = registry_module.left_out()
    assert fault in line
    assert "odd" in line
    assert "\n" not in line
    with pytest.raises(UserError, match=re.escape(line)):
        registry_module.select(["odd.*"])
    monkeypatch.setattr(sys, "argv", ["cnf-bench", "list"])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr()
    assert end.value.code == 3
    assert "fake.act" in shown.out
    assert shown.err == f"skipped: {line}\n"


def test_a_fault_of_what_is_asked_for_counts_more_than_a_broken_paper(fake_paper, monkeypatch, capsys):
    monkeypatch.setattr("bench.cli.main.left_out", lambda: ("paper 'odd' is broken",))
    monkeypatch.setattr(sys, "argv", ["cnf-bench", "show", "nowhere/x"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("skipped: paper 'odd' is broken\n")
