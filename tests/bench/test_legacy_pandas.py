"""Frames pickled by old pandas, and GAS, which is one."""

from __future__ import annotations

import copyreg
import dataclasses
import io
import os
import pickle
import struct
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.data import tabular
from bench.data.legacy_pandas import read_old_frame
from bench.errors import UserError


class Frame:
    pass


class Manager:
    pass


class Index:
    pass


def new_index(kind, parts):
    raise NotImplementedError


class OldArrayIndex(np.ndarray):
    def __reduce__(self):
        function, arguments, state = np.asarray(self).__reduce__()
        return function, (OldArrayIndex, *arguments[1:]), (state, (None,))


class OldPickler(pickle._Pickler):
    """Writes what Python 2 wrote, and this module's classes under the names that old pandas gave them."""

    names: ClassVar = {
        Frame: b"pandas.core.frame\nDataFrame",
        Manager: b"pandas.core.internals\nBlockManager",
        Index: b"pandas.indexes.base\nIndex",
        OldArrayIndex: b"pandas.core.index\nIndex",
        new_index: b"pandas.indexes.base\n_new_Index",
    }
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_global(self, obj, name=None):
        if obj not in self.names:
            return super().save_global(obj, name)
        self.write(b"c" + self.names[obj] + b"\n")
        self.memoize(obj)
        return None

    dispatch[FunctionType] = save_global

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode()
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string

    def reducer_override(self, value):
        if isinstance(value, Labels):
            return new_index, (Index, {"data": value.data, "name": None})
        if type(value) in (Frame, Manager):
            return copyreg.__newobj__, (type(value),), value.state
        return NotImplemented


@dataclasses.dataclass
class Labels:
    data: Any


def legacy_pandas(columns: dict[str, np.ndarray], version: str, second_block: tuple[str, ...] = ()) -> bytes:
    """Return what `to_pickle` wrote: a frame of one block, or of two."""

    def labels(names):
        values = np.array(names, dtype=object)
        return values.view(OldArrayIndex) if version == "0.14" else Labels(values)

    groups = [[name for name in columns if (name in second_block) == second] for second in (False, True)]
    groups = [group for group in groups if group]
    axes = [labels(list(columns)), labels([0, 1])]
    values = [np.stack([columns[name] for name in group]) for group in groups]
    manager, frame = Manager(), Frame()
    manager.state = (axes, values, [labels(group) for group in groups])
    if version == "0.19":
        manager.state += ({"0.14.1": {"blocks": [{"values": values[0], "mgr_locs": slice(0, 2, 1)}]}},)
    frame.state = {"_data": manager, "_typ": "dataframe", "_metadata": []} if version == "0.19" else manager
    stream = io.BytesIO()
    OldPickler(stream, protocol=2).dump(frame)
    return stream.getvalue()


def gas_columns(n: int = 50) -> dict[str, np.ndarray]:
    names = ("Time", "CO", "Meth", "Eth", "R1")
    return dict(zip(names, np.random.default_rng(9).normal(size=(5, n)), strict=True))


@pytest.fixture
def gas_file(tmp_path, monkeypatch):
    """The place of GAS's file in the folder CNF_BENCH_DATA, empty; the cache is empty too."""
    monkeypatch.setenv("CNF_BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("CNF_BENCH_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "gas/ethylene_CO.pickle"
    place.parent.mkdir()
    return place


@pytest.mark.parametrize("version", ["0.14", "0.16", "0.19"])
def test_an_old_frame_is_read_in_its_order(tmp_path, version):
    columns, place = gas_columns(), tmp_path / "frame"
    place.write_bytes(legacy_pandas(columns, version, second_block=("CO", "Eth")))
    read = read_old_frame(place)
    assert list(read) == list(columns)
    assert all((read[name] == columns[name]).all() for name in columns)


def test_gas_drops_time_and_concentrations(gas_file, monkeypatch):
    columns = gas_columns()
    gas_file.write_bytes(legacy_pandas(columns, "0.19"))
    recipe = dataclasses.replace(tabular._RECIPES["gas"], d=2, sizes=(41, 4, 5))
    monkeypatch.setitem(tabular._RECIPES, "gas", recipe)
    direct = tabular.split_gas(np.stack((columns["CO"], columns["R1"]), axis=1))
    read = tabular.load("gas")
    assert all((getattr(read, p) == getattr(direct, p)).all() for p in ("train", "validation", "test"))


class Harmful:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (pickle.dumps(Harmful()), "getcwd"),
        (legacy_pandas(gas_columns(), "0.19")[:-40], "EOFError"),
        (b"", "EOF"),
        (pickle.dumps({"a": 1}), "AttributeError"),
        (
            legacy_pandas({k: v for k, v in gas_columns().items() if k != "Meth"}, "0.19"),
            "KeyError: 'Meth'",
        ),
    ],
    ids=["function", "truncated", "empty", "no frame", "no Meth"],
)
def test_malformed_gas_files_are_refused(gas_file, content, fault):
    gas_file.write_bytes(content)
    with pytest.raises(UserError, match=fault) as error:
        tabular.load("gas")
    assert f"delete {gas_file}, then run `cnf-bench data fetch gas`" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reader_that_crashes_is_an_error_of_the_file_and_not_the_end_of_the_program(gas_file, monkeypatch):
    """Tuples nested this deep have a hash that overflows the stack of the interpreter."""
    gas_file.write_bytes(b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s.")
    with pytest.raises(UserError, match="its reader ended with code"):
        tabular.load("gas")


def test_a_reader_that_takes_too_much_is_ended(gas_file, monkeypatch):
    announced = b"\x80\x04\x8e" + (10**12).to_bytes(8, "little")
    for content in (announced, b"\x80\x02" + b"](" * 10_000_000):
        gas_file.write_bytes(content)
        with pytest.raises(UserError, match="its reader ended"):
            tabular.load("gas")
