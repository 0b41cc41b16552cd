"""Which modules a field can reach."""

import functools
from typing import Any

import pytest
from torch import Tensor, nn

from replications.flows.ode.reach import modules_of

NET = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
ALL = {NET, *NET}


class Hidden(nn.Module):
    """A module in a list, which torch does not register."""

    def __init__(self) -> None:
        super().__init__()
        self._inside = [{"net": NET}]


class Plain:
    """A callable that is no module."""

    def __init__(self) -> None:
        self.net = NET
        self.itself = self

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return NET(y)

    def method(self, t: Tensor, y: Tensor) -> Tensor:
        return y


def of_a_closure() -> Any:
    net = NET
    return lambda t, y: net(y)


def by_name(t: Tensor, y: Tensor) -> Tensor:
    return NET(y)


def through_another(t: Tensor, y: Tensor) -> Tensor:
    return by_name(t, y)


def of_none(t: Tensor, y: Tensor) -> Tensor:
    return y


@pytest.mark.parametrize(
    "field",
    [
        NET,
        of_a_closure(),
        by_name,
        through_another,
        Plain(),
        Plain().method,
        functools.partial(of_none, NET),
        functools.partial(of_none, y=(NET,)),
    ],
)
def test_they_are_found(field: Any) -> None:
    assert set(modules_of(field)) == ALL
    assert len(list(modules_of(field))) == len(ALL)


def test_a_list_of_a_module_is_looked_into() -> None:
    field = Hidden()
    assert set(modules_of(field)) == {field, *ALL}


def test_a_long_list_is_data() -> None:
    field = Plain()
    field.net, field.rows = None, [NET] * 100  # type: ignore[assignment,attr-defined]
    assert set(modules_of(field)) == ALL
    field.rows.append(NET)  # type: ignore[attr-defined]
    assert not list(modules_of(field))


def test_a_field_without_modules_has_none() -> None:
    assert not list(modules_of(of_none))
    assert not list(modules_of(len))


def test_a_variable_that_is_not_assigned_yet_is_passed_over() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return late(y)  # type: ignore[no-any-return]

    assert not list(modules_of(field))
    late = NET
    assert set(modules_of(field)) == ALL
