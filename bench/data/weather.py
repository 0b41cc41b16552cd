"""The weather of a year at three airports as rows of a table: one a full hour, without what is missing or discrete.

| column of each station | unit | from the file | uniform noise |
|---|---|---|---|
| temperature, dew point | degrees Fahrenheit | whole degrees, by way of tenths of degrees Celsius | U(-1/2, 1/2) |
| wind to the east, to the north | knots | speed in whole knots, origin in tens of degrees | see below |
| pressure at sea level | millibar | tenths | U(-1/20, 1/20) |

The noise is as wide as what a value was rounded to, so that the columns have a density. Speeds get U(-1/2, 1/2) and
directions U(-5, 5); a calm, reported below 3 knots as 0, gets a speed U(0, 2.5) and a direction U(0, 360).

An hour is left out where one of the fifteen values is missing, or a speed is above 100 knots, a fault of the file.
Relative humidity follows from temperature and dew point; gusts, rain and visibility are mostly one value: not here.

Neighbouring hours are alike, so whole days, in UTC, go to one part: of the days in random order the first fifth to test
on, the next tenth to validate, the rest to train. All parts are scaled by the mean and the standard deviation (divisor
N) of the train rows. Hours of a day are no independent rows: a standard error over test rows is too small.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

Rows = NDArray[np.float64]

STATIONS = ("EWR", "JFK", "LGA")
VALUES = ("temp", "dewp", "wind_speed", "wind_dir", "pressure")
KNOT = 1.15078
"""Miles an hour, as the file has it."""
FASTEST = 100.0
"""Knots."""
SEED = 2013
"""Of numpy's old generator, whose streams are frozen."""


def read(path: Path) -> tuple[NDArray[Any], Rows]:
    """Return the days `(N,)`, as text, and the values `(N, 3, 5)` of the hours at which no station lacks one.

    Raises:
        ValueError: it is no such table, or a station has an hour twice.
    """
    import pandas

    table = pandas.read_csv(path, usecols=["origin", "time_hour", *VALUES])
    wide = table.pivot(index="time_hour", columns="origin", values=list(VALUES)).dropna().sort_index()
    values = np.stack(
        [wide[[(value, at) for at in STATIONS]].to_numpy(np.float64) for value in VALUES], axis=2
    )
    return np.array([str(hour)[:10] for hour in wide.index]), values


def split_weather(days: NDArray[Any], values: Rows, rng: RandomState) -> tuple[Rows, Rows, Rows]:
    """Return the rows `(N, 15)` to train, validate and test on, the hours of each part in their order.

    Args:
        days: of each hour, `(N,)`.
        values: `(N, 3, 5)`: hours, stations, `VALUES`.
        rng: draws the noise, see `continuous`, then the order of the days.
    """
    right = (values[..., 2] / KNOT <= FASTEST).all(axis=1)
    rows = continuous(values[right], rng).reshape(right.sum(), -1)
    _, day = np.unique(days[right], return_inverse=True)
    rank = rng.permutation(day.max() + 1)[day]
    n = day.max() + 1
    test, validation = rank < n // 5, (rank >= n // 5) & (rank < n // 5 + n // 10)
    train = rows[~(test | validation)]
    mean, std = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / std, (rows[validation] - mean) / std, (rows[test] - mean) / std


def continuous(values: Rows, rng: RandomState) -> Rows:
    """Return temperature, dew point, wind to the east and north, pressure `(N, 3, 5)` with their noise.

    The draws, in this order, `(N, 3)` each: temperature, dew point, speed, direction, pressure.

    Args:
        values: `(N, 3, 5)`, `VALUES` as in the file.
        rng: draws.
    """
    noise: Mapping[str, Rows] = {name: rng.random_sample(values.shape[:2]) for name in VALUES}
    temp, dewp, speed, direction, pressure = np.moveaxis(values, 2, 0)
    knots = np.rint(speed / KNOT)
    calm = knots == 0
    knots = np.where(calm, 2.5 * noise["wind_speed"], knots + noise["wind_speed"] - 0.5)
    degrees = np.where(calm, 360 * noise["wind_dir"], direction + 10 * noise["wind_dir"] - 5)
    east, north = -knots * np.sin(np.deg2rad(degrees)), -knots * np.cos(np.deg2rad(degrees))
    columns = (
        temp + noise["temp"] - 0.5,
        dewp + noise["dewp"] - 0.5,
        east,
        north,
        pressure + 0.1 * (noise["pressure"] - 0.5),
    )
    return np.stack(columns, axis=2)
