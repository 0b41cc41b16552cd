"""The benchmark harness: plans, runs, records and reports experiments; knows nothing of any paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def load(run: str | Path) -> Any:
    """Return the trained model of a run.

    Args:
        run: path of a record, or the folder given to `--out`, then `/` and the run's id.

    Raises:
        UserError: no such record, or the run kept no model.
    """
    from bench.models import load_model

    return load_model(run)
