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
)
