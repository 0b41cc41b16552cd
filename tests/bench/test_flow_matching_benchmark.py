"""What the benchmark of Flow Matching takes for equal work is equal work."""

import pytest
import torch

from benchmarks.flow_matching import (
    COUPLED,
    OURS,
    Coupling,
    Generation,
    TrainingStep,
    couple,
    evaluations,
    generate,
)
from benchmarks.flow_matching_arms import (
    SETTINGS,
    FlowMatchingSetting,
    FlowMatchingTask,
    Step,
    perceptron,
    training,
)
from benchmarks.flow_matching_peers import PEERS, absence, plan_sampler
from replications.flow_matching.coupling import exact, squared_distances
from replications.flows.ode.solver import Solver

SETTING = FlowMatchingSetting((2,), 16, perceptron((8, 8), "selu", "input"))
IMAGES = FlowMatchingSetting((1, 14, 14), 3, SETTINGS["U-Net"].network)


COMPILER = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's, of itself


def flat(task: FlowMatchingTask, what: str) -> torch.Tensor:
    return torch.cat([getattr(p, what).detach().flatten().clone() for p in task.velocity.parameters()])


def follow(step: Step, seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        step()


def need(peer: str, generating: bool = False) -> None:
    if reason := absence(peer, generating):
        pytest.skip(reason)


@pytest.mark.parametrize("setting", [SETTING, IMAGES], ids=["points", "images"])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_takes_the_same_step_for_the_same_draws(peer: str, setting: FlowMatchingSetting) -> None:
    """All draw noise, then time, then noise about the path: ours from a generator, a peer from torch's global one."""
    need(peer)
    ours, step = training(PEERS[peer].method, setting, seed=5)
    theirs, their_step = PEERS[peer].training(setting, False)
    start = flat(ours, "data")
    step()
    follow(their_step, seed=5)
    assert not torch.equal(flat(ours, "data"), start)
    torch.testing.assert_close(flat(theirs, "grad"), flat(ours, "grad"), rtol=1e-4, atol=1e-6)
    follow(their_step, seed=6)
    assert not torch.allclose(flat(theirs, "grad"), flat(ours, "grad"), rtol=1e-3, atol=1e-3)


@COMPILER
@pytest.mark.parametrize("setting", [SETTING, IMAGES], ids=["points", "images"])
def test_a_compiled_arm_trains_its_own_network_from_the_same_start(setting: FlowMatchingSetting) -> None:
    eager, compiled = FlowMatchingTask(setting), FlowMatchingTask(setting, compiled=True)
    pairs = zip(eager.velocity.parameters(), compiled.velocity.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    (group,) = compiled.optimizer.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in compiled.network.parameters()}
    assert torch.equal(eager.x1, compiled.x1)


@pytest.mark.parametrize(
    "solver", [Solver("euler", steps=10), Solver("midpoint", steps=5), Solver()], ids=str
)
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_generates_the_same_samples(peer: str, solver: Solver) -> None:
    need(peer, generating=True)
    ours, theirs = (generate(SETTING, arm, solver)[0]() for arm in ("ours", peer))
    assert isinstance(ours, torch.Tensor)
    assert isinstance(theirs, torch.Tensor)
    assert ours.shape == (1000, 2)
    tolerance = 1e-5 if solver.steps else 1e-3
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    if solver.steps:
        counts = {evaluations(SETTING, arm, solver) for arm in (*OURS, peer, f"{peer}, compiled")}
        assert counts == {10}


def test_both_couplings_are_optimal() -> None:
    need("torchcfm")
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 40, 2, generator=generator).unbind()
    plan = plan_sampler().__self__.get_map(x0, x1)
    cost = (exact(x0, x1, generator) - x1).square().sum(1).mean().item()
    assert cost == pytest.approx((plan * squared_distances(x0, x1)).sum(), rel=1e-5)
    assert cost < (x0 - x1).square().sum(1).mean().item()


def test_arms_couple_the_same_points() -> None:
    need("torchcfm")
    rows = [
        {tuple(r) for r in result[0].tolist()}
        for result in ((couple((9, 2), "ours")(),), couple((9, 2), "torchcfm")())
    ]
    assert rows[1] <= rows[0]  # torchcfm draws with replacement


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_is_not_installed_is_skipped(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", fail)
    reason = f"{peer} is not installed.*No module named"
    with pytest.raises(NotImplementedError, match=reason):  # asv's skip
        TrainingStep().setup("64, 64, 64", peer)
    with pytest.raises(NotImplementedError, match=reason):
        Generation().setup("64, 64, 64", peer)
    if peer == "torchcfm":
        with pytest.raises(NotImplementedError, match=reason):
            Coupling().setup(next(iter(COUPLED)), peer)
