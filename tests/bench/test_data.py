from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pooch
import pytest
import requests
import scipy.integrate
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.data import images, registry, series
from bench.data.commands import app
from bench.data.registry import DataFile, DataSet
from bench.errors import UserError

needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("CNF_BENCH_DATA", "")) / "mnist").is_dir(),
    reason="needs CNF_BENCH_DATA to name a folder with mnist/",
)


CHECKSUM = re.compile(r"[0-9a-f]{64}|(archive:)?(md5:[0-9a-f]{32}|git:[0-9a-f]{40})")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return gzip.compress(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty local folder and an empty cache, both in effect."""
    local, cache = tmp_path / "local", tmp_path / "cache"
    local.mkdir()
    monkeypatch.setenv("CNF_BENCH_DATA", str(local))
    monkeypatch.setenv("CNF_BENCH_CACHE", str(cache))
    return local, cache


def a_set(**contents: bytes) -> DataSet:
    files = tuple(
        DataFile(f"toy/{name}", f"sha256:{sha256(content)}", len(content))
        for name, content in contents.items()
    )
    return DataSet("toy", "a toy", "none", ("https://first.invalid/", "https://second.invalid/"), files)


def put(folder: Path, path: str, content: bytes) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def serve(monkeypatch, answers: dict[str, bytes]) -> list[str]:
    """Replace the network by `answers` (url -> content); returns the list of the URLs asked for."""
    asked: list[str] = []

    def download(self, url, output_file, pooch, check_only=False):
        asked.append(url)
        if url not in answers:
            raise requests.ConnectionError(f"no route\nto {url}")
        Path(output_file).write_bytes(answers[url])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    return asked


# The registry


def test_every_entry_is_complete():
    assert {"mnist", "cifar10", "digits", "power", "miniboone_heldout"} <= set(registry.names())
    for data_set in map(registry.get, registry.names()):
        assert data_set.title
        assert data_set.terms
        assert data_set.hashes()
        assert all(CHECKSUM.fullmatch(value) for value in data_set.hashes().values())
        assert data_set.bundled != bool(data_set.files)
        assert all(url.startswith("https://") and url.endswith("/") for url in data_set.mirrors)
        # What is downloaded has a checksum that pooch knows; what has none comes out of an archive that has one.
        assert not data_set.mirrors or all(f.checksum.startswith(("sha256:", "md5:")) for f in data_set.files)
        assert not data_set.archive or len(registry.get(data_set.archive).files) == 1


def test_the_hashes_that_records_hold_have_not_moved():
    assert registry.get("mnist").hashes() == {
        "mnist/train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "mnist/train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "mnist/t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "mnist/t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
    archive = "archive:md5:9b9c9b0375315ad270eba4ce80c093ab"
    assert registry.get("power").hashes() == {"power/data.npy": archive}
    assert registry.get("miniboone").hashes() == {
        "miniboone/data.npy": "git:9737c80fa84df483ed368404e3110c324613d54c"
    }


def test_unknown_name_suggests_the_close_one():
    with pytest.raises(UserError, match=r"'minst'.*mnist\?"):
        registry.get("minst")


def test_hashes_touch_no_file(monkeypatch):
    monkeypatch.setenv("CNF_BENCH_DATA", "/nonexistent")
    assert len(registry.get("mnist").hashes()) == 4
    assert list(registry.get("digits").hashes()) == ["digits"]


def test_registry_and_commands_import_neither_torch_nor_pooch():
    code = (
        "import sys, bench.data.registry, bench.data.commands; print({'torch', 'pooch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# Locating


def test_the_local_folder_comes_before_the_cache(folders):
    local, cache = folders
    data_set = a_set(a=b"alpha", b=b"beta")
    put(cache, "toy/a", b"alpha")
    assert data_set.locate() is None
    in_cache = put(cache, "toy/b", b"beta")
    in_local = put(local, "toy/a", b"alpha")
    assert data_set.locate() == {"toy/a": in_local, "toy/b": in_cache}


@pytest.mark.parametrize("content", [b"", b"alph", b"alphb"], ids=["empty", "truncated", "altered"])
def test_a_wrong_file_is_refused_everywhere(folders, monkeypatch, content):
    asked = serve(monkeypatch, {})
    data_set = a_set(a=b"alpha")
    place = put(folders[0], "toy/a", content)
    for verb in (data_set.locate, data_set.require, data_set.fetch):
        with pytest.raises(UserError) as fault:
            verb()
        assert all(
            part in str(fault.value) for part in (str(place), sha256(content)[:12], sha256(b"alpha")[:12])
        )
        assert "cnf-bench data fetch toy" in str(fault.value)
        assert "\n" not in str(fault.value)
    assert asked == []
    assert data_set.check() == [("toy/a", "wrong checksum")]


def test_a_file_that_changes_is_hashed_again_and_only_then(folders, monkeypatch):
    data_set = a_set(a=b"alpha")
    place = put(folders[0], "toy/a", b"alpha")
    assert data_set.locate()
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert data_set.locate()
    place.write_bytes(b"alphA")
    os.utime(place, ns=(1, 1))
    with pytest.raises(UserError, match="damaged"):
        data_set.locate()


def test_a_missing_set_says_how_to_get_it(folders):
    data_set = a_set(a=b"alpha")
    assert data_set.check() == [("toy/a", "missing")]
    with pytest.raises(UserError, match="data set toy is not here: run `cnf-bench data fetch toy`"):
        data_set.require()


def test_a_local_folder_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv("CNF_BENCH_DATA", "/nonexistent")
    with pytest.raises(UserError, match="CNF_BENCH_DATA names /nonexistent"):
        registry.get("mnist").locate()


def test_the_default_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("CNF_BENCH_CACHE", raising=False)
    assert registry.cache_folder() == Path(pooch.os_cache("cnf-bench"))


# Fetching


def test_fetch_downloads_only_what_is_absent_and_tries_every_mirror(folders, monkeypatch):
    local, cache = folders
    data_set = a_set(a=b"alpha", b=b"beta")
    put(local, "toy/a", b"alpha")
    asked = serve(monkeypatch, {"https://second.invalid/b": b"beta"})
    assert data_set.fetch() == {"toy/a": local / "toy/a", "toy/b": cache / "toy/b"}
    assert asked == ["https://first.invalid/b", "https://second.invalid/b"]
    assert data_set.fetch() == data_set.locate()
    assert len(asked) == 2


def test_offline_fetch_is_one_line_that_says_where_to_put_the_file(folders, monkeypatch):
    asked = serve(monkeypatch, {})
    with pytest.raises(UserError) as fault:
        a_set(a=b"alpha").fetch()
    assert len(asked) == 2
    assert "\n" not in str(fault.value)
    assert f"put it by hand at {folders[1] / 'toy/a'}" in str(fault.value)
    assert "CNF_BENCH_DATA" in str(fault.value)


def test_a_truncated_download_leaves_nothing_behind(folders, monkeypatch):
    serve(monkeypatch, {"https://first.invalid/a": b"alp", "https://second.invalid/a": b""})
    data_set = a_set(a=b"alpha")
    with pytest.raises(UserError, match="could not be downloaded"):
        data_set.fetch()
    assert [path for path in folders[1].rglob("*") if path.is_file()] == []
    assert data_set.locate() is None


def test_a_cache_that_can_not_be_written_is_one_line(folders, monkeypatch):
    serve(monkeypatch, {"https://first.invalid/a": b"alpha"})
    folders[1].write_text("a file where the folder should be")
    with pytest.raises(UserError, match="could not be downloaded"):
        a_set(a=b"alpha").fetch()


# Other checksums, archives


def test_md5_and_git_are_checked_as_their_own_programs_do(folders):
    place = put(folders[0], "toy/a", b"hello\n")
    # `md5sum` and `git hash-object` of a file that holds hello and a line feed.
    for checksum in ("md5:b1946ac92492d2347c6235b4d2611184", "git:ce013625030ba8dba906f756967f9e9ca394464a"):
        assert DataFile("toy/a", checksum).is_whole(place)
        altered = DataFile("toy/a", checksum[:-1] + "f")
        assert not altered.is_whole(place)
        assert altered.measure(place) == checksum


def archive_of(members: dict[str, bytes]) -> bytes:
    """Return a tar.gz of files, and of a link and a hidden namesake that no extraction may take."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        link = tarfile.TarInfo("data/toy/a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name, content in {"data/toy/._a": b"hidden", **members}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


PACKED = archive_of({"data/toy/c": b"unwanted", "../data/toy/a": b"alpha", "data/toy/b": b"beta"})
ALPHA_GIT = hashlib.sha1(b"blob 5\0alpha").hexdigest()


@pytest.fixture
def packed(folders, monkeypatch):
    """Return a set of two files in an archive, one with a git checksum, one with none; and the URLs asked for."""

    def serving(content: bytes, a: str = ALPHA_GIT):
        md5 = hashlib.md5(PACKED).hexdigest()
        box = DataSet("box", "b", "none", ("https://first.invalid/",), (DataFile("box/it", f"md5:{md5}"),))
        files = (DataFile("toy/a", f"git:{a}"), DataFile("toy/b"))
        toy = DataSet("toy", "t", "none", files=files, archive="box")
        monkeypatch.setattr(registry, "_registry", lambda: {"box": box, "toy": toy})
        return toy, serve(monkeypatch, {"https://first.invalid/it": content})

    return serving


def test_files_are_extracted_from_the_archive_and_nothing_else_is(folders, packed):
    cache = folders[1]
    toy, asked = packed(PACKED)
    places = toy.fetch()
    assert places == {"toy/a": cache / "toy/a", "toy/b": cache / "toy/b"}
    assert [place.read_bytes() for place in places.values()] == [b"alpha", b"beta"]
    assert {path for path in folders[1].parent.rglob("*") if path.is_file()} == {
        *places.values(),
        cache / "box/it",
    }
    assert toy.check() == [("toy/a", "ok"), ("toy/b", "no checksum known")]
    assert toy.require() == places == toy.fetch()
    (cache / "toy/b").unlink()
    assert toy.fetch() == places
    assert len(asked) == 1


def test_a_local_archive_serves_without_a_network(folders, packed):
    toy, asked = packed(b"")
    put(folders[0], "box/it", PACKED)
    put(folders[0], "toy/b", b"of my own")
    assert toy.fetch() == {"toy/a": folders[1] / "toy/a", "toy/b": folders[0] / "toy/b"}
    assert asked == []


def test_a_truncated_archive_is_not_extracted(folders, packed):
    toy, _ = packed(PACKED[:-20])
    with pytest.raises(UserError, match="box/it could not be downloaded"):
        toy.fetch()
    assert [path for path in folders[1].rglob("*") if path.is_file()] == []
    put(folders[0], "box/it", PACKED[:-20])
    with pytest.raises(UserError, match="box/it is damaged or incomplete: md5"):
        toy.fetch()


def test_a_member_of_another_checksum_leaves_nothing_behind(folders, packed):
    toy, _ = packed(PACKED, a="0" * 40)
    with pytest.raises(UserError, match=f"toy/a of the archive is not the known one: git {ALPHA_GIT[:12]}"):
        toy.fetch()
    assert not list((folders[1] / "toy").iterdir())


def test_an_archive_that_lacks_a_file_or_is_none_says_so(folders, packed, monkeypatch):
    toy, _ = packed(PACKED)
    for content, fault in (
        (archive_of({"data/toy/b": b"beta"}), r"does not hold toy/a"),
        (PACKED[:60], "could not be extracted"),
        (b"text", "could not be extracted"),
    ):
        place = put(folders[0], "box/it", content)
        monkeypatch.setattr(DataFile, "is_whole", lambda *_: True)
        with pytest.raises(UserError, match=fault) as error:
            toy.fetch()
        assert str(place) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_file_without_a_mirror_says_where_to_put_it(folders):
    with pytest.raises(UserError, match=r"put it by hand at .*toy/a.*no download address"):
        dataclasses.replace(a_set(a=b"alpha"), mirrors=()).fetch()


# The command line


@pytest.fixture
def toy(folders, monkeypatch):
    """Local folder, with a registry that holds one set of one file and a bundled one."""
    sets = {"toy": a_set(a=b"alpha"), "digits": registry.get("digits")}
    monkeypatch.setattr(registry, "_registry", lambda: sets)
    return folders[0]


def test_list_tells_absent_found_and_bundled(toy):
    def states():
        rows = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
        return {row["name"]: (row["state"], row["folders"], row["bytes"]) for row in rows}

    assert states() == {"digits": ("bundled", [], 0), "toy": ("absent", [], 5)}
    put(toy, "toy/a", b"alpha")
    assert states()["toy"] == ("found", [str(toy / "toy")], 5)
    table = CliRunner().invoke(app, ["list"], terminal_width=60).stdout
    assert all(word in table for word in ("toy", "digits", "bundled", "5 bytes"))


def test_check_exits_with_2_only_on_a_wrong_checksum(toy):
    def check(*names):
        result = CliRunner().invoke(app, ["check", *names])
        return result.exit_code, result.stdout

    code, table = check()
    assert code == 0
    assert "missing" in table
    put(toy, "toy/a", b"alphA")
    assert check()[0] == 2
    assert check("digits")[0] == 0
    put(toy, "toy/a", b"alpha")
    os.utime(toy / "toy/a", ns=(1, 1))
    assert check("toy")[0] == 0


def test_fetch_prints_the_places(toy, monkeypatch):
    serve(monkeypatch, {"https://first.invalid/a": b"alpha"})
    result = CliRunner().invoke(app, ["fetch", "toy", "digits"])
    assert result.exit_code == 0
    assert str(registry.cache_folder() / "toy/a") in result.stdout
    assert "digits: bundled" in result.stdout
    assert isinstance(CliRunner().invoke(app, ["fetch", "nothing"]).exception, UserError)


# Images


def planted_mnist(folder: Path, pixels: bytes, labels: bytes) -> dict[str, Path]:
    contents = {"mnist/t10k-images-idx3-ubyte.gz": pixels, "mnist/t10k-labels-idx1-ubyte.gz": labels}
    return {path: put(folder, path, content) for path, content in contents.items()}


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
LABELS = np.array([3, 1, 4, 1, 9])


def test_idx_files_are_parsed(tmp_path):
    pixels, labels = images.load_mnist("test", planted_mnist(tmp_path, idx(PIXELS), idx(LABELS)))
    assert pixels.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert pixels.tolist() == PIXELS.tolist()
    assert labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("pixels", "labels", "fault"),
    [
        (idx(PIXELS)[:-20], idx(LABELS), "not a whole gzip"),
        (b"plain", idx(LABELS), "not a whole gzip"),
        (idx(LABELS), idx(LABELS), "not an idx file of 3-D"),
        (gzip.compress(b"\0\0\x08\x03"), idx(LABELS), "not an idx file of 3-D"),
        (
            gzip.compress(gzip.decompress(idx(PIXELS))[:-1]),
            idx(LABELS),
            "holds 3919 bytes but announces 3920",
        ),
        (idx(PIXELS), idx(LABELS[:4]), "5 images but .* 4 labels"),
    ],
)
def test_malformed_idx_files_are_refused(tmp_path, pixels, labels, fault):
    with pytest.raises(UserError, match=fault):
        images.load_mnist("test", planted_mnist(tmp_path, pixels, labels))


