"""The functions behind the fake experiments."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.errors import RunFailure

HELD_AT = 30
"""Iteration at which a training waits where a test holds it; by then it has left a checkpoint, however fast it is."""


def act(run, config):
    """Measure a number drawn from the run's seed, or fail as told."""
    if config.behaviour == "diverge":
        raise RunFailure("diverged", "the loss is not finite at iteration 3", last_t=0.5, nfe=17)
    if config.behaviour == "raise":
        raise ValueError("planted fault")
    if config.behaviour == "sleep":
        time.sleep(600)
    if config.behaviour == "hold":  # the interpreter's lock, as a long call into C does
        (run.folder / "held").touch()
        ctypes.PyDLL(None).sleep(600)
    if config.behaviour == "print":
        print("first words")
        for _ in range(200):
            os.write(2, b"x" * 65536 + b"\n")
        raise ValueError("last words")
    if config.behaviour == "start":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (run.folder / "grandchild").write_text(str(child.pid))
        time.sleep(600 if run.identity.seed else 0)
    if config.behaviour == "die":
        os._exit(3)
    if config.behaviour == "eat":
        import torch

        hoard = [torch.ones(2**27) for _ in range(64)]
        raise AssertionError(f"allocated {len(hoard)} blocks of 0.5 GiB")
    value = run.numpy_generator("error").uniform()
    run.metric("max_error", config.factor * value, "max-error/test")
    run.metric("nfe", 7, "nfe/test")
    run.curve("error", [0, 1, 2], [value, value / 2, value / 4], "step", "error")


def train(run, config):
    """Fit y = w x by gradient descent with the shared training loop."""
    import torch

    from replications.flows.training.loop import train as loop
    from replications.flows.training.settings import Training

    model = torch.nn.Linear(4, 1)
    generator = run.torch_generator("weights")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def loss(iteration):
        time.sleep(config.pause)
        while iteration == HELD_AT and held(run.identity.seed):
            time.sleep(0.02)
        x = torch.randn(32, 4, generator=run.torch_generator(f"batch/{iteration}"))
        return (model(x) - x.sum(dim=1, keepdim=True)).square().mean()

    settings = Training(iterations=config.iterations, lr=0.05, optimizer="adam", checkpoint_seconds=0.2)
    loop(run, model, loss, settings)
    with torch.no_grad():
        run.metric("train_loss", loss(config.iterations).item(), "train-loss/test")
    run.save_model("torch.nn:Linear", {"in_features": 4, "out_features": 1}, model.state_dict())


def held(seed):
    """Tell whether a test holds the runs of a seed: its number is in the file that `FAKE_HOLD` names."""
    place = Path(os.environ.get("FAKE_HOLD", ""))
    return place.is_file() and str(seed) in place.read_text().split()
