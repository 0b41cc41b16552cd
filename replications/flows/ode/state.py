"""A state of several parts as one tensor, and a field on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

Field = Callable[[Any, Any], Any]
Shapes = tuple[torch.Size, ...] | None
"""Of the parts of a tuple state; None for a state that is one tensor."""


def shapes_of(state: Any) -> Shapes:
    """Return the shapes of the parts of a state."""
    return None if isinstance(state, Tensor) else tuple(part.shape for part in state)


def join(state: Any, shapes: Shapes) -> Tensor:
    """Return a state as one tensor: its parts laid end to end, a tensor as it is."""
    return cast(Tensor, state) if shapes is None else torch.cat([part.reshape(-1) for part in state])


def split(y: Tensor, shapes: Shapes) -> Any:
    """Undo `join`, on any number of leading axes."""
    if shapes is None:
        return y
    parts = y.split([shape.numel() for shape in shapes], dim=-1)
    return tuple(part.reshape((*y.shape[:-1], *shape)) for part, shape in zip(parts, shapes))


def evaluate(field: Field, shapes: Shapes, t: Tensor, y: Tensor) -> Tensor:
    """Return f(t, y) of a state that is laid end to end."""
    return cast(Tensor, field(t, y)) if shapes is None else join(field(t, split(y, shapes)), shapes)


@torch.no_grad()
def norm(y: Tensor, shapes: Shapes) -> Tensor:
    """Return the largest root mean square of the parts; without gradient, so the steps have none."""
    parts = (y,) if shapes is None else split(y, shapes)
    return torch.stack([part.abs().square().mean().sqrt() for part in parts]).max()