def test_unknown_split_is_refused():
    with pytest.raises(UserError, match="'valid': choose train or test"):
        images.load_mnist("valid", {})


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 with an early numpy wrote: byte strings, numpy.core, integer flags of dtypes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode()
        self.write(b"T" + struct.pack("<i", len(content)) + content)

    dispatch[str] = dispatch[bytes] = save_string

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), value.__reduce__()[2]
        return NotImplemented


def python2_pickle(value) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core", b"numpy.core")


def planted_cifar(folder: Path, members: dict[str, bytes]) -> dict[str, Path]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path = "cifar10/cifar-10-python.tar.gz"
    return {path: put(folder, path, stream.getvalue())}


def test_cifar10_batches_are_joined_in_order_whatever_the_archives(tmp_path):
    rng = np.random.default_rng(1)
    rows = {f"data_batch_{i}": rng.integers(0, 256, (2, 3072), dtype=np.uint8) for i in range(1, 6)}
    members = {"readme.html": b"not a pickle", "test_batch": b"not one either"}
    for i, name in reversed(list(enumerate(rows))):
        members[name] = python2_pickle(
            {"data": rows[name], "labels": [i, 9 - i], "filenames": ["a.png", "b.png"]}
        )
    pixels, labels = images.load_cifar10("train", planted_cifar(tmp_path, members))
    assert (pixels.shape, pixels.dtype, labels.dtype) == ((10, 3, 32, 32), torch.uint8, torch.int64)
    assert labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    # A row is the red plane, the green plane, the blue plane, each row by row.
    assert pixels[4, 1, 2, 3] == rows["data_batch_3"][0, 1024 + 2 * 32 + 3]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"readme.html": b""}, "test_batch"),
        ({"test_batch": python2_pickle({"labels": [1]})}, "data"),
        ({"test_batch": pickle.dumps({b"data": os.getcwd})}, "getcwd"),
    ],
    ids=["no batch", "no images", "a function"],
)
def test_malformed_cifar10_archives_are_refused(tmp_path, members, fault):
    with pytest.raises(UserError, match=f"not CIFAR-10's Python archive .*{fault}"):
        images.load_cifar10("test", planted_cifar(tmp_path, members))


