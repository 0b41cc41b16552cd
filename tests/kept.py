"""Outcomes that a long session of faults or damaged inputs keeps as it goes, one a line, so that it can go on later."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
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
    if path is None or not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]


def keep(path: Path | None, outcome: dict[str, Any]) -> None:
    """Add an outcome."""
    if path is not None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(outcome) + "\n")


def made_by(command: str, when: datetime, commits: Iterable[str]) -> str:
    """Return the line that says what made a table, when and of which commits."""
    names = list(dict.fromkeys(commits)) or [commit()]
    word = "commit" if len(names) == 1 else "commits"
    return (
        f"Made by `{command}` on {when:%Y-%m-%d}, {word} {', '.join(names)}, Python {platform.python_version()}, "
        f"{platform.system()}."
    )
