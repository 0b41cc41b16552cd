"""The data sets, their checksums, and where their files are: a local folder, the cache, or the network.

The folder named by `CNF_BENCH_DATA` comes first and is only read. The download cache comes second: the
folder named by `CNF_BENCH_CACHE`, else `cnf-bench` in the user's cache directory.

A checksum is `kind:digest`: `sha256`, `md5`, or `git`, the id that git gives to a file's content. A file of an
archive may have none; then only the archive's is known, and it holds for what `fetch` extracts, not for a file put
there by hand.

| limit of a download | value |
|---|---|
| size | that which is registered, else `LARGEST` bytes |
| time in all | `SECONDS` |
| time without any | `SILENCE` seconds |
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import tarfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from bench import files
from bench.data.convert import checkpoint
from bench.errors import UserError
from bench.text import told

LARGEST = 2**35
"""Bytes that a file of a data set may have, where its size is not registered."""
SECONDS = 6 * 3600.0
"""Time that the download of a file may take."""
SILENCE = 30.0
"""Seconds in which some of it must come."""

WRONG, UNREADABLE = BAD = ("wrong checksum", "can not be read")
"""What is wrong with a file of a data set that is here."""

_PART = re.compile(r"\.part-[0-9a-f]{16}")
_KINDS = ("sha256", "md5", "git")


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Args:
        path: under a data folder.
        checksum: of the file, where known.
        bytes: its size, where known.
        checkpoint: of a file written from a torch checkpoint, where that lies under the mirrors.
    """

    path: str
    checksum: str = ""
    bytes: int | None = None
    checkpoint: str = ""

    def find(self) -> Path | None:
        """Return the first existing place of this file, its content unchecked."""
        places = (folder / self.path for folder in _folders())
        return next((place for place in places if os.path.isfile(place)), None)

    def is_whole(self, place: Path) -> bool:
        """Tell whether the bytes at `place` have the registered checksum; without one, any have."""
        return not self.checksum or self.measure(place) == self.checksum

    def measure(self, place: Path) -> str:
        """Return the checksum of the bytes at `place`, of the registered kind.

        Raises `UserError`: they can not be read.
        """
        kind = self.checksum.partition(":")[0]
        try:
            stat = place.stat()
            return f"{kind}:{_digest(place, stat.st_mtime_ns, stat.st_size, kind)}"
        except OSError as fault:
            raise UserError(f"{place} can not be read: {fault.strerror}; correct its permissions") from fault


