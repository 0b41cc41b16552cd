import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.execution.run import Run
from bench.identity import Identity
from replications.flows.errors import RequestError, SolveFailure
from replications.flows.fields.mlp import MlpField, initialise
from replications.flows.ode import gradients
from replications.flows.ode.counter import Counter
from replications.flows.ode.solve import Solver, solve
from replications.flows.training.batches import Batches
from replications.flows.training.log import Log, blocks
from replications.flows.training.loop import train
from replications.flows.training.settings import Training
from replications.tasks.recording import record_curves


def new_run(folder: Path, seed: int = 0) -> Run:
    return Run(Identity("test.train", "only", "smoke", seed, 1, {}, {}), folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


class Problem:
    """Fit a small network to sines, batches drawn from the run's streams."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        initialise(self.model, run.torch_generator("init"))

    def loss(self, i: int) -> Tensor:
        x = torch.rand(16, 1, generator=self.run.torch_generator(f"batch/{i}"), dtype=torch.float64)
        return (self.model(x) - torch.sin(6 * x)).square().mean()

    def error(self) -> float:
        x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
        with torch.no_grad():
            return (self.model(x) - torch.sin(6 * x)).square().mean().item()

    @property
    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.model.parameters()]


class Weight(nn.Module):
    """One weight w with the loss w, whose gradient is 1."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def loss(self, i: int) -> Tensor:
        return self.w * 1.0


def interrupt(at: int) -> Any:
    def on_iteration(i: int) -> None:
        if i == at:
            raise KeyboardInterrupt

    return on_iteration


SETTINGS = {
    "adam": Training(30, 0.01, schedule="cosine", warmup=5, checkpoint_seconds=0),
    "sgd": Training(30, 0.1, "sgd", momentum=0.9, clip_norm=0.5, checkpoint_seconds=0),
    "ema": Training(
        30, 0.01, "adamw", weight_decay=0.1, ema_decay=0.9, validate_every=4, checkpoint_seconds=0
    ),
    "best": Training(30, 0.3, "rmsprop", momentum=0.5, validate_every=3, patience=20, checkpoint_seconds=0),
    "drops": Training(
        30, 0.3, schedule="drops", plateau=1, gamma=0.5, drops=9, validate_every=2, checkpoint_seconds=0
    ),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path, settings: Training) -> None:
    whole = Problem(new_run(tmp_path / "whole"))
    expected = train(whole.run, whole.model, whole.loss, settings, whole.error)
    first = Problem(new_run(tmp_path / "parts"))
    with pytest.raises(KeyboardInterrupt):
        train(first.run, first.model, first.loss, settings, first.error, interrupt(17))
    second = Problem(new_run(tmp_path / "parts"))
    log = train(second.run, second.model, second.loss, settings, second.error)
    assert second.run.resumed == 1
    assert log.losses == expected.losses
    assert log.validations == expected.validations
    assert all(torch.equal(a, b) for a, b in zip(whole.weights, second.weights, strict=True))


def two_trainings(folder: Path, stop: int | None = None) -> tuple[Run, list[Tensor], int]:
    """Train twice in one run, as on features and on what stands on them; count the second's new iterations."""
    run, done = new_run(folder), []
    first, second = Problem(run), Problem(run)
    settings = SETTINGS["adam"]
    train(run, first.model, first.loss, settings, phase="features")

    def shifted(i: int) -> Tensor:
        done.append(i)
        return second.loss(i + 1000)

    train(run, second.model, shifted, settings, on_iteration=interrupt(stop) if stop else None, phase="head")
    return run, first.weights + second.weights, len(done)


def test_a_run_of_two_trainings_resumes_in_the_second(tmp_path: Path) -> None:
    _, expected, iterations = two_trainings(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        two_trainings(tmp_path / "parts", stop=17)
    run, weights, left = two_trainings(tmp_path / "parts")
    assert iterations == 30
    assert left < 30 - 15
    assert all(torch.equal(a, b) for a, b in zip(expected, weights, strict=True))
    run.forget()
    assert not list(tmp_path.glob("parts/checkpoints/*/*"))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    problems = [Problem(new_run(tmp_path / str(seed), seed)) for seed in (0, 1)]
    for problem in problems:
        train(problem.run, problem.model, problem.loss, SETTINGS["adam"])
    assert not torch.equal(problems[0].weights[0], problems[1].weights[0])


@pytest.mark.parametrize("content", [b"", b"no zip file"])
def test_damaged_checkpoint_starts_over(run: Run, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    run.checkpoint("train").parent.mkdir(parents=True)
    run.checkpoint("train").write_bytes(content)
    problem = Problem(run)
    log = train(run, problem.model, problem.loss, Training(3, 0.01))
    assert len(log.losses) == 3
    assert run.resumed == 0
    assert "damaged" in capsys.readouterr().err


def spoilt(state: dict[str, Any], what: str) -> dict[str, Any]:
    """Return a state of the right training with contents that no training writes."""
    return (
        state
        | {
            "weights": {"model": {"w": torch.zeros(3)}},
            "log": {"log": {"losses": [1.0], "surprise": 2}},
            "optimizer": {"optimizer": {"state": {}, "param_groups": []}},
            "nothing": {"model": None},
            "resumed": {"resumed": "often"},
        }[what]
    )


@pytest.mark.parametrize("what", ["weights", "log", "optimizer", "nothing", "resumed"])
def test_a_state_with_other_contents_is_given_up_and_the_training_is_that_of_a_fresh_start(
    tmp_path: Path, what: str
) -> None:
    run, settings = new_run(tmp_path), SETTINGS["adam"]
    whole = Problem(new_run(tmp_path / "whole"))
    expected = train(whole.run, whole.model, whole.loss, settings)
    first = Problem(run)
    with pytest.raises(KeyboardInterrupt):
        train(run, first.model, first.loss, settings, on_iteration=interrupt(17))
    kept = run.load_state("train")
    assert kept is not None
    state = torch.load(io.BytesIO(kept), weights_only=True)
    stream = io.BytesIO()
    torch.save(spoilt(state, what), stream)
    run.save_state("train", stream.getvalue())
    again = Problem(new_run(tmp_path))
    log = train(again.run, again.model, again.loss, settings)
    assert log.losses == expected.losses
    assert all(torch.equal(a, b) for a, b in zip(whole.weights, again.weights, strict=True))
    assert again.run.resumed == 0
    assert "does not fit" in again.run.notes[0]


@pytest.mark.parametrize("change", ["sources", "torch", "device"])
def test_a_state_that_something_else_made_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    settings = SETTINGS["adam"]
    first = Problem(new_run(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        train(first.run, first.model, first.loss, settings, on_iteration=interrupt(17))
    today = dict(first.run._origin)
    monkeypatch.setattr(Run, "_origin", today | {change: "other"})
    again = Problem(new_run(tmp_path))
    log = train(again.run, again.model, again.loss, settings)
    assert len(log.losses) == 30
    assert again.run.resumed == 0
    assert again.run.notes == [
        f"the state {again.run.checkpoint('train').name} was made with another {change}; the run started afresh"
    ]


def test_where_one_state_of_a_run_is_unfit_none_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        two_trainings(tmp_path, stop=17)
    head = new_run(tmp_path).checkpoint("head")
    head.write_bytes(head.read_bytes()[:-1])
    run, _, iterations = two_trainings(tmp_path)
    assert iterations == 30
    assert run.resumed == 0
    assert len(run.notes) == 1


def test_the_sources_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from bench.execution import origin

    package = tmp_path / "planted_package"
    package.mkdir()
    module = SimpleNamespace(__name__="planted_package.papers", __file__=str(package / "papers.py"))
    monkeypatch.setattr(origin, "papers", lambda: {"p": module})
    found = []
    for text in ("x = 1", "x = 2", "x = 1"):
        (package / "papers.py").write_text(text)
        found.append(origin.sources.__wrapped__())
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    "change", [{"phase": "second"}, {"settings": Training(6, 0.02, checkpoint_seconds=0)}]
)
def test_checkpoint_of_another_training_is_left_alone(run: Run, change: dict[str, Any]) -> None:
    settings = Training(6, 0.01, checkpoint_seconds=0)
    model = Weight()
    train(run, model, model.loss, settings)
    other = Weight()
    log = train(run, other, other.loss, **({"settings": settings} | change))
    assert run.resumed == 0
    assert len(log.losses) == 6


def test_ema_closed_form(run: Run) -> None:
    # SGD at rate r on the loss w gives w_k = -r k, hence e_n = -r sum_k (1-d) d^(n-k) k, with e_0 = w_0 = 0.
    rate, decay, n = 0.1, 0.8, 12
    model, seen = Weight(), []
    settings = Training(n, rate, "sgd", ema_decay=decay)
    train(run, model, model.loss, settings, validate=lambda: seen.append(model.w.item()) or 0.0)
    expected = -rate * sum((1 - decay) * decay ** (n - k) * k for k in range(1, n + 1))
    assert model.w.item() == pytest.approx(expected, rel=1e-12)
    assert seen == [model.w.item()]


def test_clipping_bounds_the_step(run: Run) -> None:
    model = nn.Linear(4, 1, bias=False).double()
    before = model.weight.detach().clone()
    train(run, model, lambda i: 100 * model.weight.sum(), Training(1, 1.0, "sgd", clip_norm=0.25))
    assert (model.weight - before).norm().item() == pytest.approx(0.25, rel=1e-6)


def test_early_stop_keeps_the_best_weights(run: Run) -> None:
    # w falls by 0.1 a step from 1; the value |w| is lowest at w = 0, after 10 steps.
    model = Weight(1.0)
    settings = Training(100, 0.1, "sgd", validate_every=2, patience=3)
    log = train(run, model, model.loss, settings, validate=lambda: abs(model.w.item()))
    assert model.w.item() == pytest.approx(0.0, abs=1e-12)
    assert [i for i, _ in log.validations] == [2, 4, 6, 8, 10, 12, 14, 16]


def test_divergence_names_the_iteration(run: Run) -> None:
    model = Weight()
    with pytest.raises(SolveFailure, match="iteration 4") as failure:
        train(run, model, lambda i: model.w * (math.inf if i == 4 else 1.0) + 1, Training(9, 0.1))
    assert failure.value.status == "diverged"


def test_learning_rates() -> None:
    step = Training(10, 1.0, schedule="step", milestones=(3, 6), gamma=0.1)
    assert [step.lr_at(i) for i in (0, 2, 3, 5, 6, 9)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = Training(10, 2.0, schedule="cosine")
    assert [cosine.lr_at(i) for i in (0, 5, 10)] == pytest.approx([2.0, 1.0, 0.0])
    line = Training(10, 2.0, schedule="polynomial", warmup=2)
    assert [line.lr_at(i) for i in (0, 1, 2, 6, 10)] == pytest.approx([1.0, 2.0, 2.0, 1.0, 0.0])
    assert [Training(4, 1.0, schedule="polynomial", warmup=4).lr_at(i) for i in (0, 3)] == [0.25, 1.0]
    warm = Training(10, 1.0, warmup=4)
    assert [warm.lr_at(i) for i in (0, 1, 3, 4)] == [0.25, 0.5, 1.0, 1.0]


def test_evaluations_are_logged_for_each_iteration(run: Run) -> None:
    model = Weight()
    counter = Counter()

    def loss(i: int) -> Tensor:
        counter.count(i + 1)
        return model.w.square()

    log = train(run, model, loss, Training(3, 0.1), counter=counter)
    assert log.nfe_forward == [1, 2, 3]
    assert log.nfe_backward == [0, 0, 0]


def test_batches_are_permutations_and_pure(run: Run) -> None:
    batches = Batches(run, 10, 4)
    epochs = [torch.cat([batches(3 * k + j) for j in range(3)]) for k in range(2)]
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(*epochs)
    assert torch.equal(Batches(run, 10, 4)(4), epochs[1][4:8])


def test_long_curves_are_block_means(run: Run) -> None:
    log = Log(losses=[float(i) for i in range(1000)], seconds=[1.0, 5.0, 2.0])
    record_curves(run, log)
    curve = run.curves["loss"]
    assert len(curve.x) == 250
    assert curve.x[:2] == (4.0, 8.0)
    assert curve.y[:2] == (1.5, 5.5)
    assert blocks([1.0, 2.0, 6.0], 2) == ([2, 3], [1.5, 6.0])
    assert blocks([1.0, 2.0, 6.0], 1) == ([3], [3.0])  # the mean, not the middle one
    assert log.iteration_time == 2.0
    assert log.train_time == 8.0


@pytest.mark.parametrize(("bytes_free", "share"), [(math.inf, 1.0), (0.0, 0.0)])
def test_the_share_of_kept_graphs_is_that_of_the_solves(
    run: Run, monkeypatch: pytest.MonkeyPatch, bytes_free: float, share: float
) -> None:
    monkeypatch.setattr(gradients, "free_bytes", lambda device: bytes_free)
    field, counter = MlpField(2, (4,), torch.Generator().manual_seed(0)), Counter()

    def loss(iteration: int) -> Tensor:
        return solve(field, torch.ones(3, 2), 0.0, 1.0, Solver("rk4", steps=3), "auto", counter=counter).sum()

    log = train(run, field, loss, Training(2, 1e-3), counter=counter)
    assert log.kept == [share, share]


def test_validations_are_counted_since_the_lowest_value():
    assert (Log().stale, Log().stalest) == (0, 0)
    diverged = Log(validations=[(1, math.inf), (2, math.inf), (3, 1.0), (4, 2.0)])
    assert (diverged.stale, diverged.stalest) == (1, 2)
    never = Log(validations=[(1, math.nan)])
    assert never.stale == 1


def test_a_plateau_lowers_the_rate_for_good() -> None:
    settings = Training(100, 1.0, schedule="plateau", plateau=2)
    log = Log()
    rates = []
    for i, value in enumerate([5.0, 6.0, 6.0, 6.0, 4.0, 7.0, 7.0, 7.0, 7.0, 7.0]):
        log.validations.append((i, value))
        rates.append(settings.lr_at(i, log.stalest))
    # One decade after more than 2 stale validations, kept after the new lowest value; two after more than 4.
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])
    assert (log.stale, log.stalest) == (5, 5)


def test_a_plateau_acts_in_training_and_after_a_resume(run: Run) -> None:
    settings = Training(
        6, 1.0, optimizer="sgd", schedule="plateau", plateau=1, validate_every=1, checkpoint_seconds=0
    )
    weight = Weight()
    train(run, weight, weight.loss, settings, validate=lambda: 0.0)
    # Stale counts 0, 1, 2, 3, 4 before iterations 1..5: the rate falls after more than 1, again after more than 2...
    moved = 1 + 1 + 1 + 0.1 + 0.01 + 0.001
    assert weight.w.item() == pytest.approx(-moved)
    again = Weight()
    with pytest.raises(KeyboardInterrupt):
        train(
            new_run(run.folder, 1),
            again,
            again.loss,
            settings,
            validate=lambda: 0.0,
            on_iteration=interrupt(3),
        )
    resumed = Weight()
    train(new_run(run.folder, 1), resumed, resumed.loss, settings, validate=lambda: 0.0)
    assert resumed.w.item() == pytest.approx(-moved)


DROPS = Training(50, 1.0, "sgd", schedule="drops", plateau=1, drops=2, validate_every=1, checkpoint_seconds=0)
"""Where no validation is lower than the first, the rate falls after two more, after two again, then comes the end."""


def test_drops_are_counted_anew_after_each() -> None:
    log, settings, seen = Log(), Training(100, 1.0, schedule="drops", plateau=2, drops=3), []
    for i, value in enumerate([5.0, 6.0, 6.0, 6.0, 7.0, 7.0, 4.0, 4.0, 4.0, 4.0, 4.5, 4.5]):
        log.validations.append((i, value))
        seen.append(log.dropped(2))
    # A drop after more than 2 stale validations, and so that 6, 7, 7 count from nought; 4 is a new lowest value.
    assert seen == [0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2]
    assert [settings.lr_at(0, dropped=n) for n in range(4)] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert log.dropped(1) == 4


def test_drops_end_the_training_and_the_best_weights_are_kept(run: Run) -> None:
    model, walked = Weight(), []
    log = train(
        run,
        model,
        model.loss,
        DROPS,
        validate=lambda: 0.0,
        on_iteration=lambda i: walked.append(model.w.item()),
    )
    assert walked == pytest.approx([-1, -2, -3, -3.1, -3.2, -3.21, -3.22])
    assert model.w.item() == -1  # of the first validation, since none was lower
    assert len(log.validations) == 7


def test_drops_and_best_weights_survive_a_resume(run: Run) -> None:
    first = Weight()
    with pytest.raises(KeyboardInterrupt):
        train(run, first, first.loss, DROPS, validate=lambda: 0.0, on_iteration=interrupt(4))
    again, resumed = Weight(), new_run(run.folder)
    log = train(resumed, again, again.loss, DROPS, validate=lambda: 0.0)
    assert resumed.resumed == 1
    assert log.losses == pytest.approx([0, -1, -2, -3, -3.1, -3.2, -3.21])
    assert again.w.item() == -1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of adam, adamw, sgd, rmsprop, got 'lion'"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine"),
        ({"keep": "first"}, "keep must be one of None, last, best"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"lr": -0.1}, "lr must be a finite number and not negative"),
        ({"lr": math.nan}, "lr must be a finite number"),
        ({"weight_decay": math.inf}, "weight_decay must be a finite number"),
        ({"warmup": -1}, "warmup must be a finite number and not negative"),
        ({"patience": -1}, "patience must be a finite number and not negative"),
        ({"clip_norm": -1.0}, "clip_norm must be a finite number and not negative"),
        ({"ema_decay": 1.0}, "ema_decay must be below 1"),
        ({"schedule": "plateau"}, "schedule='plateau' needs plateau"),
        ({"schedule": "step", "milestones": (3, -1)}, "milestones are iterations from 0"),
        ({"optimizer": "sgd", "fused": True}, "sgd has no fused step"),
    ],
)
def test_faults_of_the_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Training(**{"iterations": 5, "lr": 0.1} | arguments)


