"""A method of the caller's own, from a file outside of any package: `my_flow.py:build`.

`build(dim, generator)` returns an object with

| what | returns |
|---|---|
| `loss(x, generator)` | the loss of a batch `(B, D)`, a scalar, of a torch module; Adam takes the step |
| or `step(x, generator)` | the loss as a number, after the object took a step of its own |
| `log_prob(x)` | log p(x) `(N,)` in nats of points `(N, D)` |
| `sample(n, generator)` | n samples `(n, D)` |
| `flow`, if it has one | a `replications.flows.density.cnf.CNF`, for the columns that only flows have |

All that is random comes from the generators.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.execution.plan import source_hash
from bench.text import told

NEEDED = ("log_prob", "sample")


def is_own(method: str) -> bool:
    """Whether a method is given as `FILE.py:FUNCTION`."""
    return ".py:" in method


def builder(method: str, sha256: str = "") -> Callable[[int, torch.Generator], Any]:
    """Return the function that `FILE.py:FUNCTION` names.

    Args:
        method: file and function.
        sha256: what the file must have; empty for any.

    Raises:
        UserError: the file is absent, is another one, can't be imported or lacks the function.
    """
    found_hash, (name, _, function) = source_hash(method), method.rpartition(":")
    if sha256 and found_hash != sha256:
        raise UserError(f"{name} has changed since the run was planned; run it again")
    path = Path(name)
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"{name} is no Python file; give the method as FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{name} cannot be imported: {told(error)}; correct it") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise UserError(f"{name} has no function {function}; it needs `def {function}(dim, generator)`")
    build: Callable[[int, torch.Generator], Any] = found
    return build


class Stepping(nn.Module):
    """An object that takes its own steps, seen as a model whose loss needs no gradient."""

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own = own
        self.unused = nn.Parameter(torch.zeros(()))

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Take a step, and return its loss without graph."""
        return torch.as_tensor(float(self.own.step(x, generator)))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""
        found: Tensor = self.own.log_prob(x)
        return found

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""
        found: Tensor = self.own.sample(n, generator)
        return found


def build(method: str, dim: int, generator: torch.Generator, sha256: str = "") -> Any:
    """Return a method of the caller's own, untrained, as a model of the suite.

    Raises:
        UserError: see `builder`; or what it builds lacks a function of the table of this module.
    """
    function = builder(method, sha256)
    try:
        own = function(dim, generator)
    except Exception as error:
        raise UserError(f"{method} raised {told(error)}; correct it") from error
    lacks = [name for name in NEEDED if not callable(getattr(own, name, None))]
    if not any(callable(getattr(own, name, None)) for name in ("loss", "step")):
        lacks.append("loss")
    if lacks:
        raise UserError(f"what {method} builds lacks {', '.join(lacks)}; see `cnf-bench check {method}`")
    if callable(getattr(own, "step", None)):
        return Stepping(own)
    if not isinstance(own, nn.Module) or not list(own.parameters()):
        raise UserError(
            f"what {method} builds has a loss but no parameters: make it a torch module, or give it `step`"
        )
    return own
