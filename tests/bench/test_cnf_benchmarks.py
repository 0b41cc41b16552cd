"""What the benchmarks of a flow's training step take for equal work is equal work."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cnf import TrainingStep
from benchmarks.cnf_arms import ARMS, SOLVER, CnfSetting
from benchmarks.cnf_peers import PEERS, absence
from benchmarks.cnf_rate import work
from replications.flows.ode.step import tableau

SETTING = CnfSetting(5, (16, 12), 32)


def gradient(arm: str) -> Tensor:
    step = next((ARMS | PEERS)[arm](SETTING))
    return torch.cat([p.grad.flatten() for p in step.network.parameters() if p.grad is not None])


@pytest.mark.parametrize("arm", ["ours, adjoint", "ours", "torchdyn"])
def test_every_arm_has_the_same_gradient(arm: str) -> None:
    if arm in PEERS and (reason := absence(arm)):
        pytest.skip(reason)
    usual = gradient("usual")
    assert len(usual) == sum(a * b + 4 * b for a, b in ((5, 16), (16, 12), (12, 5)))
    assert (gradient(arm) - usual).norm() < 1e-3 * usual.norm()  # the tolerance is 1e-5 a step


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_is_not_installed_is_skipped(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(NotImplementedError, match=f"{peer} is not installed.*No module named"):  # asv's skip
        TrainingStep().setup("2-D", peer)


def test_the_operations_of_a_step_are_those_torch_counts() -> None:
    """An eager step also performs two products of the last layer for each step run again, as `work` says."""
    training = ARMS["ours"](SETTING)
    next(training)
    with FlopCounterMode(display=False) as flops:
        counter = next(training).counter
    steps = counter.backward_evaluations // len(tableau(SOLVER.method).needed)
    unneeded = steps * 2 * 2 * 32 * (12 * 5)
    count = work(SETTING, counter.forward_evaluations, counter.backward_evaluations)
    assert count + unneeded == flops.get_total_flops()
