"""Which files of a folder are a report's own: those that `manifest.json` lists, as they were written.

Nothing else is overwritten or removed. While a report is written the manifest lists what its files were and what they
will be, so that one that was cut short is taken up by the next.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import files, schema
from bench.errors import UserError

NAME = "manifest.json"
LARGEST = 2**28
_OWN = re.compile(r"(tables|figures)/[^/\0]+|[^/\0]+\.(md|html)")
_SHOWN = 8

Listed = dict[str, list[str]]
"""Name below the folder -> the SHA-256 that its content may have."""


def publish(out: Path, content: Mapping[str, bytes]) -> None:
    """Write the files of a report, by name below `out`, and remove those of the last one that are no more.

    Raises:
        UserError: a file in the way is not the last report's, or was changed since; then nothing was written.
    """
    listed = read(out)
    wanted = {name: sha256(data) for name, data in content.items()}
    here = {name: _found(out / name) for name in {*listed, *wanted}}
    foreign = [
        name
        for name, found in sorted(here.items())
        if found is not None and found not in (wanted.get(name), *listed.get(name, ()))
    ]
    if foreign:
        raise UserError(_refusal(out, foreign))
    both = {name: [*listed.get(name, ()), *([wanted[name]] if name in wanted else [])] for name in here}
    files.remove_drafts([out / NAME, *(out / name for name in here)], out)
    _write(out, both)
    for name, data in content.items():
        if here[name] != wanted[name]:
            files.write(out / name, data, out)
    for name in listed.keys() - content.keys():
        files.remove(out / name, out)
    _write(out, {name: [checksum] for name, checksum in wanted.items()})


def read(out: Path) -> Listed:
    """Return what the manifest of a folder lists; nothing where there is none.

    Raises:
        UserError: it is malformed.
    """
    path = out / NAME
    if not os.path.lexists(path):
        return {}
    try:
        tree = schema.parse(files.read(path, LARGEST))
        schema.keys(tree, "", ("files",))
        listed: Listed = tree["files"]
        if not isinstance(listed, dict) or not all(_OWN.fullmatch(name) for name in listed):
            raise schema.Fault("files", "a name is none of a report")
        if not all(
            isinstance(each, list) and all(isinstance(sha, str) for sha in each) for each in listed.values()
        ):
            raise schema.Fault("files", "a checksum is no text")
    except schema.Fault as error:
        raise UserError(f"{path} is malformed ({error}); move it away, and the report's files too") from error
    return listed


def text(names: Mapping[str, list[str]]) -> str:
    """Return a manifest as it is written."""
    return json.dumps({"files": dict(sorted(names.items()))}, indent=1) + "\n"


def sha256(data: bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.sha256(data).hexdigest()


def _write(out: Path, listed: Listed) -> None:
    content = text({name: list(dict.fromkeys(checksums)) for name, checksums in listed.items()})
    path = out / NAME
    if _found(path) != sha256(content.encode()):
        files.write(path, content, out)


def _found(path: Path) -> str | None:
    """Return the checksum of what is there, None for nothing; a link or a folder has none of a report's."""
    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_file() or path.parent.is_symlink():
        return "no file of a report"
    return sha256(files.read(path, LARGEST))


def _refusal(out: Path, foreign: Iterable[str]) -> str:
    names = list(foreign)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"{out} has files that no report of cnf-bench wrote, or that were changed since: "
        f"{', '.join(names[:_SHOWN])}{more}; move them away or choose another --out; nothing was written"
    )
