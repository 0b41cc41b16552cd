"""A state of several parts as one tensor, a field on it, and what of both can not be solved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor

from replications.flows.errors import RequestError

Field = Callable[[Any, Any], Any]
Shapes = tuple[torch.Size, ...] | None
"""Of the parts of a tuple state; None for a state that is one tensor."""
IN_PLACE = "the field changes its time, its state or a leaf in place; let it work on a copy: y = y.clone()"


def read_state(state: Any) -> tuple[Tensor, Shapes]:
    """Return a state as one tensor, and the shapes of its parts.

    Raises:
        RequestError: not a tensor or a tuple of them, not in single or double precision, parts of different kinds.
    """
    parts = state if isinstance(state, tuple) else (state,)
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise RequestError(f"a state is a tensor or a tuple of tensors, not {_kind(state)}")
    kinds = dict.fromkeys((part.dtype, part.device) for part in parts)
    if len(kinds) > 1:
        each = " and ".join(f"{dtype} on {device}" for dtype, device in kinds)
        raise RequestError(f"the parts of a state must be of one type on one device, got {each}")
    if parts[0].dtype not in (torch.float32, torch.float64):
        raise RequestError(
            f"a state must be float32 or float64, not {_name(parts[0].dtype)}; {_mend(parts[0])}"
        )
    shapes = tuple(part.shape for part in parts) if isinstance(state, tuple) else None
    y = join(state, shapes)
    # Made under inference_mode it could not be kept for a backward pass.
    return y.clone() if y.is_inference() and not torch.is_inference_mode_enabled() else y, shapes


def _kind(state: Any) -> str:
    if isinstance(state, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in state) or 'nothing'}"
    return f"a {type(state).__name__}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _mend(part: Tensor) -> str:
    if part.is_floating_point():
        return "solve in float32 and let the field compute under torch.autocast"
    return "give torch.view_as_real of it" if part.is_complex() else "convert it"


def read_times(times: Any) -> list[float]:
    """Return times as numbers.

    Raises:
        RequestError: one of them is not a finite number, or needs a gradient.
    """
    if isinstance(times, Tensor) and times.dim() != 1:
        raise RequestError(f"the times must be (T,), got the shape {tuple(times.shape)}")
    return [_read_time(t) for t in cast(Iterable[Any], times)]


def _read_time(t: Any) -> float:
    if isinstance(t, Tensor) and t.requires_grad:
        raise RequestError("the times of a solve get no gradient; detach them")
    try:
        number = math.nan if isinstance(t, str) else float(t)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RequestError(f"a time must be one number, got {t!r}") from error
    if not math.isfinite(number):
        raise RequestError(f"the times of a solve must be finite numbers, got {t!r}")
    return number


def as_tensor(times: list[float], like: Tensor) -> Tensor:
    """Return times in double precision, or single where the device has no other."""
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.tensor(times, dtype=dtype, device=like.device)


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
    """Return f(t, y) of a state that is laid end to end, in memory that the field does not write to again.

    Under torch.autocast a field may return another precision than the state's, which is converted.

    Raises:
        RequestError: the value differs from the state in structure, shape, type or device; the field changed its
            arguments.
    """
    if (
        torch.compiler.is_compiling()
    ):  # copies, which are left out of the graph where the field writes to none
        return _read_value(field(t.clone(), split(y.clone(), shapes)), shapes, y)
    before = _version(t), _version(y)
    try:
        value = field(t, split(y, shapes))
    except RuntimeError as error:
        if "a leaf Variable that requires grad is being used in an in-place operation" not in str(error):
            raise
        raise RequestError(IN_PLACE) from error
    if (_version(t), _version(y)) != before:
        raise RequestError(IN_PLACE)
    value = _read_value(value, shapes, y)
    # Written to already, it may be memory that the field keeps and fills again at the next evaluation.
    return value.clone() if value.is_inference() or value._version > 0 else value


def _version(x: Tensor) -> int:
    """Return how often a tensor was written to; torch does not count it under inference_mode."""
    return 0 if x.is_inference() else x._version


def _read_value(value: Any, shapes: Shapes, y: Tensor) -> Tensor:
    """Return the value of a field as one tensor, if it is as the state."""
    if shapes is None:
        return _like(value, y, y.shape)
    if not isinstance(value, (tuple, list)) or len(value) != len(shapes):
        raise RequestError(f"the field must return {len(shapes)} parts as the state has, not {_kind(value)}")
    return join([_like(part, y, shape) for part, shape in zip(value, shapes)], shapes)


def _like(value: Any, y: Tensor, shape: torch.Size) -> Tensor:
    """Return a part of a field's value, if it is of the shape and kind of its part of the state."""
    if not isinstance(value, Tensor):
        raise RequestError(f"the field must return tensors, not a {type(value).__name__}")
    if value.shape != shape:
        raise RequestError(f"the field returned the shape {tuple(value.shape)} for a state of {tuple(shape)}")
    if value.device != y.device:
        raise RequestError(f"the field returned a value on {value.device} for a state on {y.device}")
    if value.dtype == y.dtype:
        return value
    if value.is_floating_point() and torch.is_autocast_enabled(y.device.type):
        return value.to(y.dtype)
    raise RequestError(
        f"the field returned {_name(value.dtype)} for a state of {_name(y.dtype)}; convert one of them"
    )


@torch.no_grad()
def norm(y: Tensor, shapes: Shapes) -> Tensor:
    """Return the largest root mean square of the parts; without gradient, so the steps have none."""
    parts = (y,) if shapes is None else [part for part in split(y, shapes) if part.numel()]
    return torch.stack([part.square().mean().sqrt() for part in parts]).max()
