from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from typer.testing import CliRunner

from bench.cli.data import app
from bench.data import images, registry
from bench.data.checkpoint import arrays_of
from bench.data.registry import DataFile, DataSet
from bench.errors import UserError

CHECKSUM = re.compile(r"[0-9a-f]{64}|(archive:)?(md5:[0-9a-f]{32}|git:[0-9a-f]{40})")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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

    def stream(url, place, most):
        asked.append(url)
        if url not in answers:
            raise ConnectionError(f"no route\nto {url}")
        place.write_bytes(answers[url])

    monkeypatch.setattr(registry, "_stream", stream)
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
    code = "import sys, bench.data.registry, bench.cli.data; print({'torch', 'pooch'} & set(sys.modules))"
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


class Answer(io.BytesIO):
    """What a server sends: forty bytes, four at a time."""

    def read1(self, size: int = -1) -> bytes:
        return self.read(4)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer(b"alphabet" * 5))


def test_a_download_of_the_announced_size_in_time_is_kept(server, tmp_path):
    registry._stream("https://x.invalid/a", tmp_path / "a", 40)
    assert (tmp_path / "a").read_bytes() == b"alphabet" * 5


def test_a_download_that_is_too_large_is_ended(server, tmp_path):
    with pytest.raises(ValueError, match="more than 39 bytes"):
        registry._stream("https://x.invalid/a", tmp_path / "a", 39)


def test_a_download_that_takes_too_long_is_ended(server, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "SECONDS", -1.0)
    with pytest.raises(ValueError, match="took more than"):
        registry._stream("https://x.invalid/a", tmp_path / "a", 40)


def test_a_registered_size_is_the_limit_of_a_download(folders, monkeypatch):
    limits = []
    monkeypatch.setattr(registry, "_stream", lambda url, place, most: limits.append(most))
    with pytest.raises(UserError):
        a_set(a=b"alpha").fetch()
    assert limits == [5, 5]


def test_what_a_killed_download_left_goes_with_the_next_and_nothing_else_does(folders, monkeypatch):
    cache = folders[1]
    left, going_on = (put(cache, f".part-{digit * 16}/a", b"alp").parent for digit in "01")
    mine = [put(cache, f".part-{name}", b"mine") for name in ("notes", "0123456789abcde/x", f"{'2' * 16}")]
    serve(monkeypatch, {"https://first.invalid/a": b"alpha"})
    with registry._held(going_on):
        a_set(a=b"alpha").fetch()
    assert not left.exists()
    assert going_on.is_dir()
    assert [path.read_bytes() for path in mine] == [b"mine"] * 3
    assert sorted(p.name for p in cache.glob(".part-*")) == sorted([going_on.name, *(
        path.relative_to(cache).parts[0] for path in mine
    )])  # fmt: skip


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
    assert not list(folders[1].rglob("a*"))


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


# Weights out of a checkpoint


LOCAL = Path(os.environ.get("CNF_BENCH_DATA", ""))


@pytest.fixture
def checkpoints(folders, monkeypatch):
    """Serve the published weights as the checkpoints of a training would hold them, some of them changed."""
    weights = registry.get("ot_flow_weights")
    if not all((LOCAL / file.path).is_file() for file in weights.files):
        pytest.skip("CNF_BENCH_DATA names no folder with the published weights")

    def serving(change: float = 0.0):
        answers = {}
        for file in weights.files:
            with np.load(LOCAL / file.path) as arrays:
                state = {name: torch.tensor(array) + change for name, array in arrays.items()}
            stream = io.BytesIO()
            torch.save({"args": argparse.Namespace(alph=[1.0, 2.0]), "state_dict": state}, stream)
            answers[weights.mirrors[0] + file.checkpoint] = stream.getvalue()
        return weights, serve(monkeypatch, answers)

    return serving


def test_weights_out_of_a_checkpoint_have_the_registered_bytes(folders, checkpoints):
    weights, asked = checkpoints()
    places = weights.fetch()
    assert places == {file.path: folders[1] / file.path for file in weights.files}
    for path, place in places.items():
        assert place.read_bytes() == (LOCAL / path).read_bytes()
    assert weights.fetch() == places == weights.require()
    assert asked == [weights.mirrors[0] + file.checkpoint for file in weights.files]


def test_changed_weights_are_refused(folders, checkpoints):
    weights, _ = checkpoints(change=1e-3)
    with pytest.raises(UserError, match=r"weights\.npz .*not the known one: sha256") as fault:
        weights.fetch()
    assert "\n" not in str(fault.value)
    assert [path for path in folders[1].rglob("*") if path.is_file()] == []


class Code:
    """Something that runs when it is unpickled."""

    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize("content", [{"state_dict": {"w": Code()}}, {"weights": 1}])
def test_a_checkpoint_with_code_or_without_weights_is_refused(tmp_path, capsys, content):
    place = tmp_path / "checkpoint.pth"
    torch.save(content, place)
    with pytest.raises(ValueError, match="no checkpoint with a state_dict"):
        arrays_of(place)
    place.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="no checkpoint with a state_dict"):
        arrays_of(place)
    assert "never" not in capsys.readouterr().out


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


def test_loading_images_never_downloads(folders, monkeypatch):
    asked = serve(monkeypatch, {})
    with pytest.raises(UserError, match="data set mnist is not here"):
        images.load("mnist", "test")
    assert asked == []
