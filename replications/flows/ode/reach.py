"""The modules that a field can reach, whether or not it owns them.

They are looked for in what the field refers to: attributes, containers, closures, defaults, bound arguments, and the
global variables that its code names. (A hook on calls would find those that are called and no other, but with it a
network compiled by torch.compile is compiled anew in each solve.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

LONGEST = 200
"""A container of more items is taken for data."""
MOST = 2000
"""Objects that are looked at; what lies beyond is taken for data too."""
OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has."""
PLAIN = (str, bytes, int, float, complex, bool, type(None), type, Tensor, ModuleType)


def modules_of(field: Any) -> Iterator[nn.Module]:
    """Yield the modules that a field can reach, each once."""
    seen, open_ = dict[int, Any](), [field]
    while open_ and len(seen) < MOST:
        x = open_.pop(0)
        if id(x) in seen or issubclass(type(x), PLAIN):
            continue
        seen[id(x)] = x  # held, or another object might get its number
        if issubclass(type(x), nn.Module):
            yield x
        open_.extend(_next(x))


def _next(x: Any) -> Iterable[Any]:
    """Return what an object refers to."""
    kind = type(x)
    if issubclass(kind, nn.Module):
        own = _attributes(x)
        children = own.get("_modules") or {}
        return (*children.values(), *(v for name, v in own.items() if name not in OF_TORCH), kind.forward)
    if kind in (list, tuple, set, frozenset):
        return () if len(x) > LONGEST else x
    if kind is dict:
        return () if len(x) > LONGEST else x.values()
    if kind is functools.partial:
        return (x.func, x.args, x.keywords)
    if kind is MethodType:
        return (x.__self__, x.__func__)
    if kind is FunctionType:
        return (*_closure(x), x.__defaults__, x.__kwdefaults__, *_named_globals(x))
    if kind.__module__.partition(".")[0] in ("builtins", "torch", "numpy"):
        return ()
    own = _attributes(x)
    return (() if len(own) > LONGEST else tuple(own.values())) + (getattr(kind, "__call__", None),)  # noqa: B004


def _attributes(x: Any) -> dict[str, Any]:
    """Return the attributes of an instance as they lie there; no code of the object runs."""
    try:
        own = object.__getattribute__(x, "__dict__")
    except AttributeError:
        return {}
    return own if type(own) is dict else {}


def _closure(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _named_globals(function: FunctionType) -> Iterator[Any]:
    """Yield the global variables that a function names; of functions those of its own file."""
    space = function.__globals__
    for name in _names(function.__code__):
        value = space.get(name)
        if type(value) is not FunctionType or value.__globals__ is space:
            yield value


@functools.lru_cache(maxsize=256)
def _names(code: CodeType) -> tuple[str, ...]:
    inner = (name for each in code.co_consts if isinstance(each, CodeType) for name in _names(each))
    return (*code.co_names, *inner)
