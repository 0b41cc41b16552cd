"""Choose each method's setting by the tuning's records: `python -m replications.suite.tuned reports`.

Of a method's settings on a task that with the lowest validation NLL is chosen; the main runs take as many iterations as
it took in the budget. What was chosen is written to `tuned.toml`, which the declarations read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.identity import is_current
from bench.record import Record, find
from replications.suite.declaration import CHOSEN
from replications.suite.settings import TUNED, Setting

HEADER = "# Written by `python -m replications.suite.tuned FOLDER` from the records of suite.tuning.\n"


def choice(record: Record) -> tuple[Setting, int] | None:
    """Return the chosen setting of a method on a task and its iterations; None where every trial failed."""
    tried: dict[float, tuple[Setting, int]] = {}
    for setting in TUNED[str(record.identity.config["method"])]:
        nll = record.metrics.get(f"nll[{setting.label}]")
        if nll is not None and math.isfinite(nll.value):
            tried[nll.value] = setting, round(record.metrics[f"iterations[{setting.label}]"].value)
    return tried[min(tried)] if tried else None


def text(records: Iterable[Record]) -> str:
    """Return `tuned.toml`, given the records of the tuning at tier cpu."""
    lines = [HEADER]
    for record in sorted(records, key=lambda r: r.identity.variant):
        if (found := choice(record)) is not None:
            setting, iterations = found
            config = record.identity.config
            lines.append(
                f'["{config["data"]}/{config["method"]}"]\n'
                f"learning_rate = {setting.learning_rate!r}\nstrength = {setting.strength!r}\n"
                f"iterations = {iterations}\n"
            )
    return "\n".join(lines)


def tunings(folders: list[Path]) -> list[Record]:
    """Return the finished, current records of the tuning at tier cpu below some folders."""
    return [
        record
        for record in find(folders).records
        if record.identity.experiment == "suite.tuning"
        and record.identity.tier == "cpu"
        and record.status == "done"
        and is_current(record.identity)
    ]


if __name__ == "__main__":
    CHOSEN.write_text(text(tunings([Path(folder) for folder in sys.argv[1:]])))
