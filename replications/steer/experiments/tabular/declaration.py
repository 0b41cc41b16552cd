"""What `steer.tabular` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure
from replications.ffjord.networks import on_every_table
from replications.rnode.config import Regularization
from replications.steer.config import RandomEnd
from replications.steer.settings import METHODS
from replications.tasks.tables.declaration import TableConfig, tables


@dataclass(frozen=True)
class SteerTableConfig(RandomEnd, Regularization, TableConfig):
    """Settings of STEER on a table."""


TABULAR = tables(
    "steer.tabular",
    "STEER alone and on top of RNODE on tables",
    "replications.steer.experiments.tabular.run:run",
    SteerTableConfig(),
    {
        f"{name}_{m}": {**on_every_table()[name], **method}
        for name in ("miniboone_heldout", "miniboone")
        for m, method in METHODS.items()
    },
    renamed={"spread": "b"},
    departures=(Departure("No result on tables is documented: what the abstract says is tried on them"),),
)
