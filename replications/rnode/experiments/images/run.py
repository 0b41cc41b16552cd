"""Experiment `rnode.images`: train and measure."""

from __future__ import annotations

from functools import partial

from replications.ffjord import replicate
from replications.rnode.method import METHOD

run = partial(replicate.images, method=METHOD)
