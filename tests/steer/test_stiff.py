import dataclasses
from pathlib import Path

import pytest
import torch
from support import loaded
from torch import Tensor, nn

from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record
from bench.registry import resolve
from replications.flows.ode.counter import Counter
from replications.flows.training.log import Log
from replications.steer.experiments.stiff import figures
from replications.steer.experiments.stiff.declaration import INTERVAL, STIFF, B, StiffConfig
from replications.steer.experiments.stiff.run import (
    build,
    draw_length,
    exact,
    predict,
    record,
    segment_loss,
    slope,
)

R = 5.0
MILD = StiffConfig(stiffness=R, train_end=3.0, test_end=3.0, points=31, rtol=1e-9, atol=1e-9)
TIMES = torch.linspace(0, 3, 31, dtype=torch.float64)
TRUTH = exact(TIMES, R)[:, None]


class Equation(nn.Module):
    """y' = -r y + 3 r - 2 r e^-t."""

    def __init__(self) -> None:
        super().__init__()
        self.r = nn.Parameter(torch.tensor(R, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.r * (3 - y - 2 * torch.exp(-t))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("r", [2.0, 1000.0])
def test_exact_solution_solves_the_equation(r: float) -> None:
    t = torch.cat((torch.zeros(1), torch.logspace(-5, 1.4, 40))).double().requires_grad_()
    y = exact(t, r)
    (rate,) = torch.autograd.grad(y.sum(), t)
    assert y[0].item() == pytest.approx(0, abs=1e-14)
    torch.testing.assert_close(rate, r * (3 - y - 2 * torch.exp(-t)), rtol=1e-9, atol=1e-9 * r)


def test_network_starts_as_published() -> None:
    field = build(500, 0.1, generator())
    assert sum(p.numel() for p in field.parameters()) == 252_501
    hidden = field.net[2]
    assert hidden.weight.std().item() == pytest.approx(0.1, rel=0.01)
    assert all((layer.bias == 0).all() for layer in (field.net[0], field.net[2], field.net[4]))
    again, other = build(500, 0.1, generator()), build(500, 0.1, generator(1))
    assert torch.equal(hidden.weight, again.net[2].weight)
    assert not torch.equal(hidden.weight, other.net[2].weight)
    assert field(torch.tensor(0.3), torch.zeros(4, 1)).shape == (4, 1)


def lengths(end: str, b: float) -> Tensor:
    config = StiffConfig(end=end, b=b)
    return torch.tensor([draw_length(INTERVAL, config, generator(i)) for i in range(2000)])


def test_random_lengths_are_drawn_about_the_interval() -> None:
    assert lengths("fixed", 0.0).tolist() == [pytest.approx(INTERVAL)] * 2000
    uniform, normal = lengths("uniform", B), lengths("normal", 0.124)
    assert uniform.min() >= 0.001
    assert uniform.max() <= 2 * INTERVAL - 0.001
    for drawn, std in ((uniform, B / 3**0.5), (normal, 0.124)):
        assert abs(drawn.mean().item() - INTERVAL) < 4 * std / 2000**0.5
        assert drawn.std().item() == pytest.approx(std, rel=0.06)


def test_b_is_that_of_the_authors_code() -> None:
    assert pytest.approx(0.12605, abs=1e-5) == INTERVAL
    assert pytest.approx(0.12505, abs=1e-5) == B
    assert (STIFF.configure("steer", "cpu").b, STIFF.configure("gaussian", "cpu").b) == (B, 0.124)


def loss(length: float, own_times: bool) -> float:
    config = dataclasses.replace(MILD, own_times=own_times)
    starts = torch.tensor([0, 4, 9])
    return segment_loss(Equation(), TIMES, TRUTH, starts, length, config, Counter()).item()


def test_the_equation_itself_has_no_loss_at_its_own_times_and_some_when_all_start_at_zero() -> None:
    assert loss(0.1, own_times=True) < 1e-8
    assert loss(0.1, own_times=False) > 0.05


@pytest.mark.parametrize("length", [0.0, 0.17, -0.05])
def test_the_target_stays_where_it_was_when_the_end_moves(length: float) -> None:
    starts = torch.tensor([0, 4, 9])
    ends = exact(TIMES[starts] + length, R)
    expected = (ends - TRUTH[starts + 1, 0]).abs().mean().item()
    assert loss(length, own_times=True) == pytest.approx(expected, abs=1e-8)
    assert expected > 0.01


def test_prediction_and_slope_of_the_equation_itself() -> None:
    field = Equation()
    found = predict(field, TIMES, MILD)
    torch.testing.assert_close(found, TRUTH[:, 0], rtol=1e-4, atol=1e-4)  # from a start in float32
    assert slope(field, TIMES, MILD) == pytest.approx(1, abs=1e-12)  # type: ignore[arg-type]


def perform(variant: str, folder: Path, seed: int = 0) -> Run:
    run = Run(identify(STIFF, variant, "smoke", seed), folder)
    resolve(STIFF.run)(run, STIFF.configure(variant, "smoke"))
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each variant."""
    return {variant: perform(variant, tmp_path_factory.mktemp(variant)) for variant in STIFF.variants}


def test_every_reported_metric_is_declared_and_the_model_kept(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert {split_key(key)[0] for key in run.metrics} == set(STIFF.metrics)
    run = runs["steer"]
    model = loaded(run)
    learned, config = run.curves["solution[learned]"], STIFF.configure("steer", "smoke")
    again = predict(model, torch.tensor(learned.x, dtype=torch.float64), config)
    torch.testing.assert_close(again, torch.tensor(learned.y, dtype=torch.float64))
    error = (again - exact(torch.tensor(learned.x), config.stiffness)).abs().mean().item()
    assert run.metrics["mean_error"].value == pytest.approx(error, rel=1e-6)


def test_every_iteration_draws_an_end_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds: list[int] = []

    def seen(interval: float, config: StiffConfig, draws: torch.Generator) -> float:
        seeds.append(draws.initial_seed())
        return interval

    monkeypatch.setattr("replications.steer.experiments.stiff.run.draw_length", seen)
    perform("steer", tmp_path)
    assert len(set(seeds)) == len(seeds) == STIFF.configure("steer", "smoke").iterations


def test_what_is_recorded_of_the_tests_and_of_the_solution(tmp_path: Path) -> None:
    """Tests that neither fall nor rise: last, mean of the last tenth, and lowest differ."""
    run = Run(identify(STIFF, "steer", "smoke", 0), tmp_path)
    tests = [7.0, 1.0, 9.0, *[5.0] * 15, 3.0, 2.0]
    log = Log([1.0] * 20, [0.5] * 20, [8] * 20, [4] * 20, list(enumerate(tests, 1)))
    record(run, Equation(), log, TIMES, MILD)  # type: ignore[arg-type]
    found = {key: measured.value for key, measured in run.metrics.items()}
    assert (found["mean_error"], found["mean_error[last tenth]"], found["mean_error[best]"]) == (
        2.0,
        2.5,
        1.0,
    )
    assert found["mean_error[y = 3]"] == pytest.approx((TRUTH - 3).abs().mean().item())
    assert found["ratio[df/dy: network/equation]"] == pytest.approx(1)
    counter = Counter()
    predict(Equation(), TIMES, MILD, counter)
    assert found["nfe_test"] == counter.forward_evaluations
    assert run.curves["solution[true]"].y == pytest.approx(TRUTH[:, 0].tolist())
    assert run.curves["solution[learned]"].y == pytest.approx(TRUTH[:, 0].tolist(), abs=1e-4)


def test_variants_are_paired_and_runs_repeat(runs: dict[str, Run], tmp_path: Path) -> None:
    def untimed(run: Run) -> dict[str, float]:
        return {key: m.value for key, m in run.metrics.items() if "time" not in key}

    assert untimed(runs["steer"]) == untimed(perform("steer", tmp_path))
    assert untimed(runs["steer"]) != untimed(perform("steer", tmp_path, seed=1))
    first = {variant: run.curves["loss"].y[0] for variant, run in runs.items()}
    assert len(set(first.values())) == len(first)
    # The same weights, segments and draws: the smaller b, the nearer to the fixed end.
    distances = [abs(first[v] - first["standard"]) for v in ("steer", "steer_half_b", "steer_tenth_b")]
    assert distances == sorted(distances, reverse=True)


def test_figures_draw_what_there_is_and_nothing_else(runs: dict[str, Run]) -> None:
    records = [Record(r.identity, "done", metrics=r.metrics, curves=r.curves) for r in runs.values()]
    assert [len(ax.lines) for ax in figures.errors(records).axes] == [5, 2]
    assert [len(ax.lines) for ax in figures.solutions(records).axes] == [6, 3]
    assert figures.errors([]) is None
    assert figures.solutions([]) is None
