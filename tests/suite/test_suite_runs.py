"""Runs of the suite: what they record, how they end, how their settings were chosen."""

import dataclasses
import math
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support import perform, recorded, untimed

from bench.data import registry as data
from bench.errors import UserError
from bench.execution.plan import plan
from bench.execution.run import Run
from bench.experiment import Experiment
from bench.identity import Identity, identify
from bench.record import Record
from replications.suite import tuned
from replications.suite.config import SuiteConfig
from replications.suite.data import task
from replications.suite.declaration import chosen, variants
from replications.suite.experiments.density2d.declaration import DENSITY2D, SETS
from replications.suite.experiments.digits.declaration import DIGITS
from replications.suite.experiments.mixture.declaration import MIXTURE
from replications.suite.experiments.tabular.declaration import TABULAR
from replications.suite.experiments.tuning.declaration import TUNING
from replications.suite.methods import build
from replications.suite.pace import QuietTime
from replications.suite.run import memorising
from replications.suite.settings import METHODS, TUNED, YARDSTICKS
from replications.suite.training import fit, fit_for
from replications.suite.yardsticks import Gaussian
from replications.tasks.splits import at_random

OWN = """
import torch
from torch import nn

class Normal(nn.Module):
    def __init__(self, dim, generator):
        super().__init__()
        self.mean = nn.Parameter(0.1 * torch.randn(dim, generator=generator))

    def log_prob(self, x):
        return torch.distributions.Normal(self.mean, 1.0).log_prob(x).sum(-1)

    def loss(self, x, generator):
        return -self.log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n, generator):
        return self.mean + torch.randn(n, len(self.mean), generator=generator)

def build(dim, generator):
    return Normal(dim, generator)
"""


@pytest.mark.parametrize("method", ["cnf", "fm_finetuned", "spline", "truth", "mixture"])
def test_a_run_records_the_columns_of_the_table(method: str, tmp_path: Path) -> None:
    if method == "spline":
        pytest.importorskip("zuko", reason="zuko is not installed: pip install cnf-bench[peers]")
    record = recorded(perform(DENSITY2D, f"8gaussians_{method}", tmp_path))
    every = {"nll", "kl", "debiased_wasserstein2", "wasserstein2[data against data]", "mmd", "c2st"}
    every |= {"loglik_time", "sampling_time"}
    trained = {"train_time", "peak_memory", "iterations", "parameters"}
    flows = {
        "nll_error",
        "inversion_error",
        "trace_error_nll",
        "detour",
        "nfe_test",
        "nfe[sampling]",
        "nfe_forward",
    }
    assert every <= set(record.metrics)
    assert (trained <= set(record.metrics)) == (method in TUNED)
    assert (flows <= set(record.metrics)) == (method in METHODS)
    assert ("nll_error[rk4]" in record.curves) == (method in METHODS)


@pytest.mark.parametrize(
    ("experiment", "variant"),
    [
        (MIXTURE, "mixture8_fm_ot"),
        (MIXTURE, "mixture2_truth"),
        (DIGITS, "digits_gaussian"),
        (DIGITS, "digits_fm_ot"),
    ],
)
def test_the_other_suites_run(experiment: Experiment, variant: str, tmp_path: Path) -> None:
    record = recorded(perform(experiment, variant, tmp_path))
    assert ("kl" in record.metrics, "bits_per_dim" in record.metrics) == (
        experiment is MIXTURE,
        experiment is DIGITS,
    )
    assert ("nearest_in_training" in record.metrics) == (experiment is DIGITS)
    assert ("field_error" in record.metrics) == (variant == "mixture8_fm_ot")
    if variant == "mixture2_truth":
        assert record.metrics["kl"].value == 0


@pytest.mark.parametrize("name", ["miniboone_heldout", "bsds300_patches"])
def test_a_table_is_a_task(name: str, tmp_path: Path) -> None:
    if data.get(name).locate() is None:
        pytest.skip(f"data set {name} is not at hand: set CNF_BENCH_DATA")
    record = recorded(perform(TABULAR, f"{name}_gaussian", tmp_path))
    assert {"nll", "debiased_wasserstein2", "c2st"} <= set(record.metrics)


