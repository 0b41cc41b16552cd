"""What is declared as supported is what the sessions, the workflow and tox test."""

import ast
import json
import re
import tomllib
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pinned import OURS, pins, strays

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]


def constants() -> dict[str, object]:
    """Return the constants of noxfile.py; it can not be imported where nox is not installed."""
    body = ast.parse((ROOT / "noxfile.py").read_text()).body
    return {
        ast.unparse(statement.targets[0]): ast.literal_eval(statement.value)
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


PYTHONS = list(constants()["PYTHONS"])
RESOLUTIONS = list(constants()["RESOLUTIONS"])


def test_the_workflow_runs_every_session():
    text = (ROOT / ".github/workflows/tests.yml").read_text()
    matrix = {name: json.loads(found) for name, found in re.findall(r"^ {8}(\w+): (\[.*\])$", text, re.M)}
    assert matrix == {"python": PYTHONS, "resolution": RESOLUTIONS}
    (session,) = re.findall(r'nox -s "(.*)"', text)
    assert session == "compat-${{ matrix.python }}(${{ matrix.resolution }})"


def test_tox_has_an_environment_for_every_session():
    text = (ROOT / "tox.ini").read_text()
    ((pythons, resolutions),) = re.findall(r"^env_list = py\{(.*?)\}-\{(.*?)\}", text, re.M)
    assert pythons.split(",") == [version.replace(".", "") for version in PYTHONS]
    assert resolutions.split(",") == RESOLUTIONS


def test_the_pythons_that_are_declared_are_those_that_are_tested():
    classified = [found[1] for line in PROJECT["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))]
    assert classified == PYTHONS
    oldest, minor = SpecifierSet(PROJECT["requires-python"]), int(PYTHONS[0].split(".")[1])
    assert PYTHONS[0] in oldest
    assert f"3.{minor - 1}" not in oldest


@pytest.mark.parametrize("line", DECLARED)
def test_every_range_has_a_lowest_version_and_admits_the_pinned_one(line: str) -> None:
    declared = Requirement(line)
    if declared.name == PROJECT["name"]:
        return
    assert [s.operator for s in declared.specifier].count(">=") == 1
    if declared.name in pins():
        (pin,) = pins()[declared.name].specifier
        assert pin.version in declared.specifier


def test_another_build_is_the_pinned_version_another_release_is_not():
    (pin,) = pins()["torch"].specifier
    assert strays({"torch": f"{pin.version}+cu130"}) == []
    assert strays({"torch": f"{pin.version}.1"}) == ["torch"]


@pytest.mark.parametrize(
    "module", ["bench.data.toy", "replications.flows.ode.solve", "conftest", "test_supported"]
)
def test_warnings_at_lines_of_ours_are_errors(module: str) -> None:
    with warnings.catch_warnings(), pytest.raises(DeprecationWarning):
        warn(module)


@pytest.mark.parametrize("module", ["torch.jit", "benchlib", "pyparsing.util"])
def test_warnings_at_lines_of_others_are_none(module: str) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warn(module)
    assert [str(warning.message) for warning in seen] == ["old"]


def warn(module: str) -> None:
    warnings.simplefilter("default")
    warnings.filterwarnings("error", module=OURS)
    warnings.warn_explicit("old", DeprecationWarning, "a.py", 1, module)
