"""The settings that RNODE adds to those of a flow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Regularization:
    """Weights of the two regularizers, beside a loss in bits/dim.

    Args:
        kinetic: lambda_K, of the mean over dimensions of f^2/2.
        jacobian: lambda_J, of the mean over dimensions of (J eps)^2.
    """

    kinetic: float = 0.0
    jacobian: float = 0.0
