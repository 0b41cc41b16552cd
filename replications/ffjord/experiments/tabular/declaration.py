"""What `ffjord.tabular` is."""

from __future__ import annotations

from replications.ffjord.networks import on_every_table
from replications.tasks.tables.declaration import TableConfig, tables

TABULAR = tables(
    "ffjord.tabular",
    "FFJORD on tables",
    "replications.ffjord.experiments.tabular.run:run",
    TableConfig(),
    on_every_table(),
    removed={"kinetic": 0.0, "jacobian": 0.0, "spread": 0.0},
)
