"""Files below a folder that a person named: written whole or not at all, and never through a link.

The folder itself may be a link; below it none is followed, and only plain files are replaced, moved or removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench.errors import Unwritable, UserError

_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_draft(name: str) -> bool:
    """Whether a file's name is one that `write` gives what it has not finished."""
    return _DRAFT.fullmatch(name) is not None


def reserve(path: Path, size: int, root: Path) -> None:
    """Keep room on the disk for a file that is still to be written, in place of what was kept for it.

    Raises:
        Unwritable: see `write`.
    """
    draft = _reserved(path)
    with _told(path), _folder(path, root, make=True) as folder:
        _refuse_others(path, folder)
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)
        handle = os.open(draft, _NEW, 0o644, dir_fd=folder)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
            else:
                os.write(handle, bytes(size))
        except OSError:
            os.unlink(draft, dir_fd=folder)
            raise
        finally:
            os.close(handle)


def release(path: Path, root: Path) -> None:
    """Give up the room that is kept for a file, where there is any."""
    remove(path.with_name(_reserved(path)), root)


def write(path: Path, content: str | bytes, root: Path, reserved: Path | None = None) -> None:
    """Write a file below `root` so that a reader sees the old or the new content, never a part.

    Args:
        path: of the file.
        content: all of it.
        root: the folder that a person named.
        reserved: the file for which room was kept, beside this one; its room is used.

    Raises:
        Unwritable: a link or another thing than a file is in the way, or the folder is read-only or full.
    """
    data = content.encode() if isinstance(content, str) else content
    with _draft(path, root, reserved) as stream:
        stream.write(data)
        stream.truncate()
        stream.flush()
        os.fsync(stream.fileno())


def create(path: Path, root: Path) -> IO[bytes]:
    """Return an empty file below `root`, open for writing, in place of an earlier one, whose content is not touched.

    Raises:
        Unwritable: see `write`.
    """
    with _draft(path, root) as stream:
        return os.fdopen(os.dup(stream.fileno()), "wb")


def remove(path: Path, root: Path) -> bool:
    """Remove a file below `root` and tell whether there was one; a link, or what lies behind one, stays."""
    with suppress(OSError), _folder(path, root) as folder:
        if stat.S_ISREG(os.lstat(path.name, dir_fd=folder).st_mode):
            os.unlink(path.name, dir_fd=folder)
            return True
    return False


def listed(folder: Path, bad: list[str]) -> list[Path]:
    """Return what lies in a folder, by name: nothing where there is none.

    Where it may not be read nothing is returned either, and a line in `bad` says so, once.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        line = f"folder {folder} can not be read ({error.strerror}); change its permissions"
        if line not in bad:
            bad.append(line)
        return []


def remove_drafts(paths: Iterable[Path], root: Path) -> None:
    """Remove what killed processes had not finished of some files below `root`."""
    wanted = set(paths)
    for folder in {path.parent for path in wanted}:
        for left in folder.glob(".*.part"):
            draft = _DRAFT.fullmatch(left.name)
            if draft and folder / draft[1] in wanted:
                remove(left, root)


def move(path: Path, root: Path, target: Path, other: Path) -> None:
    """Move what lies below `root`, itself and not what a link points at, to a free place below another folder.

    Raises:
        Unwritable: the place is taken or on another file system, a link is on the way, or a folder is read-only.
    """
    with _told(target), _folder(path, root) as source, _folder(target, other, make=True) as folder:
        if _kind(target.name, folder) is not None:
            raise FileExistsError(0, "there is something of that name")
        os.rename(path.name, target.name, src_dir_fd=source, dst_dir_fd=folder)


def adopt(source: Path, path: Path, root: Path) -> None:
    """Give a finished file, on the same file system, its place below `root`, that of an earlier one if need be.

    Raises:
        Unwritable: see `write`.
    """
    with _told(path), _folder(path, root, make=True) as folder:
        _refuse_others(path, folder)
        os.replace(source, path.name, dst_dir_fd=folder)


def open_lock(root: Path) -> IO[bytes]:
    """Return the file `.lock` of a folder, which is made where it is absent, open for `flock`.

    Raises:
        Unwritable: it is a link, or the folder can not be written.
    """
    path = root / ".lock"
    with _told(path), _folder(path, root, make=True) as folder:
        _refuse_others(path, folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path.name, flags, 0o644, dir_fd=folder), "r+b")


def read(path: Path, limit: int) -> bytes:
    """Return the content of a plain file of at most `limit` bytes.

    Raises:
        UserError: it can not be read, is larger, or is no plain file (a pipe would let the reader wait for ever).
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"cannot read {path}: it is no file")
            if found.st_size > limit:
                raise UserError(f"cannot read {path}: it has {found.st_size} bytes, more than {limit}")
            return stream.read(found.st_size)  # and not `limit`, for which room would be made
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _reserved(path: Path) -> str:
    """Return the name of the draft that keeps room for a file."""
    return f".{path.name}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part"


@contextmanager
def _draft(path: Path, root: Path, reserved: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a file under another name, and give it the right one once the block has ended well."""
    draft, flags = f".{path.name}.{secrets.token_hex(8)}.part", _NEW
    with _told(path), _folder(path, root, make=True) as folder:
        _refuse_others(path, folder)
        if reserved is not None and _kind(_reserved(reserved), folder) is not None:
            draft, flags = _reserved(reserved), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(draft, flags, 0o644, dir_fd=folder), "wb") as stream:
                yield stream
            os.replace(draft, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise


@contextmanager
def _folder(path: Path, root: Path, make: bool = False) -> Iterator[int]:
    """Open the folder that a path is in, from `root` on without following a link."""
    parts = path.relative_to(root).parts
    if ".." in parts:
        raise OSError(0, "its name leads out of the folder")
    if make:
        root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=handle)
            if (kind := _kind(part, handle)) is not None and not stat.S_ISDIR(kind):
                raise NotADirectoryError(0, f"{part} is {_called(kind)}, no folder")
            inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _kind(name: str, folder: int) -> int | None:
    """Return the file mode of a name, that of a link for a link; None where there is nothing."""
    try:
        return os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return None


def _called(mode: int) -> str:
    return "a link" if stat.S_ISLNK(mode) else "a file" if stat.S_ISREG(mode) else "no file"


def _refuse_others(path: Path, folder: int) -> None:
    mode = _kind(path.name, folder)
    if mode is not None and not stat.S_ISREG(mode):
        raise OSError(0, f"it is {_called(mode)}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system says into one line that names the mend."""
    try:
        yield
    except OSError as error:
        raise Unwritable(
            f"cannot write {path}: {error.strerror}; free the place or the space, or choose another folder"
        ) from error
