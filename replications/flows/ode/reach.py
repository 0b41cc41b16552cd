"""The modules that a field can reach, whether or not it owns them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import nn

LONGEST = 100
"""A container of more items is taken for data."""
OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def modules_of(field: Any) -> Iterator[nn.Module]:
    """Yield the modules that a field can reach, each once.

    They are itself and its submodules, and what lies in its attributes, its closure, its bound arguments and the global
    variables it names; through containers, and through functions of the same file.
    """
    seen, open_ = set[int](), [field]
    while open_:
        x = open_.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, nn.Module):
            yield x
        open_.extend(_next(x))


def _next(x: Any) -> Iterable[Any]:
    """Return what an object refers to, of the kinds that may lead to a module."""
    if isinstance(x, nn.Module):
        return (*x._modules.values(), *(v for name, v in vars(x).items() if name not in OF_TORCH))
    if isinstance(x, (list, tuple, dict)):
        return () if len(x) > LONGEST else x.values() if isinstance(x, dict) else x
    if isinstance(x, functools.partial):
        return (x.func, x.args, x.keywords)
    if isinstance(x, MethodType):
        return (x.__self__, x.__func__)
    if isinstance(x, FunctionType):
        return (*_closure(x), *_named_globals(x))
    if callable(x) and not isinstance(x, type):
        return getattr(x, "__dict__", {}).values()
    return ()


def _closure(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _named_globals(function: FunctionType) -> Iterator[Any]:
    space = function.__globals__
    for name in function.__code__.co_names:
        value = space.get(name)
        if isinstance(value, nn.Module) or (isinstance(value, FunctionType) and value.__globals__ is space):
            yield value
