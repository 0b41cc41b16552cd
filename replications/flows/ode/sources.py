"""What the value of a field depends on beside time and state: the tensors that a gradient has to reach.

A field may use tensors that are no parameters of its own: of a closure, of a conditioning network, of an attribute.
Autograd knows them: in the graph of one evaluation they are where the graph of before begins, or its leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from replications.flows.errors import RequestError
from replications.flows.ode.internals import TorchDispatchMode, age, is_leaf, now

Edge = tuple[Any, int]
"""A node of the graph and the number of its output."""


@dataclass(frozen=True)
class Sources:
    """The tensors that a field depends on.

    Args:
        named: parameters and buffers of the field that need a gradient, by name.
        others: what it uses beside them.
        leaves_of_its_own: whether it makes leaves while it is evaluated, as for derivatives inside.
    """

    named: dict[str, Tensor]
    others: tuple[Tensor, ...] = ()
    leaves_of_its_own: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return (*self.named.values(), *self.others)

    def is_due(self, field: Any) -> bool:
        """Return whether another evaluation of this solve is to be checked.

        It costs some percent of a small solve. So a module that uses nothing but its own is checked in its first solve,
        the second, the fourth and so on, told from others by its type and parameters; all other fields always.
        """
        if self.others or not isinstance(field, nn.Module):
            return True
        key = (type(field), *self.named)
        _solves[key] += 1
        return _solves[key].bit_count() == 1

    def check(self, values: Sequence[Tensor], since: int, inner: Sequence[Tensor]) -> None:
        """See that another evaluation depends on nothing else.

        Args:
            values: what was computed.
            since: `now()` before.
            inner: what it was computed from, time or state.

        Raises:
            RequestError: it does.
        """
        known_tensors = (*self.tensors, *inner)
        stops = {_edge(x) for x in known_tensors if x.grad_fn is not None}
        leaves, edges = boundary(values, since, stops)
        known = {id(x) for x in known_tensors}
        strange = [] if self.leaves_of_its_own else [x for x in leaves if id(x) not in known]
        if strange or not edges <= stops:
            _solves.clear()  # all are due again
            raise RequestError(
                "the field uses a tensor that it did not use at the start of the solve, whose gradient would be lost; "
                "use gradient='backprop', or make it a parameter or buffer of the field"
            )


_solves: Counter[tuple[Any, ...]] = Counter()
"""Of each kind of field, the solves with a gradient so far."""


class Opening(NamedTuple):
    """The first evaluation of a solve, with its graph: where it was taken, f(t0, y0), and what that depends on."""

    start: Tensor
    value: Tensor
    sources: Sources


def trace(
    field: Any,
    evaluate: Callable[[Tensor], Tensor],
    y: Tensor,
    leaf: bool,
    aside: Callable[[], AbstractContextManager[None]],
    gradient: str,
) -> Opening:
    """Evaluate a field with a graph, and find what its value depends on.

    A field that uses more than parameters and its own buffers is evaluated twice, to tell what it uses from what it
    makes.

    Args:
        field: it, whose parameters count whether or not this value depends on them.
        evaluate: returns its value at a state.
        y: the state.
        leaf: whether the graph is to lead to the state too.
        aside: hides an evaluation from what the field remembers.
        gradient: named in errors.

    Raises:
        RequestError: a tensor that can't be found, or one that was computed from another that the field uses too.
    """
    since, start = now(), y.detach()
    with torch.enable_grad():
        value = evaluate(start.requires_grad_() if leaf else start)
    leaves, edges = boundary((value,), since)
    leaves = [x for x in leaves if x is not start]
    named = dict(_owned(field))
    own = {id(x) for x in named.values()}
    beside = [x for x in leaves if id(x) not in own]
    if not edges and all(isinstance(x, nn.Parameter) for x in beside):
        return Opening(start, value, Sources(named, tuple(beside)))
    with aside(), torch.enable_grad(), _Met() as met:
        again = evaluate(y.detach())
    lasting = {id(x) for x in boundary((again,), since)[0]}
    others = [x for x in beside if id(x) in lasting]
    others += _of_edges(edges, named, met, gradient)
    leaves_of_its_own = any(id(x) not in lasting for x in beside)
    direct = {id(x) for x in (*leaves, *others)}
    return Opening(
        start, value, Sources(_apart(named, others, direct, gradient), tuple(others), leaves_of_its_own)
    )


def check_constant(evaluate: Callable[[Tensor], Tensor], y: Tensor) -> None:
    """See that a field whose value has no graph does not depend on its state either.

    Args:
        evaluate: returns its value at a state.
        y: a state.

    Raises:
        RequestError: it does.
    """
    with torch.no_grad():
        moved = y + torch.finfo(y.dtype).eps ** 0.5 * (1 + y.abs())
        if not torch.equal(evaluate(moved), evaluate(y.detach())):
            raise RequestError(
                "the field's value depends on its state but has no gradient: it detaches, computes under no_grad or "
                "leaves torch; let it compute with gradient, or solve under torch.no_grad()"
            )


def boundary(
    values: Sequence[Tensor], since: int, stops: Collection[Edge] = ()
) -> tuple[list[Tensor], set[Edge]]:
    """Return where a graph begins: its leaves, and its `stops` and edges to nodes that are older than `since`.

    The stops are for a backward pass, which may run in a thread with numbers of its own.
    """
    leaves, edges, seen = list[Tensor](), set[Edge](), set[Any]()
    open_edges = [_edge(value) for value in values if value.requires_grad]
    while open_edges:
        edge = open_edges.pop()
        node = edge[0]
        if node is None or node in seen:
            continue
        if age(node) < since or edge in stops:
            edges.add(edge)
            continue
        seen.add(node)
        following = node.next_functions
        if not following and is_leaf(node):
            leaves.append(node.variable)
        open_edges += following
    return leaves, edges


def _edge(x: Tensor) -> Edge:
    node, output = get_gradient_edge(x)[:2]
    return node, output


def _owned(field: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers that need a gradient, by name."""
    if isinstance(field, nn.Module):
        yield from ((name, p) for name, p in field.named_parameters() if p.requires_grad)
        yield from ((name, b) for name, b in field.named_buffers() if b.requires_grad)


