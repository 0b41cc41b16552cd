"""What `rnode.tabular` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure
from replications.ffjord.networks import on_every_table
from replications.rnode.config import Regularization
from replications.rnode.settings import FFJORD, RNODE
from replications.tasks.tables.declaration import TableConfig, tables


@dataclass(frozen=True)
class RnodeTableConfig(Regularization, TableConfig):
    """Settings of RNODE on a table."""


TABULAR = tables(
    "rnode.tabular",
    "RNODE against FFJORD on tables",
    "replications.rnode.experiments.tabular.run:run",
    RnodeTableConfig(),
    {
        f"{name}_{m}": {**table, **method}
        for name, table in on_every_table().items()
        for m, method in (("ffjord", FFJORD), ("rnode", RNODE))
    },
    removed={"spread": 0.0},
    departures=(Departure("The paper trains on images alone; the weights are those of its image runs"),),
)
