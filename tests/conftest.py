"""Fixtures: a paper made for tests, found the way a real one is, by its entry point."""

import os
import signal
import time
from pathlib import Path

# Before anything imports torch: threads that wait actively for each other make the tests many times slower beside
# any other process, and the networks here are too small for more than one. What the user set stays.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
from pinned import OURS, is_pinned
from planted import Clock

from bench import registry

FAKE = Path(__file__).parent / "fake"


def pytest_configure(config: pytest.Config) -> None:
    """Where the versions are not the pinned ones, warnings are errors only at lines of ours."""
    if not is_pinned():
        config.addinivalue_line("filterwarnings", "default")
        config.addinivalue_line("filterwarnings", f"error:::{OURS}")


@pytest.fixture(autouse=True, scope="session")
def own_signals():
    """Let an interrupt interrupt: a shell that starts the tests in the background has it ignored, children included."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def fake_paper(monkeypatch):
    """Put the fake paper on the path of this process and of its children, as if it were installed."""
    monkeypatch.syspath_prepend(str(FAKE))
    path = os.pathsep.join(filter(None, [str(FAKE), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    registry.forget()
    yield "fake"
    registry.forget()


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that work moves, in place of the time in every measurement of time."""
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    return made
