"""Whether the tests run with the versions of constraints.txt, and whose warnings are errors where they do not."""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement

TESTS = Path(__file__).parent
CONSTRAINTS = TESTS.parent / "constraints.txt"
PYTHON = (3, 11)  # with which the committed records were made
MODULES = ("bench", "benchmarks", "replications", *sorted({path.stem for path in TESTS.rglob("*.py")}))
OURS = rf"({'|'.join(MODULES)})(\.|$)"


def is_pinned() -> bool:
    """Is everything that constraints.txt names, as far as it is installed, of its version, on its Python?"""
    found = {name: version for name in pins() if (version := installed(name)) is not None}
    return sys.version_info[:2] == PYTHON and not strays(found)


def strays(found: dict[str, str]) -> list[str]:
    """Return the names of those that are not of the pinned version; a build (`+cpu`) makes no difference."""
    return [name for name, version in found.items() if version not in pins()[name].specifier]


def pins() -> dict[str, Requirement]:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return {pin.name: pin for pin in map(Requirement, (line for line in lines if line[:1] not in ("#", "")))}


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