def test_digits_have_fresh_noise_in_training_and_bits_of_levels(tmp_path: Path) -> None:
    run = Run(identify(DIGITS, "digits_fm_ot", "smoke", 0), tmp_path)
    found = task(run, DIGITS.configure("digits_fm_ot", "smoke"))
    batches = found.batch(0), found.batch(0), found.batch(91)
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    tests = found.test(20, "test"), found.test(20, "test"), found.test(20, "other")
    assert torch.equal(tests[0].points, tests[1].points)
    assert not torch.equal(tests[0].points, tests[2].points)
    assert found.bits_per_dim is not None
    law = Gaussian(found.pool.points)
    bits = found.bits_per_dim(law.log_prob(tests[0].points), tests[0].points).mean().item()
    assert 1 < bits < math.log2(17)  # better than uniform levels, worse than a coin a pixel


def test_copies_of_the_training_points_are_told_from_copies_of_the_test(tmp_path: Path) -> None:
    run = Run(identify(DIGITS, "digits_fm_ot", "smoke", 0), tmp_path)
    config = DIGITS.configure("digits_fm_ot", "smoke")
    digits = task(run, config)
    train = at_random(digits.pool, 40, run.torch_generator("compared with"))
    for copies, share in ((train, 100), (digits.test(40, "test"), 0)):
        memorising(run, copies.points, digits, config)
        assert run.metrics["nearest_in_training"].value == share


def test_a_run_repeats(tmp_path: Path) -> None:
    first, again = (untimed(perform(DENSITY2D, "moons_ot_cfm", tmp_path / name)) for name in "ab")
    assert first == again


def test_methods_see_the_same_data_and_noise(tmp_path: Path) -> None:
    for method in METHODS:
        mine = identify(DENSITY2D, f"moons_{method}", "smoke", 3)
        assert mine.seeded_by == {"task": "suite", "by": {"data": "moons"}, "seed": 3}
    assert identify(TUNING, "moons_cnf", "smoke", 0).seeded_by["task"] != "suite"


def prepared(tmp_path: Path, **settings: object) -> tuple[Run, SuiteConfig]:
    config = dataclasses.replace(
        SuiteConfig(data="moons", method="cnf", batch=16, width=8, pool=40, validation_points=40), **settings
    )
    return Run(Identity("suite.density2d", "only", "smoke", 0, 1, {}, {}), tmp_path), config


def test_a_budget_of_evaluations_ends_with_the_iteration_that_spends_it(tmp_path: Path) -> None:
    run, config = prepared(tmp_path, evaluations=60)
    log = fit(run, build("cnf", 2, 8, 0.0, torch.Generator()), task(run, config), config)
    assert log.evaluations >= 60 > log.evaluations - log.nfe_forward[-1] - log.nfe_backward[-1]
    assert run.metrics["iterations"].value == len(log.losses)


def test_a_budget_of_iterations_is_kept(tmp_path: Path) -> None:
    run, config = prepared(tmp_path, iterations=3)
    assert len(fit(run, build("cnf", 2, 8, 0.0, torch.Generator()), task(run, config), config).losses) == 3


def test_a_budget_of_time_counts_the_quiet_seconds_of_the_steps(tmp_path: Path) -> None:
    run, config = prepared(tmp_path)
    quiet = Ticking()
    trial = fit_for(
        5.0, build("fm_ot", 2, 8, 0.0, torch.Generator()), task(run, config), 1e-3,
        lambda i: run.torch_generator(f"probes/{i}"), quiet,
    )  # fmt: skip
    assert trial == (6, 5)  # the first step is free, each further one takes a second and an evaluation


class Ticking(QuietTime):
    """Every step takes a second."""

    def __init__(self) -> None:
        self.total = 0.0

    def add(self, work) -> None:
        work()
        self.total += 1.0


def test_the_tuning_tries_every_setting_and_the_lowest_is_chosen(tmp_path: Path) -> None:
    run = perform(TUNING, "8gaussians_rnode", tmp_path)
    labels = [setting.label for setting in TUNED["rnode"]]
    assert set(run.metrics) == {f"{name}[{label}]" for name in ("nll", "iterations") for label in labels}
    record = recorded(run)
    lowest = min(TUNED["rnode"], key=lambda s: record.metrics[f"nll[{s.label}]"].value)
    assert tuned.choice(record) == (lowest, 2)


