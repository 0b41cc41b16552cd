"""Nothing that the program did not write is removed, truncated or written through."""

import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from bench import files
from bench.errors import Unwritable, UserError


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file of the user's own, outside of the folder `out`."""
    place = tmp_path / "mine" / "thesis.txt"
    place.parent.mkdir()
    place.write_text("years of work")
    (tmp_path / "out").mkdir()
    return place


def test_what_is_written_is_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    files.write(tmp_path / "a" / "b" / "c.txt", "one", tmp_path)
    files.write(tmp_path / "a" / "b" / "c.txt", b"two", tmp_path)
    assert [(p.name, p.read_text()) for p in (tmp_path / "a" / "b").iterdir()] == [("c.txt", "two")]


def link_to_the_file(own: Path, out: Path) -> None:
    (out / "a").mkdir()
    (out / "a" / "x.txt").symlink_to(own)


def link_to_its_folder(own: Path, out: Path) -> None:
    own.rename(own.with_name("x.txt"))
    (out / "a").symlink_to(own.parent)


def hard_link(own: Path, out: Path) -> None:
    (out / "a").mkdir()
    os.link(own, out / "a" / "x.txt")


@pytest.mark.parametrize("plant", [link_to_the_file, link_to_its_folder, hard_link])
@pytest.mark.parametrize("how", ["write", "create", "remove"])
def test_no_link_is_followed(own: Path, tmp_path: Path, plant, how: str) -> None:
    out = tmp_path / "out"
    plant(own, out)
    path = out / "a" / "x.txt"
    linked = plant is not hard_link
    if how == "write" and linked:
        with pytest.raises(Unwritable, match="link"):
            files.write(path, "other", out)
    elif how == "write":
        files.write(path, "other", out)
    elif how == "create" and linked:
        with pytest.raises(Unwritable, match="link"):
            files.create(path, out)
    elif how == "create":
        files.create(path, out).close()
    else:
        assert files.remove(path, out) is not linked
    assert [p.read_text() for p in (tmp_path / "mine").iterdir()] == ["years of work"]
    assert (out / "a").is_symlink() is (plant is link_to_its_folder)
    assert path.is_symlink() is (plant is link_to_the_file)


def test_the_folder_that_was_named_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    files.write(tmp_path / "out" / "x" / "y", "z", tmp_path / "out")
    assert (tmp_path / "disk" / "x" / "y").read_text() == "z"


def test_a_folder_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(Unwritable, match="it is no file"):
        files.write(tmp_path / "x", "", tmp_path)
    assert not files.remove(tmp_path / "x", tmp_path)


def test_a_name_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(Unwritable, match="leads out"):
        files.write(tmp_path / "out" / ".." / "x", "", tmp_path / "out")
    assert not (tmp_path / "x").exists()


def test_the_lock_is_not_truncated_and_no_link(own: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / ".lock").symlink_to(own)
    with pytest.raises(Unwritable, match="it is a link"):
        files.open_lock(tmp_path / "out")
    assert own.read_text() == "years of work"
    (tmp_path / ".lock").write_text("kept")
    files.open_lock(tmp_path).close()
    assert (tmp_path / ".lock").read_text() == "kept"


def test_a_move_takes_a_link_itself_and_no_place_that_is_taken(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a").symlink_to(own)
    (out / "b").write_text("b")
    with pytest.raises(Unwritable, match="there is something"):
        files.move(out / "a", out, out / "b", out)
    files.move(out / "a", out, tmp_path / "aside" / "x" / "a", tmp_path / "aside")
    assert (tmp_path / "aside" / "x" / "a").is_symlink()
    assert own.read_text() == "years of work"


def test_only_plain_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no file"):
        files.read(tmp_path / "pipe", 10)
    with pytest.raises(UserError, match="Is a directory"):
        files.read(tmp_path, 10)
    (tmp_path / "x").write_bytes(bytes(11))
    with pytest.raises(UserError, match="11 bytes, more than 10"):
        files.read(tmp_path / "x", 10)
    assert files.read(tmp_path / "x", 11) == bytes(11)


def test_a_file_is_readable_by_others_and_no_program(tmp_path: Path) -> None:
    files.write(tmp_path / "x", "", tmp_path)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) & 0o133 == 0


def test_a_draft_is_told_from_the_files_of_a_user() -> None:
    assert files.is_draft(".plain.cpu.s0.json.0123456789abcdef.part")
    assert not any(map(files.is_draft, (".notes.json.bak", "x.0123456789abcdef.part", ".x.json.part")))


def test_a_small_file_takes_little_room_whatever_the_limit(tmp_path: Path) -> None:
    """A run may be held to a memory limit: room for the largest file allowed would be refused."""
    path = tmp_path / "small"
    path.write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert files.read(path, 2**34) == b"x" * 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_what_takes_kept_room_takes_no_other(tmp_path: Path) -> None:
    path, beside = tmp_path / "a" / "x.json", tmp_path / "a" / "x.json.loser"
    for target in (path, beside):
        files.reserve(path, 10_000, tmp_path)
        (kept,) = (p for p in path.parent.iterdir() if p.name.startswith("."))
        room = kept.stat()
        assert files.is_draft(kept.name)
        assert (room.st_size, room.st_blocks * 512 >= 10_000) == (10_000, True)
        files.write(target, "short", tmp_path, reserved=path)
        assert (target.stat().st_ino, target.read_text()) == (room.st_ino, "short")
        assert not kept.exists()


def test_room_is_kept_once_and_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for size in (10, 20):
        files.reserve(path, size, tmp_path)
    assert [p.stat().st_size for p in tmp_path.iterdir()] == [20]
    for _ in range(2):
        files.release(path, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_room_is_kept_through_no_link(own: Path) -> None:
    out = own.parents[1] / "out"
    files.reserve(out / "x.json", 10, out)
    (kept,) = out.iterdir()
    kept.unlink()
    kept.symlink_to(own)
    with pytest.raises(Unwritable):
        files.write(out / "x.json", "new", out, reserved=out / "x.json")
    assert own.read_text() == "years of work"