def test_digits_are_split_by_class_and_normalised():
    train, test = images.load("digits", "train"), images.load("digits", "test")
    assert (train.images.shape, test.images.shape) == ((1442, 1, 8, 8), (355, 1, 8, 8))
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert ((share - 0.2).abs() < 0.01).all()
    assert torch.equal(train.images, images.load("digits", "train").images)
    pixels = train.normalised().double()
    assert pixels.mean().abs() < 3e-4
    assert (pixels.std() - 1).abs() < 3e-4


def test_other_digits_than_the_registered_are_refused(monkeypatch):
    altered = dataclasses.replace(registry.get("digits"), sha256="0" * 64)
    monkeypatch.setattr(registry, "_registry", lambda: {"digits": altered})
    with pytest.raises(UserError, match="scikit-learn's digits differ"):
        images.load("digits", "train")


def test_load_never_downloads(folders, monkeypatch):
    asked = serve(monkeypatch, {})
    with pytest.raises(UserError, match="data set mnist is not here"):
        images.load("mnist", "test")
    assert asked == []


@needs_mnist
def test_mnist_is_the_real_one():
    train, test = images.load("mnist", "train"), images.load("mnist", "test")
    assert (train.images.shape, test.images.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
    share, level = train.images.flatten().bincount() / train.images.numel(), torch.arange(256) / 255
    mean = (share * level).sum()
    assert round(mean.item(), 4) == train.mean[0] == 0.1307
    assert round((share @ level**2 - mean**2).sqrt().item(), 4) == train.std[0] == 0.3081
    assert test.normalised().dtype == torch.float32
    assert {status for _, status in registry.get("mnist").check()} == {"ok"}


def test_normalise_is_per_channel():
    raw = torch.tensor([[[[0]], [[5]], [[10]]]], dtype=torch.uint8)
    data = images.ImageSet(raw, torch.zeros(1), 2, (0.0, 0.5, 0.25), (1.0, 2.0, 0.5), white=10.0)
    assert data.normalised().flatten().tolist() == [0.0, 0.0, 1.5]


# Batches and crops


@settings(deadline=None, max_examples=50)
@given(n=st.integers(0, 50), batch=st.integers(1, 20), seed=st.integers(0, 9))
def test_minibatches_are_a_partition(n, batch, seed):
    epoch = list(images.minibatches(n, batch, generator(seed)))
    assert sorted(i for part in epoch for i in part.tolist()) == list(range(n))
    assert all(len(part) == batch for part in epoch[:-1])


def test_minibatches_follow_the_generator():
    def epoch(source):
        return torch.cat(list(images.minibatches(100, 7, source))).tolist()

    source = generator(1)
    first, second = epoch(source), epoch(source)
    assert first == epoch(generator(1))
    assert first != second
    assert first != epoch(generator(2))


def test_crop_equals_the_slow_one():
    raw = torch.randint(1, 256, (40, 2, 6, 5), generator=generator(), dtype=torch.uint8)
    crops = images.random_crop(raw, 3, generator(1))
    assert (crops.dtype, crops.shape) == (raw.dtype, raw.shape)
    offsets = set()
    for image, crop in zip(raw.numpy(), crops.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (3, 3), (3, 3)))
        windows = {(i, j): padded[:, i : i + 6, j : j + 5] for i in range(7) for j in range(7)}
        (offset,) = [at for at, window in windows.items() if np.array_equal(window, crop)]
        offsets.add(offset)
    assert {i for i, _ in offsets} == {j for _, j in offsets} == set(range(7))
    assert len(offsets) > 7  # the two axes are drawn apart


