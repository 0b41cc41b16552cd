"""Places that the tests of data share."""

import pytest


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty local folder and an empty cache, both in effect."""
    local, cache = tmp_path / "local", tmp_path / "cache"
    local.mkdir()
    monkeypatch.setenv("CNF_BENCH_DATA", str(local))
    monkeypatch.setenv("CNF_BENCH_CACHE", str(cache))
    return local, cache