@dataclass(frozen=True)
class DataSet:
    """A registered data set.

    Its files come from `mirrors`, or out of the one file of the set that `archive` names, or by hand. A bundled set
    ships inside a dependency: no files, the SHA-256 of its arrays.
    """

    name: str
    title: str
    terms: str
    mirrors: tuple[str, ...] = ()
    files: tuple[DataFile, ...] = ()
    archive: str = ""
    bundled: bool = False
    sha256: str = ""

    @property
    def fetchable(self) -> bool:
        """Whether an address is known to download the set from."""
        return bool(self.mirrors or self.archive)

    @property
    def mend(self) -> str:
        """What a person can do where a file is absent or wrong."""
        folder = "point CNF_BENCH_DATA at a folder that has it"
        return f"run `cnf-bench data fetch {self.name}` or {folder}" if self.fetchable else folder

    def hashes(self) -> dict[str, str]:
        """Return path -> registered checksum, a bundled set under its own name; touches no file.

        SHA-256 has no prefix; a file without a checksum has its archive's, after `archive:`.
        """
        if self.bundled:
            return {self.name: self.sha256}
        # The identity of every record holds these strings: they never change form.
        return {file.path: file.checksum.removeprefix("sha256:") or self._origin() for file in self.files}

    def locate(self) -> dict[str, Path] | None:
        """Return path -> place of every file, known checksums verified; None unless all are there.

        Raises `UserError`: a file that was found has a wrong checksum or can not be read.
        """
        found = {file.path: place for file in self.files if (place := self._verified(file))}
        return found if len(found) == len(self.files) else None

    def require(self) -> dict[str, Path]:
        """Return `locate()`'s answer without ever using the network.

        Raises `UserError`: as `locate`, or a file is absent.
        """
        found = self.locate()
        if found is None:
            raise UserError(f"data set {self.name} is not here: {self.mend}")
        return found

    def fetch(self) -> dict[str, Path]:
        """Return path -> place of every file, downloading or extracting what is absent into the cache.

        Raises `UserError`: as `locate`, no mirror gave a file with the right checksum, or the archive lacks a file.
        """
        absent = [file for file in self.files if not self._verified(file)]
        if absent and self.archive:
            self._extract(absent)
        return {file.path: self._verified(file) or self._download(file) for file in self.files}

    def check(self) -> list[tuple[str, str]]:
        """Return (path, `ok`, `missing`, `no checksum known` or one of `BAD`) of every file."""
        return [(file.path, _status(file)) for file in self.files]

    def _verified(self, file: DataFile) -> Path | None:
        place = file.find()
        if place and not file.is_whole(place):
            found, expected = (_short(checksum) for checksum in (file.measure(place), file.checksum))
            raise UserError(
                f"{place} is damaged or incomplete: {found}, expected {expected}; delete it, then {self.mend}"
            )
        return place

    def _origin(self) -> str:
        return f"archive:{get(self.archive).files[0].checksum}"

    def _extract(self, absent: list[DataFile]) -> None:
        """Copy files out of the archive into the cache; the archive chooses no path, owner or permission."""
        (archive,) = get(self.archive).fetch().values()
        wanted = list(absent)
        try:
            with tarfile.open(archive, "r|*") as members:  # one pass; a seek would decompress again
                for member in members:
                    file = next((f for f in wanted if f"/{member.name}".endswith(f"/{f.path}")), None)
                    if file and member.isfile() and (content := members.extractfile(member)):
                        _store(content, file)
                        wanted.remove(file)
                    if not wanted:
                        return
        except UserError:
            raise
        except Exception as fault:  # a damaged archive can fail in any way
            reason = told(fault)
            raise UserError(f"{archive} could not be extracted into {cache_folder()} ({reason})") from fault
        lost = ", ".join(file.path for file in wanted)
        raise UserError(f"{archive} does not hold {lost}: put it by hand into the folder CNF_BENCH_DATA")

    def _download(self, file: DataFile) -> Path:
        target = cache_folder() / file.path
        faults = []
        for mirror in self.mirrors:
            try:
                with _scratch() as folder:
                    if file.checkpoint:
                        _retrieve(mirror + file.checkpoint, None, folder / "checkpoint", LARGEST)
                        _store(io.BytesIO(checkpoint(folder / "checkpoint")), file)
                    else:
                        most = file.bytes or LARGEST
                        _retrieve(mirror + target.name, file.checksum, folder / target.name, most)
                        files.adopt(folder / target.name, target, cache_folder())
                return target
            except (OSError, ValueError) as fault:  # no network, no space, a wrong checksum
                faults.append(f"{mirror}: {type(fault).__name__}: {' '.join(str(fault).split()):.60}")
        by_hand = f"put it by hand at {target} or at {file.path} in the folder named by CNF_BENCH_DATA"
        reason = "; ".join(faults) or "it has no download address"
        raise UserError(f"{file.path} could not be downloaded; {by_hand} ({reason})")


def _retrieve(url: str, checksum: str | None, target: Path, most: int) -> None:
    """Download a file of at most so many bytes under a temporary name and rename it once its checksum agreed."""
    import pooch

    def downloaded(url: str, place: str, pooch: object) -> None:
        _stream(url, Path(place), most)

    pooch.retrieve(url, checksum, target.name, target.parent, downloader=downloaded)


def _stream(url: str, place: Path, most: int) -> None:
    """Write to a file what an address gives.

    Raises:
        OSError: it gives nothing.
        ValueError: it gives too much, or not in time.
    """
    import ssl
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    import certifi

    end = time.monotonic() + SECONDS
    request = Request(url, headers={"User-Agent": "cnf-bench"})
    trusted = ssl.create_default_context(cafile=certifi.where())
    try:
        with urlopen(request, timeout=SILENCE, context=trusted) as answer, place.open("wb") as stream:
            while block := answer.read1(1 << 20):
                stream.write(block)
                if stream.tell() > most:
                    raise ValueError(f"it has more than {most} bytes")
                if time.monotonic() > end:
                    raise ValueError(f"it took more than {SECONDS:g} s")
    except HTTPException as fault:
        raise OSError(f"{type(fault).__name__}: {fault}") from fault