class _Met(TorchDispatchMode):
    """Keeps the tensors with a history that operators meet, by their edges."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[Edge, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for x in _tensors((args, tuple(kwargs.values()))):
            if x.grad_fn is not None:
                self.tensors.setdefault(_edge(x), x)
        return func(*args, **kwargs)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _of_edges(edges: set[Edge], named: dict[str, Tensor], met: _Met, gradient: str) -> list[Tensor]:
    """Return the tensors of edges to older nodes, but for those that have a name."""
    own = {_edge(x) for x in named.values() if x.grad_fn is not None}
    lost = [edge for edge in edges if edge not in own and edge not in met.tensors]
    if lost:
        raise RequestError(
            f"the field depends on a tensor that could not be found, whose gradient gradient={gradient!r} would lose; "
            "use gradient='backprop', or make it a parameter or buffer of the field"
        )
    return [met.tensors[edge] for edge in edges - own]


def _apart(
    named: dict[str, Tensor], others: list[Tensor], direct: set[int], gradient: str
) -> dict[str, Tensor]:
    """Return the named sources without those that the field meets only through another, whose history leads to them."""
    leaves, edges = _history((*named.values(), *others))

    def older(x: Tensor) -> bool:
        return id(x) in leaves if x.grad_fn is None else _edge(x) in edges

    if any(id(x) in direct and older(x) for x in (*named.values(), *others)):
        raise RequestError(
            "the field uses a tensor and another that was computed from it, whose gradients "
            f"gradient={gradient!r} can't tell apart; use gradient='backprop', or compute it inside the field"
        )
    return {name: x for name, x in named.items() if not older(x)}


def _history(tensors: tuple[Tensor, ...]) -> tuple[set[int], set[Edge]]:
    """Return the leaves, by identity, and the edges that tensors were computed from."""
    leaves, edges = set[int](), set[Edge]()
    open_edges = [edge for x in tensors if x.grad_fn is not None for edge in _edge(x)[0].next_functions]
    while open_edges:
        node, output = open_edges.pop()
        if node is None or (node, output) in edges:
            continue
        edges.add((node, output))
        if is_leaf(node):
            leaves.add(id(node.variable))
        open_edges.extend(node.next_functions)
    return leaves, edges
