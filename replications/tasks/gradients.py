r"""A gradient as one vector, and how far one is from another.

| quantity | code | shape | equation |
|---|---|---|---|
| gradient | `flat_gradient` | `(P,)` | dL/dtheta by all parameters, one after the other |
| relative error | `relative_error` | scalar | \|g - g*\| / \|g*\|, Euclidean norms |
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def flat_gradient(loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Return the gradient `(P,)` of a scalar by parameters it depends on."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(parameters))])


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return |found - exact| / |exact|, Euclidean norms over all entries."""
    return ((found - exact).norm() / exact.norm()).item()
