"""The tabular sets: their mathematics on small arrays, and their files."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data import registry, tabular
from bench.data.hdf5 import parts_of
from bench.errors import UserError

needs_miniboone = pytest.mark.skipif(
    not (Path(os.environ.get("CNF_BENCH_DATA", "")) / "miniboone").is_dir(),
    reason="needs CNF_BENCH_DATA to name a folder with miniboone/",
)


def joined(parts, *names):
    return np.concatenate([getattr(parts, name) for name in names or ("train", "validation", "test")])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder CNF_BENCH_DATA, empty; the cache is empty too."""
    monkeypatch.setenv("CNF_BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("CNF_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def expect(monkeypatch, name: str, d: int, *sizes: int) -> None:
    """Let `load` expect other sizes than the documented ones."""
    monkeypatch.setitem(tabular._RECIPES, name, dataclasses.replace(tabular._RECIPES[name], d=d, sizes=sizes))


def put(folder: Path, path: str, content: bytes) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# Splits


@pytest.mark.parametrize("name", ["power", "gas", "miniboone"])
def test_documented_sizes_are_those_of_two_last_tenths(name):
    train, validation, test = tabular._RECIPES[name].sizes
    n = train + validation + test
    assert test == int(0.1 * n)
    assert validation == int(0.1 * (n - test))


def test_test_rows_leave_before_validation_rows_and_no_row_moves():
    raw = np.random.default_rng(0).normal(3.0, 5.0, (256, 4))
    parts = tabular.split_miniboone(raw)
    assert (len(parts.train), len(parts.validation), len(parts.test), parts.d) == (208, 23, 25, 4)
    rest = raw[:231]
    np.testing.assert_allclose(joined(parts), (raw - rest.mean(0)) / rest.std(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "parts",
    [
        tabular.split_miniboone(np.random.default_rng(1).exponential(2.0, (500, 3))),
        tabular.split_power(np.random.default_rng(1).exponential(2.0, (500, 8)), np.random.RandomState(0)),
    ],
    ids=["miniboone", "power"],
)
def test_train_and_validation_together_have_mean_0_and_standard_deviation_1(parts):
    rest = joined(parts, "train", "validation")
    np.testing.assert_allclose(rest.mean(0), 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rest.std(0), 1, rtol=0, atol=1e-12)
    assert (np.abs(parts.train.mean(0)) > 1e-6).all()
    assert (np.abs(joined(parts).mean(0)) > 1e-6).all()


# POWER


def noise_of_power(n: int = 4000):
    """Return the kept columns in the shuffled order, and the noise that `split_power` put on them, centred."""
    raw = np.random.default_rng(2).integers(0, 2, (n, 8)) * 1000.0
    raw[:, 0] = np.arange(n)
    parts = tabular.split_power(raw, np.random.RandomState(42))
    shuffled = raw.copy()
    np.random.RandomState(42).shuffle(shuffled)
    kept, z = shuffled[:, [0, 2, 4, 5, 6, 7]], joined(parts)
    centred = kept - kept.mean(0)
    slope = (centred * z).sum(0) / (centred**2).sum(0)  # 1 / standard deviation, by least squares
    return raw, parts, z / slope - z.mean(0) / slope - centred


def test_power_is_shuffled_as_the_old_generator_does_and_keeps_its_input():
    raw, _, noise = noise_of_power()
    assert (raw[:, 0] == np.arange(len(raw))).all()
    # Were a row at another place, the remainder would be of the size of the values, not of the noise.
    assert np.abs(noise).max() < 1


def test_power_noise_has_the_stated_widths_and_none_is_on_the_time():
    *_, noise = noise_of_power()
    width = np.ptp(noise, axis=0)
    # The fit of the slope takes up to some percent of the noise along.
    np.testing.assert_allclose(width[:5], [0.001, 0.01, 1, 1, 1], rtol=0.05)
    assert width[5] < 1e-9


def test_power_draws_the_noise_of_the_voltage_first():
    *_, noise = noise_of_power()
    rng = np.random.RandomState(42)
    rng.permutation(len(noise))
    voltage, power, metering = rng.rand(len(noise)), rng.rand(len(noise)), rng.rand(len(noise), 3)
    for column, uniform in ((1, voltage), (0, power), (2, metering[:, 0]), (4, metering[:, 2])):
        assert np.corrcoef(noise[:, column], uniform)[0, 1] > 0.999


def test_power_follows_its_generator():
    raw = np.random.default_rng(3).normal(size=(200, 8))
    first, again, other = (tabular.split_power(raw, np.random.RandomState(s)).train for s in (42, 42, 43))
    assert (first == again).all()
    assert (first != other).any()


# GAS


def test_gas_drops_the_first_of_two_correlated_columns_and_keeps_an_anticorrelated_one():
    rng = np.random.default_rng(4)
    a, c = rng.normal(size=(2, 1000))
    raw = np.stack((a, c, 3 * a + 0.1 * rng.normal(size=1000), -a), axis=1)
    parts = tabular.split_gas(raw)
    kept = raw[:, [1, 2, 3]]
    np.testing.assert_allclose(joined(parts), (kept - kept.mean(0)) / kept.std(0, ddof=1), rtol=0, atol=1e-12)
    assert (len(parts.test), len(parts.validation)) == (100, 90)


def test_gas_drops_one_column_at_a_time():
    x, y = np.linalg.qr(np.random.default_rng(5).normal(size=(1000, 2)))[0].T * 30
    left, right = x - 0.18 * y, x + 0.18 * y  # each is close to x, not to the other
    chain = tabular.split_gas(np.stack((left, x, right), axis=1))
    assert abs(np.corrcoef(joined(chain)[:, 0], right)[0, 1]) > 1 - 1e-9
    assert chain.d == 1
    # x goes at once, and with it what made the others repeat.
    assert tabular.split_gas(np.stack((x, left, right), axis=1)).d == 2


def test_gas_is_standardised_with_the_test_rows_too():
    raw = np.random.default_rng(6).exponential(size=(300, 2))
    parts = tabular.split_gas(raw)
    np.testing.assert_allclose(joined(parts).mean(0), 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(joined(parts).std(0, ddof=1), 1, rtol=0, atol=1e-12)
    assert (np.abs(joined(parts, "train", "validation").mean(0)) > 1e-6).all()


def test_gas_is_read_without_what_is_no_sensor(folder, monkeypatch):
    rng = np.random.default_rng(9)
    columns = {name: rng.exponential(size=300) for name in ("Time", "Meth", "a", "Eth", "b", "c")}
    put(folder, "gas/ethylene_CO.pickle", b"")
    monkeypatch.setattr(tabular, "frame", lambda path: dict(columns))
    expect(monkeypatch, "gas", 3, 243, 27, 30)
    direct = tabular.split_gas(np.stack([columns[name] for name in "abc"], axis=1))
    assert (joined(tabular.load("gas")) == joined(direct)).all()


# HEPMASS


def planted_hepmass():
    """Four features: smallest value 6 times, smallest value 5 times, a frequent largest value, a plain one."""
    rng = np.random.default_rng(7)
    train, test = rng.normal(size=(400, 5)), rng.normal(size=(100, 6))
    train[:, 0], test[:, 0] = np.arange(400) % 2, np.arange(100) % 2
    signal = np.flatnonzero(train[:, 0] == 1)
    train[signal[:6], 1], train[signal[:5], 2], train[signal[:150], 3] = -9, -9, 9
    train[train[:, 0] == 0, 4] = -9  # background is not counted
    return train, test


def test_hepmass_drops_a_feature_whose_smallest_value_occurs_more_than_5_times():
    train, test = planted_hepmass()
    parts = tabular.split_hepmass(train, test)
    signal = train[train[:, 0] == 1][:, 2:]
    mean, std = signal.mean(0), signal.std(0, ddof=1)
    assert (len(parts.train), len(parts.validation), len(parts.test), parts.d) == (180, 20, 50, 3)
    np.testing.assert_allclose(
        joined(parts, "train", "validation"), (signal - mean) / std, rtol=0, atol=1e-12
    )
    # The test rows lose background, class and their last column, and are scaled with the train rows' statistics.
    np.testing.assert_allclose(parts.test, (test[1::2, 2:5] - mean) / std, rtol=0, atol=1e-12)


def csv(rows, header: str) -> bytes:
    return "\n".join([header, *(",".join(map(repr, row)) for row in rows.tolist())]).encode()


@pytest.mark.parametrize("test_header", ["# label,a,b,c,d,mass", "# label,a,b,c,d,e"])
def test_hepmass_files_are_read(folder, monkeypatch, test_header):
    train, test = planted_hepmass()
    put(folder, "hepmass/1000_train.csv", csv(train, "# label,a,b,c,d"))
    put(folder, "hepmass/1000_test.csv", csv(test, test_header))
    expect(monkeypatch, "hepmass", 3, 180, 20, 50)
    read, direct = tabular.load("hepmass"), tabular.split_hepmass(train, test)
    np.testing.assert_allclose(joined(read), joined(direct), rtol=0, atol=1e-12)


def test_hepmass_drops_what_is_longer_than_the_header(folder, monkeypatch):
    train, test = planted_hepmass()
    put(folder, "hepmass/1000_train.csv", csv(train, "# label,a,b,c,d"))
    put(folder, "hepmass/1000_test.csv", csv(np.hstack((test, test[:, :1])), "# label,a,b,c,d,mass"))
    expect(monkeypatch, "hepmass", 3, 180, 20, 50)
    np.testing.assert_allclose(
        joined(tabular.load("hepmass")), joined(tabular.split_hepmass(train, test)), rtol=0, atol=1e-12
    )


def test_hepmass_files_of_other_columns_are_refused(folder):
    train, test = planted_hepmass()
    put(folder, "hepmass/1000_train.csv", csv(train, "# label,a,b,c,d"))
    put(folder, "hepmass/1000_test.csv", csv(test, "# label,b,a,c,d,mass"))
    with pytest.raises(UserError, match=r"columns of 1000_train\.csv are not those of 1000_test\.csv"):
        tabular.load("hepmass")


# MINIBOONE's held-out rows


def test_heldout_rows_are_not_scaled_and_their_last_tenth_is_validation():
    validation, test = np.random.default_rng(8).normal(5, 3, (2, 104, 3))
    parts = tabular.split_heldout(validation, test)
    assert (parts.train == validation[:94]).all()
    assert (parts.validation == validation[94:]).all()
    assert (parts.test == test).all()


@needs_miniboone
def test_heldout_rows_are_the_real_ones():
    parts = tabular.load("miniboone_heldout")
    assert [a.shape for a in (parts.train, parts.validation, parts.test)] == [
        (2956, 43),
        (328, 43),
        (3648, 43),
    ]
    # Standardised with other rows: about 0 and 1, and not exactly.
    rest = joined(parts, "train", "validation")
    assert 1e-4 < np.abs(rest.mean(0)).max() < 0.1
    assert 1e-4 < np.abs(rest.std(0) - 1).max() < 0.2


# Files


def test_a_set_that_is_no_table_or_unknown_is_refused():
    with pytest.raises(UserError, match="mnist is not tabular: choose one of power, gas"):
        tabular.load("mnist")
    with pytest.raises(UserError, match=r"'pover'.*power"):
        tabular.load("pover")


def test_every_tabular_set_is_registered():
    assert set(tabular.names()) <= set(registry.names())


def test_numbers_of_rows_and_columns_are_the_published_ones():
    sizes = {name: recipe.sizes for name, recipe in tabular._RECIPES.items()}
    assert {name: sum(sizes[name]) for name in ("power", "gas", "miniboone")} == {
        "power": 2_049_280, "gas": 1_052_065, "miniboone": 36_488,
    }  # fmt: skip
    assert sizes["hepmass"] == (315_123, 35_013, 174_987)
    assert sizes["bsds300"] == (1_000_000, 50_000, 250_000)
    train, validation, test = sizes["miniboone_heldout"]
    assert (train + validation, test) == sizes["miniboone"][1:]
    assert validation == (train + validation) // 10
    assert {name: recipe.d for name, recipe in tabular._RECIPES.items()} == {
        "power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "miniboone_heldout": 43, "bsds300": 63,
        "bsds300_patches": 63, "nyc_weather": 15,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["power", "gas", "hepmass", "miniboone", "miniboone_heldout", "bsds300"])
def test_an_absent_set_says_how_to_get_it(folder, name):
    with pytest.raises(UserError, match=f"data set {name} is not here: {registry.get(name).mend}"):
        tabular.load(name)


def test_power_of_other_sizes_is_refused_with_both(folder):
    put(folder, "power/data.npy", npy(np.random.default_rng(0).normal(size=(200, 8))))
    with pytest.raises(UserError) as error:
        tabular.load("power")
    assert "[(162, 6), (18, 6), (20, 6)], expected [(1659917, 6), (184435, 6), (204928, 6)]" in str(
        error.value
    )


def test_power_of_the_published_order_is_loaded(folder, monkeypatch):
    raw = np.random.default_rng(0).normal(size=(200, 8))
    put(folder, "power/data.npy", npy(raw))
    expect(monkeypatch, "power", 6, 162, 18, 20)
    direct = tabular.split_power(raw, np.random.RandomState(42))
    assert (joined(tabular.load("power")) == joined(direct)).all()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (npy(np.zeros((200, 8)))[:-1], "ValueError"),
        (npy(np.zeros((200, 3))), "IndexError"),
        (npy(np.zeros((200, 9))), "ValueError"),
        (npy(np.zeros(200)), "AxisError"),
        (b"no array", "ValueError"),
    ],
    ids=["truncated", "narrow", "wide", "1-D", "text"],
)
def test_malformed_power_files_are_refused(folder, content, fault):
    put(folder, "power/data.npy", content)
    with pytest.raises(UserError, match=f"data set power can not be read .*{fault}"):
        tabular.load("power")


def test_values_that_are_not_finite_are_refused(folder, monkeypatch):
    raw = np.random.default_rng(0).normal(size=(200, 8))
    raw[3, 0] = np.nan
    put(folder, "power/data.npy", npy(raw))
    expect(monkeypatch, "power", 6, 162, 18, 20)
    with pytest.raises(UserError, match="power has values that are not finite"):
        tabular.load("power")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_one_value_that_is_not_finite_is_enough(folder, monkeypatch, part):
    parts = {name: np.ones((9, 3)) for name in ("train", "validation", "test")}
    parts[part][4, 1] = np.inf
    put(folder, "power/data.npy", b"")
    recipe = tabular._Recipe(lambda paths: tabular.TabularSet(**parts), 3, (9, 9, 9))
    monkeypatch.setitem(tabular._RECIPES, "power", recipe)
    with pytest.raises(UserError, match="power has values that are not finite"):
        tabular.load("power")


def test_another_miniboone_file_is_refused(folder):
    put(folder, "miniboone/data.npy", npy(np.zeros((36488, 43))))
    with pytest.raises(
        UserError, match=r"damaged or incomplete: git \w{12}\.\.\., expected git 9737c80fa84d"
    ):
        tabular.load("miniboone")


def test_bsds300_is_read_as_it_is(folder, monkeypatch):
    h5py = pytest.importorskip("h5py")
    parts = {name: np.random.default_rng(1).normal(size=(9, 3)) for name in ("train", "validation", "test")}
    place = put(folder, "BSDS300/BSDS300.hdf5", b"")
    with h5py.File(place, "w") as file:
        for name, rows in parts.items():
            file[name] = rows
    expect(monkeypatch, "bsds300", 3, 9, 9, 9)
    assert (joined(tabular.load("bsds300")) == np.concatenate(list(parts.values()))).all()
    place.write_bytes(place.read_bytes()[:300])
    with pytest.raises(UserError, match="bsds300 can not be read"):
        tabular.load("bsds300")


def test_the_parts_of_bsds300_are_those_of_their_names(tmp_path, monkeypatch):
    """With a stand-in for h5py: what is read is a mapping of names to arrays."""
    parts = {name: np.full((9, 3), float(i)) for i, name in enumerate(("train", "validation", "test"))}
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=lambda path, mode: nullcontext(parts)))
    read = parts_of(tmp_path / "x")
    assert [np.unique(read[name]).tolist() for name in ("train", "validation", "test")] == [[0], [1], [2]]


def test_bsds300_is_read_in_a_process_of_its_own(folder, monkeypatch):
    """One whose h5py ends it, as a damaged file can."""
    put(folder, "BSDS300/BSDS300.hdf5", b"")
    put(folder, "modules/h5py.py", b"import os\nFile = lambda *a: os.abort()\n")
    monkeypatch.syspath_prepend(str(folder / "modules"))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder / "modules"), os.environ.get("PYTHONPATH", "")])
    )
    with pytest.raises(UserError, match=r"bsds300 can not be read .*its reader ended with code -6"):
        tabular.load("bsds300")


def test_bsds300_without_h5py_says_what_to_install(folder, monkeypatch):
    put(folder, "BSDS300/BSDS300.hdf5", b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="pip install h5py"):
        tabular.load("bsds300")
