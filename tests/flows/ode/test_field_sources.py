"""What a field's value depends on is found by its graph, and nothing else is taken for it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from replications.flows.errors import RequestError
from replications.flows.ode import sources
from replications.flows.ode.internals import now
from replications.flows.ode.sources import Opening, Sources, boundary, trace


class Called:
    """Evaluates a field at a state, and counts."""

    def __init__(self, field: Callable[[Tensor], Tensor]) -> None:
        self.field, self.calls = field, 0

    def __call__(self, y: Tensor) -> Tensor:
        self.calls += 1
        return self.field(y)


def found(field: Any, function: Callable[[Tensor], Tensor], leaf: bool = False) -> tuple[Opening, int]:
    evaluate = Called(function)
    opening = trace(field, evaluate, torch.tensor([1.0, 2.0]), leaf, nullcontext, "checkpoint")
    return opening, evaluate.calls


def leaf_of(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def same(tensors: Any, expected: Any) -> bool:
    return sorted(map(id, tensors)) == sorted(map(id, expected))


def test_a_graph_begins_at_its_leaves_and_at_older_nodes() -> None:
    w, v = leaf_of(1.0, 2.0), leaf_of(3.0, 4.0)
    old = torch.sin(v)
    pieces = torch.stack((old, old)).unbind()
    since = now()
    leaves, edges = boundary((w * torch.cos(old) + pieces[1],), since)
    assert same(leaves, [w])
    assert edges == {(old.grad_fn, 0), (pieces[1].grad_fn, 1)}
    assert same(boundary((w * torch.cos(old),), 0)[0], [w, v])  # nothing is older than that
    stops = {(old.grad_fn, 0)}
    assert boundary((w * torch.cos(old),), 0, stops)[1] == stops
    assert boundary((torch.ones(2),), since) == ([], set())
    assert boundary((old,), since) == ([], stops)  # the value itself is older


def test_parameters_and_buffers_are_named_and_need_one_evaluation() -> None:
    field = nn.Linear(2, 2)
    field.register_buffer("scale", leaf_of(0.5))
    field.bias.requires_grad_(False)
    opening, calls = found(field, lambda y: field.scale * field(y))
    assert calls == 1
    assert list(opening.sources.named) == ["weight", "scale"]
    assert same(opening.sources.tensors, [field.weight, field.scale])
    assert not opening.sources.leaves_of_its_own
    torch.testing.assert_close(opening.value, 0.5 * field(torch.tensor([1.0, 2.0])))


def test_a_parameter_without_use_counts_too() -> None:
    """At another time the field may use it."""
    field = nn.Linear(2, 2)
    opening, _ = found(field, lambda y: -y)
    assert same(opening.sources.tensors, field.parameters())


def test_the_graph_leads_to_the_state_where_it_is_asked_to() -> None:
    for leaf in (True, False):
        opening, calls = found(None, lambda y: 3 * y, leaf)
        assert calls == 1
        assert opening.sources == Sources({})
        assert opening.value.requires_grad == leaf
    opening, _ = found(None, lambda y: 3 * y, True)
    (slope,) = torch.autograd.grad(opening.value.sum(), opening.start)
    assert slope.tolist() == [3.0, 3.0]


def test_what_a_field_does_not_own_is_found() -> None:
    w, module = leaf_of(1.0, 2.0), nn.Linear(2, 2)
    c = torch.sin(leaf_of(0.1, 0.2))
    opening, calls = found(None, lambda y: w * y)
    assert (same(opening.sources.others, [w]), calls) == (True, 2)
    opening, calls = found(None, module)
    assert (same(opening.sources.others, module.parameters()), calls) == (
        True,
        1,
    )  # a field makes no parameters
    opening, calls = found(module, lambda y: module(y) * c + w)
    assert (same(opening.sources.others, [w, c]), calls) == (True, 2)
    assert list(opening.sources.named) == ["weight", "bias"]


def test_an_output_of_several_is_told_from_the_others() -> None:
    parts = torch.sin(leaf_of(1.0, 2.0, 3.0, 4.0)).split(2)
    opening, _ = found(None, lambda y: parts[1] * y)
    assert same(opening.sources.others, [parts[1]])


def test_what_a_field_makes_is_no_source() -> None:
    def slope(y: Tensor) -> Tensor:
        x = y.detach().requires_grad_()
        return torch.autograd.grad(x.pow(3).sum(), x, create_graph=True)[0]

    opening, _ = found(None, slope)
    assert opening.sources.others == ()
    assert opening.sources.leaves_of_its_own


def test_what_is_met_only_through_another_is_left_to_its_history() -> None:
    encoder, field = nn.Linear(2, 2), nn.Linear(2, 2)
    field.encoder = encoder
    c = torch.tanh(encoder(torch.ones(2)))
    opening, _ = found(field, lambda y: nn.functional.linear(y, field.weight) * c)
    assert list(opening.sources.named) == ["weight", "bias"]
    assert same(opening.sources.others, [c])


@pytest.mark.parametrize("through", [lambda w: w, torch.exp])
def test_a_tensor_and_one_computed_from_it_are_refused(through: Callable[[Tensor], Tensor]) -> None:
    a = through(leaf_of(1.0, 2.0))
    b = torch.sin(a)
    with pytest.raises(RequestError, match="can't tell apart"):
        found(None, lambda y: a * y + b)
    c = torch.cos(a)
    opening, _ = found(None, lambda y: b * y + c)  # of one history, neither from the other
    assert same(opening.sources.others, [b, c])


class Hidden(torch.autograd.Function):
    """Twice the first, with a made up gradient by the second, which it never looks at."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, c: Tensor) -> Tensor:
        return 2 * y

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * cotangent, cotangent