def test_crop_follows_the_generator_and_leaves_its_input():
    raw = torch.rand(20, 1, 8, 8, generator=generator())
    before = raw.clone()
    assert torch.equal(images.random_crop(raw, 2, generator(1)), images.random_crop(raw, 2, generator(1)))
    assert not torch.equal(images.random_crop(raw, 2, generator(1)), images.random_crop(raw, 2, generator(2)))
    assert torch.equal(images.random_crop(raw, 0, generator(1)), before)
    assert torch.equal(raw, before)


# Series


def test_spiral_has_the_closed_form_of_a_damped_rotation():
    times = np.linspace(-1, 10, 23)
    path = series.spiral([[-0.1, 2.0], [-2.0, -0.1]], [2.0, 0.0], times)
    turned = 2 * np.exp(-0.1 * times)[:, None] * np.stack([np.cos(2 * times), -np.sin(2 * times)], axis=1)
    np.testing.assert_allclose(path, turned, rtol=0, atol=1e-12)


def test_spiral_agrees_with_an_integrator_on_a_defective_matrix():
    matrix = np.array([[-0.5, 1.0], [0.0, -0.5]])  # one eigenvector only
    times = np.linspace(0, 4, 9)
    solved = scipy.integrate.solve_ivp(
        lambda _, y: matrix @ y, (0, 4), [1.0, -2.0], t_eval=times, rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(series.spiral(matrix, [1.0, -2.0], times), solved.y.T, rtol=0, atol=1e-9)
