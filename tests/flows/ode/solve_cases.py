"""Fields that a gradient may get wrong, all of dy/dt = c cos(t) y, with what becomes of them by each gradient.

The value is y(t1) = y(t0) exp(c (sin t1 - sin t0)), whatever a field does beside it. The source u, a tensor that needs
a gradient, gives c by c = sin(u) where a case does not say otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from replications.flows.ode.solve import Solver

GRADIENTS = ("backprop", "adjoint", "checkpoint", "tape", "auto")
COMPILED = ("checkpoint", "tape")
SOLVERS = {"fixed": Solver("rk4", steps=24), "adaptive": Solver("dopri5", 1e-10, 1e-10)}
T0, T1, U = 0.2, 1.1, (0.7, -0.4)


def start() -> Tensor:
    """Return y(t0) `(3, 2)`."""
    return torch.tensor([[1.0, 2.0], [-0.5, 0.3], [0.8, -1.4]], dtype=torch.float64)


def closed_form(y: Tensor, u: Tensor) -> Tensor:
    """Return y(t1)."""
    return y * torch.exp(torch.sin(u) * (math.sin(T1) - math.sin(T0)))


class Own(nn.Module):
    """c = sin(u) of a parameter u of its own."""

    def __init__(self, u: Tensor) -> None:
        super().__init__()
        self.u = nn.Parameter(u)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.sin(self.u) * torch.cos(t) * y


class Attribute(nn.Module):
    """c as an attribute that is no parameter, computed outside from a parameter that the field owns too."""

    def __init__(self, u: Tensor) -> None:
        super().__init__()
        self.u = nn.Parameter(u)
        self.c = torch.sin(self.u)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.c * torch.cos(t) * y


class Buffer(nn.Module):
    """c as a buffer, computed outside from a parameter that the field owns too."""

    c: Tensor

    def __init__(self, u: Tensor) -> None:
        super().__init__()
        self.u = nn.Parameter(u)
        self.register_buffer("c", torch.zeros_like(u))
        self.c = torch.sin(self.u)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.c * torch.cos(t) * y


class Late(Own):
    """A tensor of the field that is no parameter and that it uses from t = 0.6 on."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.later = torch.sin(self.u)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        c = torch.sin(self.u) if t < 0.6 else self.later
        return c * torch.cos(t) * y


class Both(Own):
    """Half of c from a tensor, half from the parameter that this was computed from."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.half = torch.sin(self.u) / 2

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return (self.half + torch.sin(self.u) / 2) * torch.cos(t) * y


class Inner(Own):
    """The slope of a potential c cos(t) y^2 / 2, by a derivative inside the field."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            x = y if y.requires_grad else y.detach().requires_grad_()
            potential = (torch.sin(self.u) * torch.cos(t) * x.square() / 2).sum()
            (slope,) = torch.autograd.grad(potential, x, create_graph=True)
        return slope


class Draws(Own):
    """Noise of mean zero from torch's default generator at each evaluation: no closed form."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, y) * (1 + 0.2 * torch.randn(()))


class DrawsItsOwn(Own):
    """The same from a generator of its own."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, y) * (1 + 0.2 * torch.randn((), generator=self.generator))


