"""The experiment `neural_ode.planar_cnf`: what it optimises, what it records, what it draws."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import loaded, recorded, untimed

from bench.claim import load_claims
from bench.data import energies2d
from bench.execution.run import Run
from bench.identity import identify
from bench.metrics.catalogue import split_key
from bench.record import Record
from replications.flows.density.flow import Flow
from replications.flows.training.clock import TrainingClock
from replications.neural_ode.experiments.planar_cnf import figures as planar_figures
from replications.neural_ode.experiments.planar_cnf.declaration import PLANAR_CNF, PlanarConfig
from replications.neural_ode.experiments.planar_cnf.inverted import Inverted
from replications.neural_ode.experiments.planar_cnf.measured import excess, matched
from replications.neural_ode.experiments.planar_cnf.model import build
from replications.neural_ode.experiments.planar_cnf.run import (
    arguments_of,
    record_flow,
    record_likelihood,
    record_matching,
    run,
    settings,
    training_loss,
)
from replications.neural_ode.experiments.planar_cnf.targets import BasePoints
from replications.tasks.density2d.evaluation import fresh

SMALL = PlanarConfig(
    units=4, gate_hidden=4, batch=16, cnf_iterations=2, nf_iterations=3, test_points=100, grid=25
)
KINDS = ("energy3_cnf_2", "energy3_nf_32", "moons_cnf", "moons_nf", "moons_nf_shrunk")


def make(variant: str, folder: Path, seed: int = 0, **fields: Any) -> tuple[Run, PlanarConfig]:
    made = Run(identify(PLANAR_CNF, variant, "smoke", seed), folder)
    return made, dataclasses.replace(SMALL, **PLANAR_CNF.variants[variant] | {"units": 4} | fields)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each kind."""
    done = {}
    for variant in KINDS:
        done[variant], config = make(variant, tmp_path_factory.mktemp(variant))
        run(done[variant], config)
    return done


def test_paper_tier_is_the_published_setting() -> None:
    cnf, nf = (settings(PLANAR_CNF.configure(f"energy1_{m}_8", "paper")) for m in ("cnf", "nf"))
    assert (cnf.iterations, cnf.optimizer, nf.iterations, nf.optimizer) == (
        10_000,
        "adam",
        500_000,
        "rmsprop",
    )
    assert {v.split("_")[-1] for v in PLANAR_CNF.variants if v.startswith("energy")} == {"2", "8", "32"}
    assert (
        PLANAR_CNF.configure("moons_cnf", "paper").units
        == PLANAR_CNF.configure("moons_nf", "paper").units
        == 64
    )


def test_every_tier_travels_as_far() -> None:
    """A learning rate times its iterations is the same at each tier that may fill a table."""
    for method in ("cnf", "nf"):
        distances = [
            s.iterations * s.lr
            for tier in ("cpu", "gpu", "paper")
            for s in [settings(PLANAR_CNF.configure(f"energy1_{method}_8", tier))]
        ]
        assert distances == pytest.approx([distances[0]] * 3)


def test_methods_are_paired(tmp_path: Path) -> None:
    a, b = (make(variant, tmp_path)[0] for variant in ("moons_cnf", "moons_nf"))
    assert a.seed("batch/0") == b.seed("batch/0") != make("moons_nf", tmp_path, seed=1)[0].seed("batch/0")


@pytest.mark.parametrize("variant", KINDS)
def test_runs_report_what_is_declared(runs: dict[str, Run], variant: str) -> None:
    done = runs[variant]
    assert {split_key(key)[0] for key in done.metrics} <= set(PLANAR_CNF.metrics)
    assert ("kl" in done.metrics) == variant.startswith("energy") != ("nll" in done.metrics)
    assert ("nfe_forward" in done.metrics) == ("nfe_test" in done.metrics) == ("cnf" in variant)
    assert done.metrics["inversion_error"].value < 1e-3
    assert done.artifacts["density"].shape == (40, 40)


@pytest.mark.parametrize("variant", KINDS[1:3])
def test_runs_repeat_for_a_seed_and_change_with_it(
    runs: dict[str, Run], variant: str, tmp_path: Path
) -> None:
    again, other = (make(variant, tmp_path, seed)[0] for seed in (0, 1))
    run(again, make(variant, tmp_path)[1])
    run(other, make(variant, tmp_path)[1])
    assert untimed(again) == untimed(runs[variant])
    assert untimed(other) != untimed(again)


@pytest.mark.parametrize("variant", KINDS[:4])
def test_the_model_comes_back(runs: dict[str, Run], variant: str) -> None:
    done = runs[variant]
    flow = loaded(done)
    axis = (torch.arange(40) + 0.5) / 5 - 4
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(axis, axis)[600:1000]).exp()
    np.testing.assert_allclose(
        density.numpy(), done.artifacts["density"].flatten()[600:1000], rtol=1e-3, atol=1e-5
    )
    assert flow.sample(3, torch.Generator().manual_seed(0)).shape == (3, 2)


def still(flow: Flow) -> Flow:
    """Let a continuous flow move nothing: its field becomes zero."""
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if name.endswith("field.u"):
                parameter.zero_()
    return flow


