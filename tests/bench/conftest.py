"""Places that the tests of data share, and records that those of the report share."""

import importlib.metadata

import pytest
from made_up import made, three_seeds

from bench.record import Curve
from bench.registry import ENTRY_POINTS, registry


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty local folder and an empty cache, both in effect."""
    local, cache = tmp_path / "local", tmp_path / "cache"
    local.mkdir()
    monkeypatch.setenv("CNF_BENCH_DATA", str(local))
    monkeypatch.setenv("CNF_BENCH_CACHE", str(cache))
    return local, cache


@pytest.fixture
def fake(fake_paper, monkeypatch):
    """The fake paper and no other."""
    every = importlib.metadata.entry_points

    def entry_points(**wanted):
        found = every(**wanted)
        return [e for e in found if e.name == "fake"] if wanted.get("group") == ENTRY_POINTS else found

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return registry()["fake.act"]


@pytest.fixture
def records(fake):
    return [
        *three_seeds(fake, "plain", [1.0, 1.1, 1.2]),
        *three_seeds(fake, "double", [2.0, 2.2, 2.4]),
        made(
            fake, "diverges", 0, [("nfe", 99)], status="diverged", message="a_b | c [x]", last_t=0.5, nfe=17
        ),
        made(registry()["fake.train"], "sgd", 0, [("train_loss", 1.0)], tier="smoke"),
    ]


@pytest.fixture
def curved(records):
    """The same records with a curve each; drawing is slow, so only the tests of figures ask for them."""
    for record in records:
        record.curves = {"error": Curve((0.0, 1.0, 2.0), (1.0, 0.1, 0.001), "step", "error")}
    return records
