"""Linear systems, solved in closed form."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray


def solution(matrix: ArrayLike, y0: ArrayLike, times: ArrayLike) -> NDArray[np.float64]:
    """Solve the linear system y' = A y exactly: y(t) = exp(A t) y(0).

    Args:
        matrix: A, shape `(D, D)`; a 2-D spiral has complex eigenvalues.
        y0: y(0), shape `(D,)`.
        times: t, shape `(T,)`, in any order and of either sign.

    Returns:
        y(t), shape `(T, D)`, float64.
    """
    a, start, t = (np.asarray(value, dtype=np.float64) for value in (matrix, y0, times))
    propagators: NDArray[np.float64] = scipy.linalg.expm(t[:, None, None] * a)
    return propagators @ start
