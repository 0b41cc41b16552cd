r"""Does a method of one's own do what the suite relies on? A line for each thing that is wrong.

Tried on two moons, untrained and after a short training. With p the density on a grid over [-8, 8]^2 and n samples:

| check | what must hold |
|---|---|
| mass | \|h^2 sum_ij p(x_ij) - 1\| <= 0.02 |
| samples | chi-square test of the samples' counts in the grid's blocks against p, at 1e-6 |
| batches | log p(x) of a point is the same alone and among others |
| seeds | equal generators give equal models and samples, others do not |
| randomness | torch's, numpy's and Python's global states are what they were |
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.data import toy2d
from bench.errors import UserError
from bench.text import told
from replications.suite import own
from replications.suite.training import step

REACH, SIDE, BLOCK = 8.0, 160, 10
"""Half the grid's side, its points a side, and points a side of a block of the chi-square test."""
ITERATIONS = 100
SAMPLES = 2000
MASS = 0.02
CHANCE = 1e-6
"""How rarely an honest method fails the test of its samples."""


def faults(method: str) -> list[str]:
    """Return a line for each thing that is wrong with `FILE.py:FUNCTION`; none where all is well.

    Raises:
        UserError: the file can't be read or lacks the function.
    """
    model = own.build(method, 2, _generator(0))
    found = list(_guarded("untrained", lambda: _shapes(model)))
    if found:
        return found
    found += _guarded("seeds", lambda: _seeds(lambda seed: own.build(method, 2, _generator(seed))))
    found += _guarded("randomness", lambda: _global_state(model))
    found += _guarded("training", lambda: _trained(model))
    if found:
        return found
    found += _guarded("batches", lambda: _batches(model))
    return found + list(_guarded("density", lambda: _density(model)))


def _guarded(what: str, check: Callable[[], Iterator[str]]) -> Iterator[str]:
    """Yield what a check finds; an error of the method's own code is one of its faults."""
    try:
        yield from check()
    except UserError as error:
        yield f"{what}: {error}"
    except Exception as error:
        yield f"{what}: {told(error)}"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _points(n: int, seed: int = 0) -> Tensor:
    return torch.tensor(toy2d.draw("moons", n, np.random.default_rng(seed)), dtype=torch.float32)


def _shapes(model: Any) -> Iterator[str]:
    x = _points(7)
    for name, found, shape in (
        ("log_prob(x)", model.log_prob(x), (7,)),
        ("sample(n, generator)", model.sample(7, _generator(1)), (7, 2)),
    ):
        if not isinstance(found, Tensor) or tuple(found.shape) != shape:
            yield f"{name}: returned {_told(found)}, expected a tensor of shape {shape} for 7 points in 2 dimensions"
        elif not torch.isfinite(found).all():
            yield f"{name}: returned values that are not finite"
        elif found.device != x.device:
            yield f"{name}: is on {found.device}, its points are on {x.device}"
    loss = model.loss(x, _generator(1))
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not torch.isfinite(loss):
        yield f"loss(x, generator): returned {_told(loss)}, expected a finite scalar"
    elif not isinstance(model, own.Stepping) and not _reached(model, loss):
        yield "loss(x, generator): no parameter has a gradient; is it detached?"


def _told(found: object) -> str:
    return f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__


def _reached(model: nn.Module, loss: Tensor) -> bool:
    if not loss.requires_grad:
        return False
    gradients = torch.autograd.grad(
        loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True
    )
    return any(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients)


def _seeds(build: Callable[[int], Any]) -> Iterator[str]:
    first = build(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)  # what a layer draws by itself must not count in the end
        again = build(0)
    x = _points(7)
    if not torch.equal(first.log_prob(x), again.log_prob(x)):
        yield "build(dim, generator): two calls with equal generators differ; draw all from the generator"
    draws = [first.sample(7, _generator(seed)) for seed in (0, 0, 1)]
    if not torch.equal(draws[0], draws[1]):
        yield "sample(n, generator): two calls with equal generators differ; draw all from the generator"
    if torch.equal(draws[0], draws[2]):
        yield "sample(n, generator): two generators give the same samples; draw from the generator"


def _global_state(model: Any) -> Iterator[str]:
    uses: dict[str, Callable[[], Any]] = {
        "loss": lambda: model.loss(_points(7), _generator(0)),
        "log_prob": lambda: model.log_prob(_points(7)),
        "sample": lambda: model.sample(7, _generator(0)),
    }
    for name, use in uses.items():
        before = _states()
        use()
        for library, state in _states().items():
            if state != before[library]:
                yield f"{name}: draws from the global random state of {library}; draw from the generator"


def _states() -> dict[str, bytes]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state()).encode(),  # noqa: NPY002 - it is what must not change
        "Python": repr(random.getstate()).encode(),
    }


def _trained(model: Any) -> Iterator[str]:
    """Train for a while; the loss of the same points must have fallen."""
    x = _points(500, seed=1)
    before = -model.log_prob(x).mean().item()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for i in range(ITERATIONS):
        step(model, optimizer, _points(256, seed=i + 2), _generator(i))
    after = -model.log_prob(x).mean().item()
    if not after < before:
        yield f"training: the NLL of fresh points went from {before:.3f} to {after:.3f} nats in {ITERATIONS} steps"


@torch.no_grad()
def _batches(model: Any) -> Iterator[str]:
    x = _points(64, seed=3)
    together, alone = model.log_prob(x), torch.cat([model.log_prob(part) for part in x.split(8)])
    gap = (together - alone).abs().max().item()
    if not gap <= 1e-2:
        yield f"log_prob(x): a point's value depends on the others of its batch, by up to {gap:.2g} nats"


@torch.no_grad()
def _density(model: Any) -> Iterator[str]:
    from scipy.stats import chi2

    axis = torch.linspace(-REACH, REACH, SIDE + 1)
    middle = (axis[1:] + axis[:-1]) / 2
    grid = torch.cartesian_prod(middle, middle)
    log_p = torch.cat([model.log_prob(part).double() for part in grid.split(2000)])
    mass = log_p.exp().reshape(SIDE, SIDE) * (2 * REACH / SIDE) ** 2
    if not abs(mass.sum().item() - 1) <= MASS:
        yield f"log_prob(x): its density has the mass {mass.sum().item():.3f} over [-8, 8]^2, expected 1"
        return
    side = SIDE // BLOCK
    expected = mass.reshape(side, BLOCK, side, BLOCK).sum((1, 3)).flatten() * SAMPLES
    drawn = model.sample(SAMPLES, _generator(4)).double()
    place = ((drawn + REACH) / (2 * REACH / side)).floor()
    inside = ((place >= 0) & (place < side)).all(1)
    counts = torch.bincount((place[inside, 0] * side + place[inside, 1]).long(), minlength=side**2).double()
    rare = expected < 5
    pooled = [torch.cat((part[~rare], part[rare].sum()[None])) for part in (counts, expected)]
    pooled[0][-1] += SAMPLES - inside.sum()
    statistic = ((pooled[0] - pooled[1]).square() / pooled[1].clamp(min=1)).sum().item()
    if chi2.sf(statistic, len(pooled[0]) - 1) < CHANCE:
        yield "sample(n, generator): the samples are not of the density that log_prob gives"
