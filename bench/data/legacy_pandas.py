"""Data frames that pandas of the years before 2020 pickled, read without pandas."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_old_frame(path: Path) -> dict[Any, NDArray[Any]]:
    """Return column -> values `(N,)`, in the frame's order, of a DataFrame pickled by pandas before 1.0.

    Pandas of today reads no such pickle, and a pickle may run code. So no class of pandas is used: the columns are
    taken from the state of the frame's block manager, (axes, values of the blocks, column names of the blocks, ...).
    Tried on the pickles that pandas kept for its own tests, of 0.10.1 to 0.19.2 under Python 2 and 3.

    Raises:
        pickle.UnpicklingError: the pickle refers to anything but a frame's classes, numpy arrays and slices.
    """
    with path.open("rb") as stream:
        frame = _FrameUnpickler(stream, encoding="latin1").load()
    # Before pandas 0.17 the manager was the frame's whole state.
    manager = frame.state["_data"] if isinstance(frame.state, dict) else frame.state
    axes, blocks, block_names = manager.state[:3]
    columns = {
        name: row
        for values, inside in zip(blocks, block_names)
        for name, row in zip(inside, values, strict=True)
    }
    return {name: columns[name] for name in axes[0]}


class _Shell:
    """Stands for a class of pandas and keeps the state that a pickle gives its object."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Index(np.ndarray):
    """Stands for an index before pandas 0.15, an array of its labels; the state is (an array's state, name)."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0] if len(state) == 2 else state)


def _new_index(kind: type, parts: dict[str, Any]) -> Any:
    """Return the labels of a newer index; those of a range, which has no array, are not needed."""
    return parts.get("data")


_INDICES = ("Index", "Int64Index", "Float64Index", "RangeIndex")
_ALLOWED: dict[str, dict[str, Any]] = {
    "builtins": {"slice": slice},
    "__builtin__": {"slice": slice},  # its name in Python 2
    "numpy": {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype},
    "pandas": {"DataFrame": _Shell, "BlockManager": _Shell, "_new_Index": _new_index}
    | dict.fromkeys(_INDICES, _Index),
}


class _FrameUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get(module.partition(".")[0], {})  # the submodules moved from version to version
        if name not in allowed:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return allowed[name]
