"""Coefficients of the explicit Runge-Kutta methods, as their authors print them.

| symbol | code | shape | equation |
|---|---|---|---|
| c_i | `nodes` | `(s,)` | t_i = t + c_i h |
| a_ij | `stages` | `s` rows | y_i = y + h sum_{j<i} a_ij k_j, k_i = f(t_i, y_i) |
| b_i | `weights` | `(s,)` | y_next = y + h sum_i b_i k_i |
| e_i | `errors` | `(s,)` | error estimate h sum_i e_i k_i, e_i = b_i less the weights of the embedded method |

Sources: dopri5 dormand1980family, dopri8 prince1981high (rational approximations: its conditions hold to rounding),
bosh3 bogacki1989pair, fehlberg2 fehlberg1969low, the others hairer1993solving; rk4 is Kutta's 3/8 rule.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import NamedTuple


class Exact(NamedTuple):
    """A method in fractions; `embedded` are the weights of the method that the error estimate compares with."""

    order: int
    stages: tuple[tuple[Fraction, ...], ...]
    weights: tuple[Fraction, ...]
    embedded: tuple[Fraction, ...] = ()

    @property
    def nodes(self) -> tuple[Fraction, ...]:
        """c_i = sum_j a_ij."""
        return tuple(sum(row, Fraction(0)) for row in self.stages)


class Tableau(NamedTuple):
    """The coefficients in floating point; `errors` only of a method with an error estimate, else empty."""

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def fsal(self) -> bool:
        """First same as last: whether the last stage is the end point, so that its slope serves the next step."""
        return self.weights == (*self.stages[-1], 0.0)

    @property
    def hands_over(self) -> bool:
        """Whether the last slope, which the next step starts from, is not f at the end point.

        As in torchdiffeq, an adaptive step without `fsal` hands its last slope over all the same.
        """
        return bool(self.errors) and not self.fsal

    @property
    def needed(self) -> tuple[float, ...]:
        """The nodes of the stages that y_next, and the slope where it is handed over, depend on."""
        return self.nodes[:-1] if self.fsal else self.nodes


def _read(order: int, stages: str, weights: str, embedded: str = "") -> Exact:
    rows = tuple(tuple(map(Fraction, row.split())) for row in stages.split("|"))
    return Exact(order, rows, tuple(map(Fraction, weights.split())), tuple(map(Fraction, embedded.split())))


_DOPRI5 = "35/384 0 500/1113 125/192 -2187/6784 11/84"
_DOPRI8 = (
    "14005451/335480064 0 0 0 0 -59238493/1068277825 181606767/758867731 561292985/797845732"
    " -1041891430/1371343529 760417239/1151165299 118820643/751138087 -528747749/2220607170 1/4"
)

METHODS: dict[str, Exact] = {
    "euler": _read(1, "", "1"),
    "midpoint": _read(2, "|1/2", "0 1"),
    "heun2": _read(2, "|1", "1/2 1/2"),
    "heun3": _read(3, "|1/3|0 2/3", "1/4 0 3/4"),
    "rk4": _read(4, "|1/3|-1/3 1|1 -1 1", "1/8 3/8 3/8 1/8"),
    "adaptive_heun": _read(2, "|1", "1/2 1/2", "0 1"),
    "fehlberg2": _read(2, "|1/2|1/256 255/256", "1/512 255/256 1/512", "1/256 255/256 0"),
    "bosh3": _read(3, "|1/2|0 3/4|2/9 1/3 4/9", "2/9 1/3 4/9 0", "7/24 1/4 1/3 1/8"),
    "dopri5": _read(
        5,
        "|1/5|3/40 9/40|44/45 -56/15 32/9|19372/6561 -25360/2187 64448/6561 -212/729"
        f"|9017/3168 -355/33 46732/5247 49/176 -5103/18656|{_DOPRI5}",
        f"{_DOPRI5} 0",
        "1951/21600 0 22642/50085 451/720 -12231/42400 649/6300 1/60",
    ),
    "dopri8": _read(
        8,
        "|1/18|1/48 1/16|1/32 0 3/32|5/16 0 -75/64 75/64|3/80 0 0 3/16 3/20"
        "|29443841/614563906 0 0 77736538/692538347 -28693883/1125000000 23124283/1800000000"
        "|16016141/946692911 0 0 61564180/158732637 22789713/633445777 545815736/2771057229 -180193667/1043307555"
        "|39632708/573591083 0 0 -433636366/683701615 -421739975/2616292301 100302831/723423059"
        " 790204164/839813087 800635310/3783071287"
        "|246121993/1340847787 0 0 -37695042795/15268766246 -309121744/1061227803 -12992083/490766935"
        " 6005943493/2108947869 393006217/1396673457 123872331/1001029789"
        "|-1028468189/846180014 0 0 8478235783/508512852 1311729495/1432422823 -10304129995/1701304382"
        " -48777925059/3047939560 15336726248/1032824649 -45442868181/3398467696 3065993473/597172653"
        "|185892177/718116043 0 0 -3185094517/667107341 -477755414/1098053517 -703635378/230739211"
        " 5731566787/1027545527 5232866602/850066563 -4093664535/808688257 3962137247/1805957418 65686358/487910083"
        "|403863854/491063109 0 0 -5068492393/434740067 -411421997/543043805 652783627/914296604"
        " 11173962825/925320556 -13158990841/6184727034 3936647629/1978049680 -160528059/685178525"
        f" 248638103/1413531060 0|{_DOPRI8}",
        f"{_DOPRI8} 0",
        "13451932/455176623 0 0 0 0 -808719846/976000145 1757004468/5645159321 656045339/265891186"
        " -3867574721/1518517206 465885868/322736535 53011238/667516719 2/45 0 0",
    ),
}


def tableau(method: str) -> Tableau:
    """Return the coefficients of a method."""
    return _tableau(method)


@functools.cache  # apart from the above: torch.compile would look through a cache
def _tableau(method: str) -> Tableau:
    exact = METHODS[method]
    errors = tuple(float(b - e) for b, e in zip(exact.weights, exact.embedded))
    stages = tuple(tuple(map(float, row)) for row in exact.stages)
    return Tableau(
        exact.order, tuple(map(float, exact.nodes)), stages, tuple(map(float, exact.weights)), errors
    )
