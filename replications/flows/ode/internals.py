"""What torch offers through private names alone, in one place; but for torch.compile, see `onednn` and `products`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TorchDispatchMode", "add_all", "age", "in_backward", "is_leaf", "now", "transformed"]

_graph_task = torch._C._current_graph_task_id
_transforms_active = torch._C._are_functorch_transforms_active


def in_backward() -> bool:
    """Return whether autograd is running a backward pass."""
    return _graph_task() != -1


def transformed() -> bool:
    """Return whether a transform of torch.func, such as `grad` or `vmap`, is at work."""
    return _transforms_active()


def is_leaf(node: Any) -> bool:
    """Return whether a node of the graph stands for a leaf, its `variable`."""
    return node.__class__.__name__ == "AccumulateGrad"


def age(node: Any) -> int:
    """Return the number of a node of the graph, which counts up in each thread; of a leaf it is larger than any."""
    number: int = node._sequence_nr()
    return number


def now() -> int:
    """Return a number that is above those of this thread's nodes so far, and not above those that follow."""
    with torch.enable_grad():
        return age(_ONE.clone().grad_fn)


def add_all(sums: list[Tensor], terms: list[Tensor]) -> None:
    """Add tensors to others in place, in one call."""
    torch._foreach_add_(sums, terms)


_ONE = torch.ones((), requires_grad=True)
