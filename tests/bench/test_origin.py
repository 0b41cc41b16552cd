"""What made a state: the sources are those of the harness and of the papers, wherever they are found from."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench import registry
from bench.execution.origin import _package, sources

PRINT = "from bench.execution.origin import sources; print(sources())"


@pytest.mark.parametrize(
    ("name", "file", "root"),
    [
        ("a.b.c", "/x/a/b/c/__init__.py", "/x/a"),
        ("a.b.c", "/x/a/b/c.py", "/x/a"),
        ("a", "/x/a/__init__.py", "/x/a"),
        ("a", "/x/a.py", "/x/a.py"),
    ],
)
def test_the_outermost_package_of_a_module(name, file, root):
    module = ModuleType(name)
    module.__file__ = file
    assert _package(module) == Path(root)


def test_sources_are_the_same_from_any_folder_and_with_any_search_path(tmp_path):
    registry.forget()
    for options, folder in (([], Path(__file__).parents[2]), (["-P"], tmp_path)):
        done = subprocess.run(
            [sys.executable, *options, "-c", PRINT], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == sources.__wrapped__()
