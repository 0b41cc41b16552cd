"""The data sets, their checksums, and where their files are: a local folder, the cache, or the network.

The folder named by `CNF_BENCH_DATA` comes first and is only read. The download cache comes second: the
folder named by `CNF_BENCH_CACHE`, else `cnf-bench` in the user's cache directory.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError


@dataclass(frozen=True)
class DataFile:
    """A file of a data set: its path under a data folder, its SHA-256, its size in bytes where known."""

    path: str
    sha256: str
    bytes: int | None = None

    def find(self) -> Path | None:
        """Return the first existing place of this file, its content unchecked."""
        places = (folder / self.path for folder in _folders())
        return next((place for place in places if os.path.isfile(place)), None)

    def is_whole(self, place: Path) -> bool:
        """Tell whether the bytes at `place` have the registered SHA-256."""
        return _sha256_of(place) == self.sha256


@dataclass(frozen=True)
class DataSet:
    """A registered data set; a bundled one ships inside a dependency: no files, the SHA-256 of its arrays."""

    name: str
    title: str
    terms: str
    mirrors: tuple[str, ...] = ()
    files: tuple[DataFile, ...] = ()
    bundled: bool = False
    sha256: str = ""

    def hashes(self) -> dict[str, str]:
        """Return path -> registered SHA-256, a bundled set under its own name; touches no file."""
        return {self.name: self.sha256} if self.bundled else {file.path: file.sha256 for file in self.files}

    def locate(self) -> dict[str, Path] | None:
        """Return path -> place of every file, checksums verified; None unless all are there.

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
            raise UserError(f"data set {self.name} is not here: {_mend(self.name)}")
        return found

    def fetch(self) -> dict[str, Path]:
        """Return path -> place of every file, downloading what is absent into the cache.

        Raises `UserError`: as `locate`, or no mirror gave a file with the right checksum.
        """
        return {file.path: self._verified(file) or self._download(file) for file in self.files}

    def check(self) -> list[tuple[str, str]]:
        """Return (path, `ok`, `missing` or `wrong checksum`) of every file."""
        return [(file.path, _status(file)) for file in self.files]

    def _verified(self, file: DataFile) -> Path | None:
        place = file.find()
        if place and not file.is_whole(place):
            raise UserError(
                f"{place} is damaged or incomplete: SHA-256 {_sha256_of(place)[:12]}..., expected "
                f"{file.sha256[:12]}...; delete it, then {_mend(self.name)}"
            )
        return place

    def _download(self, file: DataFile) -> Path:
        import pooch

        target = cache_folder() / file.path
        faults = []
        for mirror in self.mirrors:
            try:
                # Writes to a temporary file and renames it only after the checksum agreed.
                pooch.retrieve(
                    mirror + target.name,
                    known_hash=f"sha256:{file.sha256}",
                    fname=target.name,
                    path=target.parent,
                    downloader=pooch.HTTPDownloader(chunk_size=1 << 20),
                )
                return target
            except (OSError, ValueError) as fault:  # no network, no space, a wrong checksum
                faults.append(f"{mirror}: {type(fault).__name__}: {' '.join(str(fault).split()):.60}")
        by_hand = f"put it by hand at {target} or at {file.path} in the folder named by CNF_BENCH_DATA"
        raise UserError(f"{file.path} could not be downloaded; {by_hand} ({'; '.join(faults)})")


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


def _mend(name: str) -> str:
    return f"run `cnf-bench data fetch {name}` or point CNF_BENCH_DATA at a folder that has it"


def _status(file: DataFile) -> str:
    place = file.find()
    if place is None:
        return "missing"
    return "ok" if file.is_whole(place) else "wrong checksum"


def _sha256_of(place: Path) -> str:
    try:
        stat = place.stat()
        return _digest(place, stat.st_mtime_ns, stat.st_size)
    except OSError as fault:
        raise UserError(f"{place} can not be read: {fault.strerror}; correct its permissions") from fault


@cache
def _digest(place: Path, mtime_ns: int, size: int) -> str:
    """Hash a file once a process; time stamp and size are the key that notices a change."""
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _registry() -> dict[str, DataSet]:
    tables = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
    return {name: _data_set(name, table) for name, table in tables.items()}


def _data_set(name: str, table: dict[str, Any]) -> DataSet:
    files = tuple(DataFile(path, **entry) for path, entry in table.pop("files", {}).items())
    return DataSet(name=name, files=files, mirrors=tuple(table.pop("mirrors", ())), **table)