class Counts(Own):
    """A buffer that counts the evaluations, as a batch norm's does, and changes no value."""

    n: Tensor

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.register_buffer("n", torch.zeros((), dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.n += 1
        return super().forward(t, y)


class BatchNorm(Own):
    """A batch norm in training, which averages what it meets; torch does not count that as a change of the buffer."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.norm = nn.BatchNorm1d(2, affine=False).double()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, self.norm(y))


def counts_in_a_closure(u: Tensor) -> tuple[Any, Tensor]:
    """Build a function that closes over a module whose buffer counts the evaluations and matters."""
    inner = DependsOnCount(u)
    return lambda t, y: inner(t, y), inner.u


class DependsOnCount(Counts):
    """A buffer that counts the evaluations, and that the value depends on."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, y) * (1 + 0.02 * self.n)


class DependsOnNumber(Own):
    """A number that counts the evaluations, and that the value depends on."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.n = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.n += 1
        return super().forward(t, y) * (1 + 0.02 * self.n)


class Frozen(Own):
    """No source: the parameter needs no gradient; the state does."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.u.requires_grad_(False)


class Refills(Own):
    """A value in memory of its own, which the next evaluation fills again."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(u)
        self.memory: dict[bool, Tensor] = {}

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        value = super().forward(t, y)
        kept = self.memory.setdefault(value.requires_grad, torch.empty_like(y).detach())
        return kept.detach().copy_(value)


class Overwrites(Own):
    """A state that is worked on in place."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        value = super().forward(t, y)
        with torch.no_grad():
            y.mul_(2)
        return value


class OverwritesLate(Own):
    """A state that is worked on in place from some time on."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        value = super().forward(t, y)
        if t > (T0 + T1) / 2:
            with torch.no_grad():
                y.mul_(2)
        return value


class OverwritesData(Own):
    """A state that is worked on in place where torch does not count it."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        value = super().forward(t, y)
        y.data.mul_(2)
        return value


class MovesTime(Own):
    """A time that is worked on in place."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        value = super().forward(t, y)
        t.add_(1)
        return value


class Detaches(Own):
    """A value that depends on the state, without gradient."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(t, y).detach()


class Pair(Own):
    """A state of two parts, the second in a shape of its own."""

    def forward(self, t: Tensor, state: Any) -> Any:
        c = torch.sin(self.u) * torch.cos(t)
        return tuple(c * part for part in state)


@dataclass(frozen=True)
class Case:
    """A field, and what is refused.

    Args:
        build: u -> (the field, the leaf that u became).
        refused: what the error says, by gradient or by (gradient, solver); `compiled` stands for a compiled gradient.
        closed: whether y(t1) has the closed form.
        compiles: whether it is asked of a compiled solve; what torch.compile makes of the others differs by version.
    """

    build: Callable[[Tensor], tuple[Any, Tensor]]
    refused: dict[Any, str] = field(default_factory=dict)
    closed: bool = True
    compiles: bool = True


def module(kind: Callable[[Tensor], nn.Module]) -> Callable[[Tensor], tuple[Any, Tensor]]:
    """Build a module with its parameter u."""

    def build(u: Tensor) -> tuple[Any, Tensor]:
        made = kind(u)
        leaf = made.u
        assert isinstance(leaf, Tensor)
        return made, leaf

    return build


def closure_leaf(u: Tensor) -> tuple[Any, Tensor]:
    """Use a leaf of the surroundings."""
    u.requires_grad_()
    return lambda t, y: torch.sin(u) * torch.cos(t) * y, u


def closure(u: Tensor) -> tuple[Any, Tensor]:
    """Use a tensor of the surroundings that was computed from another, as a conditioning network's output."""
    u.requires_grad_()
    c = torch.sin(u)
    return lambda t, y: c * torch.cos(t) * y, u


def foreign(u: Tensor) -> tuple[Any, Tensor]:
    """Use a module of the surroundings."""
    other = Own(u)
    return lambda t, y: other(t, y), other.u


def branch(u: Tensor) -> tuple[Any, Tensor]:
    """Use one of several tensors of the surroundings, by time."""
    u.requires_grad_()
    parts = [torch.sin(u), torch.sin(u)]
    return lambda t, y: parts[int(t > 0.6)] * torch.cos(t) * y, u


def every_other(u: Tensor) -> tuple[Any, Tensor]:
    """Use another factor at every other evaluation."""
    u.requires_grad_()
    evaluations = itertools.count()
    return lambda t, y: torch.sin(u) * torch.cos(t) * y * (1 + next(evaluations) % 2 / 2), u


def counts_once(u: Tensor) -> tuple[Any, Tensor]:
    """Use another factor from the 60th evaluation on."""
    u.requires_grad_()
    evaluations = itertools.count()
    return lambda t, y: torch.sin(u) * torch.cos(t) * y * (2 if next(evaluations) >= 60 else 1), u


OURS = ("checkpoint", "tape", "auto")
NOT_REPEATED = "another value"
CASES = {
    "a parameter of the field": Case(module(Own)),
    "a state of two parts": Case(module(Pair)),
    "the state alone": Case(module(Frozen)),
    "a leaf of a closure": Case(closure_leaf, {"compiled": "compiled=False"}),
    "a computed tensor of a closure": Case(closure, {"compiled": "compiled=False"}),
    "a module of a closure": Case(foreign, {"compiled": "compiled=False"}),
    "an attribute computed from a parameter": Case(module(Attribute), {"compiled": "compiled=False"}),
    "a buffer computed from a parameter": Case(module(Buffer), {"compiled": "compiled=False"}),
    "a tensor and what it was computed from": Case(
        module(Both), dict.fromkeys(("adjoint", *OURS, "compiled"), "gradient='backprop'")
    ),
    "one tensor, then another": Case(
        branch, dict.fromkeys(("adjoint", *OURS), "gradient='backprop'") | {"compiled": "compiled=False"}
    ),
    "another tensor from some time on": Case(
        module(Late),
        dict.fromkeys(("adjoint", *OURS), "gradient='backprop'") | {"compiled": "compiled=False"},
    ),
    "a derivative inside": Case(module(Inner), {"compiled": "compiled=False"}),
    "a value whose memory is filled again": Case(module(Refills), compiles=False),
    "a state changed in place": Case(
        module(Overwrites), dict.fromkeys(GRADIENTS, "in place"), compiles=False
    ),
    "a state changed in place from some time on": Case(
        module(OverwritesLate), dict.fromkeys(GRADIENTS, "in place"), compiles=False
    ),
    "a state changed through its `data` from the first evaluation on": Case(
        module(OverwritesData), dict.fromkeys(GRADIENTS, "in place"), compiles=False
    ),
    "a time changed in place": Case(module(MovesTime), dict.fromkeys(GRADIENTS, "in place"), compiles=False),
    "a value without gradient": Case(
        module(Detaches), dict.fromkeys(GRADIENTS, "has no gradient"), compiles=False
    ),
    "draws": Case(
        module(Draws),
        {
            "adjoint": "gradient='backprop'",
            ("checkpoint", "adaptive"): "fixed steps",
            ("auto", "adaptive"): "fixed steps",
            "compiled": "compiled=False",
        },
        closed=False,
    ),
    "draws from its own generator": Case(
        module(DrawsItsOwn),
        {"adjoint": NOT_REPEATED, "checkpoint": NOT_REPEATED, "compiled": "compiled=False"},
        closed=False,
    ),
    "a buffer that counts": Case(
        module(Counts), {"adjoint": "gradient='backprop'", "compiled": "compiled=False"}
    ),
    "a batch norm in training": Case(
        module(BatchNorm), {"adjoint": "gradient='backprop'", "compiled": "compiled=False"}, closed=False
    ),
    "a buffer that counts and matters": Case(
        module(DependsOnCount),
        {
            "adjoint": "gradient='backprop'",
            ("checkpoint", "adaptive"): NOT_REPEATED,
            "compiled": "compiled=False",
        },
        closed=False,
    ),
    "a module of a closure whose buffer counts and matters": Case(
        counts_in_a_closure,
        {
            "adjoint": "gradient='backprop'",
            ("checkpoint", "adaptive"): NOT_REPEATED,
            "compiled": "compiled=False",
        },
        closed=False,
    ),
    "a number that counts and matters": Case(
        module(DependsOnNumber),
        {"adjoint": NOT_REPEATED, "checkpoint": NOT_REPEATED},
        closed=False,
        compiles=False,
    ),
}

USAGES: dict[str, dict[Any, str]] = {
    "the gradient of a gradient": {"adjoint": "gradient='checkpoint' or 'backprop'"},
    "a gradient taken again": {},
    "`jacrev`, `jacfwd` and `grad` of torch.func": dict.fromkeys(
        ("adjoint", *OURS), "use gradient='backprop'"
    ),
    "`vmap` of torch.func": dict.fromkeys(("adjoint", *OURS), "use gradient='backprop'")
    | {("backprop", "adaptive"): "give the batch as an axis of the state"},
    "`no_grad`, `inference_mode`": {},
    "a state made under `inference_mode`": {},
    "`torch.autocast`, around both passes or one of them": {},
    "copies and pickles": {},
    "a field that fails on the way": {},
}
"""Refused, by gradient or by (gradient, solver)."""


def refusal(refused: dict[Any, str], gradient: str, kind: str, compiled: bool = False) -> str | None:
    """Return what the error says, None where there is none."""
    keys = [gradient, (gradient, kind), *(["compiled", ("compiled", kind)] if compiled else [])]
    found = [refused[key] for key in keys if key in refused]
    return found[-1] if found else None


def table() -> str:
    """Return what becomes of each case by each gradient, as a table."""
    columns = [*((g, False) for g in GRADIENTS), *((g, True) for g in COMPILED)]
    titles = [f"`{g}`{', compiled' if compiled else ''}" for g, compiled in columns]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, refused in [*((n, c.refused) for n, c in CASES.items()), *USAGES.items()]:
        compiled_too = name in CASES and CASES[name].compiles
        cells = [_cell(refused, *column) if compiled_too or not column[1] else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(refused: dict[Any, str], gradient: str, compiled: bool) -> str:
    words = ["refused" if refusal(refused, gradient, kind, compiled) else "right" for kind in SOLVERS]
    return (
        words[0]
        if words[0] == words[1]
        else ", ".join(f"{kind} {word}" for kind, word in zip(SOLVERS, words))
    )
