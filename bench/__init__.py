"""The benchmark harness: it plans, runs, records and reports experiments, and knows nothing of any paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def load(run: str | Path) -> Any:
    """Return the trained model of a run.

    Args:
        run: path of a record, or of the folder a `cnf-bench run --out` wrote followed by `/` and the run's id.

    Raises:
        UserError: no such record, or the run kept no model.
    """
    from bench.models import load_model

    return load_model(run)