def test_the_average_is_torchs(run: Run) -> None:
    """The weights after training are those of `AveragedModel` with the same decay, fed after each step."""
    problem, decay = Problem(run), 0.7
    averaged = AveragedModel(problem.model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    averaged.update_parameters(problem.model)  # the first update copies: e_0 = w_0
    settings = Training(9, 0.05, ema_decay=decay)
    train(
        run,
        problem.model,
        problem.loss,
        settings,
        on_iteration=lambda i: averaged.update_parameters(problem.model),
    )
    for ours, theirs in zip(problem.model.parameters(), averaged.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)


def test_where_a_plateau_differs_from_torchs() -> None:
    """Torch counts anew after a drop: its second comes after 2 (p + 1) stale validations, ours after 2 p + 1."""
    settings, log, ours, theirs = Training(100, 1.0, schedule="plateau", plateau=3), Log(), [], []
    rate = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = ReduceLROnPlateau(rate, factor=0.1, patience=3, threshold=0.0)
    for i in range(12):
        log.validations.append((i, 1.0))
        scheduler.step(1.0)
        ours.append(settings.lr_at(i, log.stalest))
        theirs.append(scheduler.get_last_lr()[0])
    assert [ours.index(pytest.approx(r)) for r in (0.1, 0.01)] == [4, 7]
    assert [theirs.index(pytest.approx(r)) for r in (0.1, 0.01)] == [4, 8]