def names() -> list[str]:
    """Return the names of the registered data sets, sorted."""
    return sorted(_registry())


def get(name: str) -> DataSet:
    """Return the data set of that name.

    Raises `UserError`: there is none; names the close matches.
    """
    if name in _registry():
        return _registry()[name]
    close = difflib.get_close_matches(name, names()) or names()
    raise UserError(f"no data set is called {name!r}: did you mean {' or '.join(close)}?")


def cache_folder() -> Path:
    """Return the folder downloads go to."""
    if folder := os.environ.get("CNF_BENCH_CACHE"):
        return Path(folder).expanduser()
    import pooch

    return Path(pooch.os_cache("cnf-bench"))


def _folders() -> list[Path]:
    local = os.environ.get("CNF_BENCH_DATA")
    if not local:
        return [cache_folder()]
    if not Path(local).expanduser().is_dir():
        raise UserError(f"CNF_BENCH_DATA names {local}, which is not a folder: correct it or unset it")
    return [Path(local).expanduser(), cache_folder()]


def _short(checksum: str) -> str:
    kind, _, digest = checksum.partition(":")
    return f"{kind} {digest[:12]}..."


def _status(file: DataFile) -> str:
    place = file.find()
    if place is None:
        return "missing"
    if not file.checksum:
        return "no checksum known"
    try:
        return "ok" if file.is_whole(place) else WRONG
    except UserError:
        return UNREADABLE


def _store(content: IO[bytes], file: DataFile) -> None:
    """Write a file of the cache elsewhere and give it its place once its checksum agreed."""
    with _scratch() as folder:
        part = folder / "part"
        with part.open("wb") as stream:
            while (block := content.read(1 << 20)) and stream.tell() <= LARGEST:
                stream.write(block)
        if part.stat().st_size > LARGEST:
            raise UserError(f"{file.path} of the archive has more than {LARGEST} bytes")
        if not file.is_whole(part):
            found, expected = _short(file.measure(part)), _short(file.checksum)
            raise UserError(f"{file.path} of the archive is not the known one: {found}, expected {expected}")
        files.adopt(part, cache_folder() / file.path, cache_folder())


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a folder in the cache that is gone after the block; those that killed processes left go before."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    for left in cache_folder().glob(".part-*"):
        if _PART.fullmatch(left.name):
            with suppress(OSError), _held(left):
                shutil.rmtree(left)
    while True:
        folder = cache_folder() / f".part-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        with ExitStack() as holding:
            try:
                holding.enter_context(_held(folder))
            except (
                BlockingIOError,
                FileNotFoundError,
            ):  # another process has just taken it for one that was left
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, which all others see until it ends.

    Raises `BlockingIOError`: another one holds it; `FileNotFoundError`: it is gone.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), folder.stat()):
            raise FileNotFoundError
        yield
    finally:
        os.close(handle)


@cache
def _digest(place: Path, mtime_ns: int, size: int, kind: str) -> str:
    """Hash a file once a process; time stamp and size are the key that notices a change."""
    # git hashes a header before the content.
    name, header = ("sha1", b"blob %d\0" % size) if kind == "git" else (kind, b"")
    state = hashlib.new(name, header, usedforsecurity=False)
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: state).hexdigest()


@cache
def _registry() -> dict[str, DataSet]:
    tables = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
    return {name: _data_set(name, table) for name, table in tables.items()}


def _data_set(name: str, table: dict[str, Any]) -> DataSet:
    known = tuple(_data_file(path, entry) for path, entry in table.pop("files", {}).items())
    return DataSet(name=name, files=known, mirrors=tuple(table.pop("mirrors", ())), **table)


def _data_file(path: str, entry: dict[str, Any]) -> DataFile:
    checksum = next((f"{kind}:{entry.pop(kind)}" for kind in _KINDS if kind in entry), "")
    return DataFile(path, checksum, **entry)