def test_what_was_chosen_is_written_and_read(tmp_path: Path) -> None:
    records = [recorded(perform(TUNING, f"8gaussians_{method}", tmp_path)) for method in ("cnf", "rnode")]
    tree = tomllib.loads(tuned.text(records))
    assert set(tree) == {"8gaussians/cnf", "8gaussians/rnode"}
    setting, iterations = tuned.choice(records[1]) or pytest.fail("nothing was chosen")
    assert tree["8gaussians/rnode"] == {
        "learning_rate": setting.learning_rate, "strength": setting.strength, "iterations": iterations,
    }  # fmt: skip


def test_a_setting_that_failed_is_out() -> None:
    metric = SimpleNamespace(value=1.0)
    metrics = {"nll[0.003]": metric, "iterations[0.003]": SimpleNamespace(value=7.0)}
    record = SimpleNamespace(identity=SimpleNamespace(config={"method": "cnf"}), metrics=metrics)
    assert tuned.choice(record) == (TUNED["cnf"][1], 7)  # type: ignore[arg-type]
    empty = Record(identify(TUNING, "8gaussians_cnf", "smoke", 0), "done")
    assert tuned.choice(empty) is None


def test_every_method_and_yardstick_stands_on_every_set() -> None:
    names = {*TUNED, *YARDSTICKS}
    assert set(variants(SETS)) == {f"{s}_{m}" for s in SETS for m in names} | set(SETS)


def test_settings_of_the_declaration_are_those_that_were_chosen() -> None:
    for key, settings in chosen().items():
        data, method = key.split("/")
        if data in SETS:
            config = DENSITY2D.configure(f"{data}_{method}", "cpu")
            assert {name: getattr(config, name) for name in settings} == settings
            assert (config.learning_rate, config.strength) in TUNED[method]


# -- a method of one's own ----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def test_an_own_method_is_planned_on_each_set_in_place_of_ours(file: Path) -> None:
    jobs = plan(["suite.density2d"], "cpu", [0], method="mine.py:build")
    assert [job.identity.variant for job in jobs] == list(SETS)
    assert {job.identity.row for job in jobs} == {f"{name} [method=mine.py:build]" for name in SETS}
    ours = plan(["suite.density2d"], "smoke", [0])
    assert not any(job.identity.variant in SETS for job in ours)


def test_an_own_method_runs_by_the_budget(file: Path, tmp_path: Path) -> None:
    (job, *_) = plan(["suite.density2d/moons"], "smoke", [0], method="mine.py:build")
    run = perform(DENSITY2D, "moons", tmp_path, **job.identity.overrides)
    assert run.metrics["iterations"].value == 2
    assert run.metrics["parameters"].value == 2
    assert {"nll", "c2st", "train_time"} <= set(run.metrics)
    assert "nfe_test" not in run.metrics


def test_a_file_that_changed_since_is_refused(file: Path, tmp_path: Path) -> None:
    (job, *_) = plan(["suite.density2d/moons"], "smoke", [0], method="mine.py:build")
    file.write_text(OWN + "\n# changed\n")
    with pytest.raises(UserError, match="has changed since"):
        perform(DENSITY2D, "moons", tmp_path, **job.identity.overrides)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("absent.py:build", "no file absent.py"),
        ("mine.py", "FILE.py:FUNCTION"),
        ("mine.py:not a name", "FILE.py:FUNCTION"),
        ("mine:build", "FILE.py:FUNCTION"),
    ],
)
def test_a_method_that_is_not_there_is_named(method: str, said: str, file: Path) -> None:
    with pytest.raises(UserError, match=said):
        plan(["suite.density2d"], "smoke", [0], method=method)


def test_an_experiment_that_takes_no_own_method_says_so(file: Path) -> None:
    with pytest.raises(UserError, match="takes a method of one's own"):
        plan(["lecture.solvers"], "smoke", [0], method="mine.py:build")


def test_what_is_declared_was_chosen_by_the_committed_records() -> None:
    reports = Path(__file__).parents[2] / "reports"
    assert tuned.text(tuned.tunings([reports])) == tuned.CHOSEN.read_text()
