"""A user's own table of numbers: read, looked at for what no density can be fitted to, split, standardised."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays import read_npy
from bench.errors import UserError
from bench.text import told

Rows = NDArray[np.float64]

LARGEST = 2**30
"""Bytes of a file."""
LEAST = 50
"""Rows that a fit needs: 40 to train on, 5 to stop by, 5 to test on."""
ALIKE = 1 - 1e-9
"""Correlation from which two columns are one."""
FEW = 20
"""Distinct values below which a column is taken for a discrete one."""
SHOWN = 5
"""Names that a line lists."""


class TableFault(UserError):
    """What is wrong with a table, a line each.

    Args:
        lines: what is wrong.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Args:
        names: of the columns, D of them.
        rows: `(N, D)`, finite.
    """

    names: tuple[str, ...]
    rows: Rows


def read(path: Path, least: int = 1) -> Table:
    """Return the table of a CSV file with a header, an NPY file `(N, D)` or a Parquet file.

    Args:
        path: `.csv`, `.npy` or `.parquet`.
        least: rows that are needed.

    Raises:
        TableFault: columns of text, missing or infinite values, two columns of one name, too few rows.
        UserError: it can not be read.
    """
    if not path.is_file():
        raise UserError(f"no file {path}; give a .csv, .npy or .parquet file")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} has more than {LARGEST} bytes; give fewer rows")
    if path.suffix == ".npy":
        array = read_npy(path)
        if array.ndim != 2:
            raise UserError(f"{path} has the shape {array.shape}; give an array (rows, columns)")
        return _checked(path, [f"x{i}" for i in range(array.shape[1])], list(array.T), least)
    frame = _frame(path)
    return _checked(path, [str(name) for name in frame.columns], [frame[name] for name in frame], least)


def _frame(path: Path) -> Any:
    import pandas as pd

    try:
        if path.suffix == ".csv":
            header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].astype(str)
            if header.duplicated().any():
                name = header[header.duplicated()].iloc[0]
                raise TableFault([f"two columns of {path} are called {name!r}; rename one"])
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "error", pd.errors.ParserWarning
                )  # rows longer than the header would lose values
                return pd.read_csv(path, index_col=False)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
    except UserError:
        raise
    except ImportError as error:
        raise UserError("a Parquet file needs pyarrow: python -m pip install pyarrow") from error
    except Exception as error:  # a damaged file can fail in any way
        reason = told(error, 120)
        raise UserError(f"cannot read {path}: {reason}; give a CSV file with a header") from error
    raise UserError(f"{path} is of no known kind; give a .csv, .npy or .parquet file")


def _checked(path: Path, names: list[str], columns: list[Any], least: int) -> Table:
    faults, kept = [], []
    for name, column in zip(names, columns, strict=True):
        values = _numbers(column)
        if values is None:
            faults.append(f"column {name!r} of {path} holds text; leave it out or turn it into numbers")
        elif (bad := ~np.isfinite(values)).any():
            kind = "missing" if np.isnan(values[bad]).any() else "infinite"
            faults.append(
                f"column {name!r} of {path} has {bad.sum()} {kind} values, the first in row {bad.argmax() + 1}; "
                "fill or drop them"
            )
        else:
            kept.append(values)
    if not names:
        faults.append(f"{path} has no columns")
    if columns and len(columns[0]) < least:
        faults.append(f"{path} has {len(columns[0])} rows; at least {least} are needed")
    if faults:
        raise TableFault(faults)
    return Table(tuple(names), np.stack(kept, axis=1))


def _numbers(column: Any) -> Rows | None:
    """Return a column as float64, None where it is no numbers."""
    array = np.asarray(column)
    if array.dtype.kind not in "biuf":
        return None
    values: Rows = array.astype(np.float64)
    return values


def refuse_unfit(table: Table) -> None:
    """Refuse what has no density: constant columns, and columns that are one up to scale.

    Raises:
        TableFault: a line for each.
    """
    faults = [
        f"column {name!r} has one value only, {table.rows[0, i]:g}; leave it out"
        for i, name in enumerate(table.names)
        if np.ptp(table.rows[:, i]) == 0
    ]
    faults += [] if faults else list(_alike(table))
    if faults:
        raise TableFault(faults)


def _alike(table: Table) -> Iterator[str]:
    correlation = np.atleast_2d(np.corrcoef(table.rows, rowvar=False))
    for i, j in np.argwhere(np.triu(np.abs(correlation) >= ALIKE, 1)):
        yield f"columns {table.names[i]!r} and {table.names[j]!r} are one up to scale and shift; leave one out"


def remarks(table: Table) -> list[str]:
    """Return a line for each column that looks discrete, and one for rows that come more than once."""
    counts = [len(np.unique(column)) for column in table.rows.T]
    found = [
        f"column {name!r} has only {count} distinct values: discrete values have no density, add noise or leave it out"
        for name, count in zip(table.names, counts, strict=True)
        if count < min(FEW, len(table.rows))
    ]
    repeated = len(table.rows) - len(np.unique(table.rows, axis=0))
    return found + (
        [f"{repeated} rows come more than once: some may be in training and test"] if repeated else []
    )


@dataclass(frozen=True)
class Scale:
    """x = (y - mean) / std, a column each; log p(y) = log p(x) - sum log std."""

    mean: Rows
    std: Rows

    def standardised(self, rows: Rows) -> Rows:
        """Return x of rows y `(N, D)`."""
        found: Rows = (rows - self.mean) / self.std
        return found

    def original(self, rows: Rows) -> Rows:
        """Return y of rows x `(N, D)`."""
        found: Rows = rows * self.std + self.mean
        return found

    @property
    def log_volume(self) -> float:
        """Sum log std: what log p(x) is above log p(y), nats."""
        return float(np.log(self.std).sum())


def scale_of(rows: Rows) -> Scale:
    """Return mean and standard deviation (divisor N) of each column."""
    return Scale(rows.mean(axis=0), rows.std(axis=0))


def split(n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return which of n rows are for training, validation and test: eight, one and one tenth, at random."""
    order = rng.permutation(n)
    tenth = n // 10
    return order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth]
