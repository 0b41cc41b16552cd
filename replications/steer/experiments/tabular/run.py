"""Experiment `steer.tabular`: train and measure."""

from __future__ import annotations

from functools import partial

from replications.ffjord import replicate
from replications.steer.method import METHOD

run = partial(replicate.tabular, method=METHOD)
