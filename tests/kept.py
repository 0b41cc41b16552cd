"""Outcomes that a long session of faults or damaged inputs keeps as it goes, one a line, so that it can go on later."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """Return the commit of the checkout, with a sign where a tracked file differs from it."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def read(path: Path | None) -> list[dict[str, Any]]:
    """Return what was kept; of a line that was cut short nothing."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path and path.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def keep(path: Path | None, outcome: dict[str, Any]) -> None:
    """Add an outcome."""
    if path is not None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps(outcome))  # the line before may have been cut short


def made_by(command: str, when: datetime, commits: Iterable[str]) -> str:
    """Return the line that says what made a table, when and of which commits."""
    names = list(dict.fromkeys(commits)) or [commit()]
    word = "commit" if len(names) == 1 else "commits"
    return (
        f"Made by `{command}` on {when:%Y-%m-%d}, {word} {', '.join(names)}, Python {platform.python_version()}, "
        f"{platform.system()}."
    )
