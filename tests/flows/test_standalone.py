"""The library of flows is one of its own: its wheel alone runs the example of its README."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOWS = ROOT / "replications" / "flows"
needs_setuptools = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None,
    reason="setuptools is not installed: no wheel can be built",
)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources alone, and unpack it into an empty folder."""
    import shutil

    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    shutil.copytree(FLOWS, sources, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(sources)], check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run code without site, so that no installed link leads back here, in an empty folder."""
    places = os.pathsep.join(map(str, (*path, sysconfig.get_paths()["purelib"])))
    environment = {"PYTHONPATH": places, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=path[0], env=environment, capture_output=True, text=True
    )


@needs_setuptools
def test_the_wheel_alone_runs_the_example_of_its_readme(unpacked: Path) -> None:
    assert not any(p.name in ("bench", "tasks") for p in unpacked.rglob("*"))
    alone = run(
        "import importlib.util as u; print(u.find_spec('bench'), u.find_spec('replications.tasks'))", unpacked
    )
    assert alone.stdout.split() == ["None", "None"], alone.stderr
    (example,) = re.findall(r"```python\n(.*?)```", (FLOWS / "README.md").read_text(), re.S)
    done = run(example, unpacked)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"nats a point: \d\.\d\d before, \d\.\d\d after, \d+ evaluations a solve\n", done.stdout
    )


@needs_setuptools
def test_the_wheel_holds_every_module(unpacked: Path) -> None:
    ours = {p.relative_to(FLOWS).as_posix() for p in FLOWS.rglob("*.py")}
    theirs = {p.relative_to(unpacked / "replications" / "flows").as_posix() for p in unpacked.rglob("*.py")}
    assert ours == theirs