def test_what_is_matched_is_recorded_with_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a flow that moves nothing, N(0, I), to N((m, 0), I) the divergence is m^2 / 2."""
    monkeypatch.setitem(energies2d.ENERGIES, "energy1", lambda x, y, xp: ((x - 1.5) ** 2 + y**2) / 2)
    run_, config = make("energy1_cnf_2", tmp_path, test_points=20_000)
    flow = still(build(**arguments_of(config)))
    assert isinstance(flow, Inverted)
    record_matching(run_, flow, config, BasePoints(run_, flow.prior, "cpu"))
    kl, free_energy = run_.metrics["kl"], run_.metrics["free_energy"]
    assert kl.value == pytest.approx(1.5**2 / 2, abs=4 * kl.se)
    assert kl.se == pytest.approx(1.5 / 20_000**0.5, rel=0.05)  # log q - log p = m^2 / 2 - m x
    assert free_energy.value == pytest.approx(kl.value - math.log(2 * math.pi), abs=1e-6)
    assert (kl.protocol, kl.n) == ("reverse-kl/20000 points/log Z by quadrature", 20_000)
    assert run_.metrics["nfe_test"].value > 6


@pytest.mark.parametrize("target", energies2d.names())
@pytest.mark.parametrize("method", ["cnf", "nf"])
def test_divergence_is_never_negative(target: str, method: str, tmp_path: Path) -> None:
    run_, config = make(f"{target}_{method}_8", tmp_path, test_points=2000)
    flow = build(**arguments_of(config), generator=run_.torch_generator("init"))
    assert isinstance(flow, Inverted)
    assert matched(flow, BasePoints(run_, flow.prior, "cpu").test(2000), target).kl.mean().item() > 0.5


def test_likelihood_of_a_flow_that_moves_nothing(tmp_path: Path) -> None:
    run_, config = make("circles_cnf", tmp_path, test_points=20_000)
    flow = still(build(**arguments_of(config)))
    record_likelihood(run_, flow, config, fresh(run_, "circles"))
    # points on radii 3 and 1.5 with noise 0.24: E|x|^2 = (9 + 2.25) / 2 + 2 * 0.24^2
    expected = math.log(2 * math.pi) + (11.25 / 2 + 2 * 0.24**2) / 2
    nll = run_.metrics["nll"]
    assert nll.value == pytest.approx(expected, abs=4 * nll.se)
    assert (nll.n, nll.protocol) == (20_000, "nll/exact-trace or closed form/20000 points")


@pytest.mark.parametrize("variant", ["energy1_cnf_2", "moons_cnf"])
def test_the_training_loss_is_that_of_the_iterations_points(variant: str, tmp_path: Path) -> None:
    run_, config = make(variant, tmp_path, target="circles" if variant == "moons_cnf" else "energy1")
    flow = build(**arguments_of(config), generator=run_.torch_generator("init"))
    inverted = isinstance(flow, Inverted)
    points = BasePoints(run_, flow.prior, "cpu") if inverted else fresh(run_, "circles")
    x = points.batch(3, config.batch).points
    values = excess(flow, x, "energy1") if isinstance(flow, Inverted) else -flow.log_prob(x)
    loss = training_loss(flow, config, points, TrainingClock())
    assert loss(3).item() == pytest.approx(values.mean().item(), rel=1e-6)


def test_mass_and_inverse_of_a_flow_that_moves_nothing(tmp_path: Path) -> None:
    run_, config = make("moons_cnf", tmp_path, grid=121)
    record_flow(run_, still(build(**arguments_of(config))), config, torch.ones(3, 2))
    values = {key: m.value for key, m in run_.metrics.items()}
    assert values["mass_error"] == pytest.approx(0, abs=1e-6)  # of N(0, I) over [-6, 6]^2
    assert values["inversion_error"] == 0
    assert values["nll_error"] < 1e-6
    assert run_.artifacts["density"][20, 20] == pytest.approx(math.exp(-0.01) / (2 * math.pi), rel=1e-5)


def records(runs: dict[str, Run]) -> list[Record]:
    return [recorded(run) for run in runs.values()]


def test_figures(runs: dict[str, Run]) -> None:
    matched, learned = planar_figures.densities(records(runs)), planar_figures.likelihood(records(runs))
    assert [ax.get_title() for ax in matched.axes] == ["energy3", "continuous, 2", "layers, 32"]
    assert learned.axes[0].get_title() == "moons"
    assert len(learned.axes) == 4
    picture = learned.axes[1].images[0].get_array().T.flatten()
    np.testing.assert_array_equal(picture, runs["moons_cnf"].artifacts["density"].flatten())
    (against_size,) = planar_figures.kl(records(runs)).axes
    drawn = {line.get_ydata()[0] for line in against_size.lines}
    assert drawn == {runs[v].metrics["kl"].value for v in KINDS[:2]}
    for figure in (planar_figures.densities, planar_figures.likelihood, planar_figures.kl):
        assert figure([]) is None


@pytest.mark.parametrize("target", [*energies2d.names(), "moons", "circles"])
def test_pictures_of_the_targets_are_densities(target: str) -> None:
    picture = planar_figures.target_density(target)
    # the walls let some of the waves past 4
    inside = 8 / (8 + 0.4 * math.sqrt(2 * math.pi)) if target in ("energy2", "energy3") else 1
    assert picture.sum() * 0.2**2 == pytest.approx(inside, abs=1e-3)
    if target == "moons":  # the upper moon is the left one: first coordinate first
        assert picture[:20].sum() > 0
        assert picture[10:15, 28:].sum() > 0.01 > picture[25:30, 28:].sum()


def test_every_pair_of_sizes_has_its_claim() -> None:
    claims = [c for c in load_claims() if c.id.startswith("neural_ode.fig4.cnf_vs_nf")]
    pairs = {(c.variant, c.against["variant"]) for c in claims}
    sizes = [(e, n) for e in ("energy1", "energy2", "energy3") for n in (2, 8, 32)]
    assert pairs == {(f"{e}_cnf_{n}", f"{e}_nf_{n}") for e, n in sizes}
    assert all(c.tier == "paper" and c.relation == "<" and c.difference for c in claims)