def test_a_tensor_that_no_operator_meets_is_refused() -> None:
    c = torch.sin(leaf_of(1.0, 2.0))
    with pytest.raises(RequestError, match="could not be found"):
        found(None, lambda y: Hidden.apply(y, c))


def test_another_evaluation_may_depend_on_less_but_not_on_more() -> None:
    w, v = leaf_of(1.0, 2.0), leaf_of(3.0, 4.0)
    c, d = torch.sin(v), torch.cos(v)
    known, y = Sources({"w": w}, (c,)), leaf_of(1.0, 1.0)
    since = now()
    known.check((w * y + c,), since, (y,))
    known.check((w * y,), since, (y,))
    known.check((torch.ones(2),), since, (y,))
    for value in (w * y + v, w * y + d, y * leaf_of(1.0, 1.0)):
        with pytest.raises(RequestError, match="did not use at the start"):
            known.check((w, value), since, (y,))
    makes_leaves = Sources({"w": w}, (c,), leaves_of_its_own=True)
    makes_leaves.check((w * y * leaf_of(1.0, 1.0),), since, (y,))
    with pytest.raises(RequestError, match="did not use at the start"):
        makes_leaves.check((w * y + d,), since, (y,))


def test_a_module_is_checked_ever_more_seldom_and_anew_after_a_fault() -> None:
    sources._solves.clear()
    field = nn.Linear(2, 2)
    own = Sources(dict(field.named_parameters()))
    due = [n for n in range(1, 20) if own.is_due(field)]
    assert due == [1, 2, 4, 8, 16]
    assert Sources({"weight": field.weight}).is_due(field)  # another kind
    assert all(own.is_due(lambda t, y: y) for _ in range(5))
    assert all(Sources({}, (field.weight,)).is_due(field) for _ in range(5))
    assert not own.is_due(field)
    with pytest.raises(RequestError):
        own.check((leaf_of(1.0) * 2,), now(), ())
    assert own.is_due(field)


def test_an_opening_is_where_it_was_taken_and_what_it_gave() -> None:
    """Of a field of its own parameters alone, and of one that uses another tensor."""
    y, u = torch.tensor([1.0, 2.0]), torch.sin(leaf_of(3.0, 4.0))
    for function in (lambda y: 3 * y, lambda y: u * y):
        opening, _ = found(None, function, leaf=True)
        assert torch.equal(opening.start, y)
        torch.testing.assert_close(opening.value, function(y))
