"""Rooms and arrows: who may import whom (the contracts of pyproject.toml), and what stays unimported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def flows() -> grimp.ImportGraph:
    return grimp.build_graph("replications.flows", cache_dir=None)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a checkout."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_every_arrow_goes_one_way() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "12 kept, 0 broken" in done.stdout


def test_a_forbidden_arrow_is_seen(tmp_path: Path) -> None:
    for folder in ("bench", "replications", "benchmarks"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pt")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    counter = tmp_path / "replications" / "flows" / "ode" / "counter.py"
    counter.write_text(
        counter.read_text() + "\n\ndef planted() -> None:\n    import bench.errors  # noqa: F401\n"
    )
    done = lint(tmp_path)
    assert done.returncode != 0
    assert "replications.flows.ode.counter -> bench.errors" in done.stdout


def test_the_library_of_flows_has_no_circle(flows: grimp.ImportGraph) -> None:
    circles = [
        module
        for module in flows.modules
        if module in {up for direct in flows.find_modules_directly_imported_by(module) for up in (
            flows.find_upstream_modules(direct))}
    ]  # fmt: skip
    assert circles == []


@pytest.mark.parametrize(
    "code",
    ["import bench", "from bench.cli.main import app", "from bench.registry import registry; registry()"],
)
def test_declarations_and_the_command_line_start_without_torch(code: str) -> None:
    told = f"{code}; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
