"""Experiment `ffjord.toy`: train and measure."""

from __future__ import annotations

from functools import partial

from replications.ffjord import replicate
from replications.ffjord.method import METHOD

run = partial(replicate.toy, method=METHOD)
