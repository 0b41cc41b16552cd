"""One command a task: `nox -s tests`, `nox -s replicate`, `nox -s report`, ..."""

from __future__ import annotations

import json

import nox

nox.options.sessions = ["tests", "lint", "typecheck"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {
    "lowest": ("--resolution", "lowest-direct"),
    "pinned": ("--constraint", "constraints.txt"),
    "newest": ("--resolution", "highest"),
}
PYTEST = ("pytest", "--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")
FLAGS = ("--force", "--offline")
SOME_RUNS_FAILED = 3


def install(session: nox.Session, extras: str = "") -> None:
    """Install the project, editable, at the tested versions."""
    target = f".[{extras}]" if extras else "."
    session.install("--quiet", "-c", "constraints.txt", "-e", target)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, a process for each of up to four processors; arguments after `--` go to pytest."""
    install(session, "test")
    session.run(*PYTEST, *session.posargs)


@nox.session(python=PYTHONS, venv_backend="uv", reuse_venv=False)
@nox.parametrize("resolution", [nox.param(name, id=name) for name in RESOLUTIONS])
def compat(session: nox.Session, resolution: str) -> None:
    """Run the tests at the lowest declared, the pinned or the newest versions; UV_TORCH_BACKEND=cpu spares CUDA's.

    The lowest on a newer Python are the lowest that have wheels for it. A Python that is missing is skipped.
    """
    session.install("--quiet", "--only-binary", ":all:", *RESOLUTIONS[resolution], "-e", ".[test]")
    session.run(*PYTEST, *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change formulas one at a time and count how many the tests notice; arguments after `--`: --all, --target..."""
    install(session, "test")
    session.run("python", "tests/mutation", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Attack the command and the library as a hostile or unlucky user would; `-- --rounds 200` kills more often."""
    install(session, "test")
    session.run("python", "tests/faults", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hand damaged inputs to every parser; `-- --count 20000` takes more of them."""
    install(session, "test,tabular")
    session.run("python", "tests/fuzz", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style, and that docstrings and signatures agree."""
    session.install("--quiet", "-c", "constraints.txt", "ruff")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check the type annotations."""
    install(session, "lint")
    session.run("mypy")


@nox.session
def replicate(session: nox.Session) -> None:
    """Run, then report. After `--`: patterns, --tier, --seeds, --out...; no pattern: the tutorials' experiments."""
    install(session)
    options = list(session.posargs)
    values = {i + 1 for i, word in enumerate(options) if word.startswith("--") and word not in FLAGS}
    patterns = [word for i, word in enumerate(options) if not word.startswith("--") and i not in values]
    if not options:
        options = ["--jobs", "2", "--seeds", "3"]
    if not patterns:
        options += [*tutorials(session), "--offline"]
    session.run("cnf-bench", "run", *options, success_codes=[0, SOME_RUNS_FAILED])
    out = options[options.index("--out") + 1] if "--out" in options else "results"
    session.run("cnf-bench", "report", out, "--out", f"{out}/report")


def tutorials(session: nox.Session) -> list[str]:
    """Return the tutorials' documented experiments, on MNIST where it is found, else on scikit-learn's digits."""
    listed = session.run("cnf-bench", "data", "list", "--json", silent=True)
    state = {row["name"]: row["state"] for row in json.loads(str(listed))}
    mnist = state["mnist"] == "found"
    images = ["lecture.mnist/mnist", "blog.adjoint_memory/[abc]*"]
    digits = ["lecture.mnist/digits", "blog.adjoint_memory/digits_*"]
    flow = "blog.crescent/rademacher"
    return ["lecture.solvers", "blog.spiral", "blog.theory", flow, *(images if mnist else digits)]


@nox.session
def report(session: nox.Session) -> None:
    """Rebuild every table and figure under reports/ from the committed records; trains nothing."""
    install(session)
    session.run("cnf-bench", "report", "reports", "--out", "reports", *session.posargs)


@nox.session
def verify(session: nox.Session) -> None:
    """Check that reports/ is what its records give, and that cheap records repeat on this machine."""
    install(session)
    session.run("python", "-m", "bench.verify", *session.posargs)


@nox.session
def asv(session: nox.Session) -> None:
    """Run the benchmarks in this environment; arguments after `--` go to `asv run`."""
    install(session, "asv")
    session.run("asv", "machine", "--yes")
    head = str(session.run("git", "rev-parse", "HEAD", external=True, silent=True)).strip()
    saved = ["--python=same", f"--set-commit-hash={head}"]
    session.run("asv", "run", *saved, "--quick", "--show-stderr", *session.posargs)
