"""One command a task: `nox -s tests`, `nox -s replicate`, `nox -s report`, ..."""

from __future__ import annotations

import nox

nox.options.sessions = ["tests", "lint", "typecheck"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"

TUTORIALS = ("lecture.*", "blog.*")


def install(session: nox.Session, extras: str = "") -> None:
    """Install the project, editable, at the tested versions."""
    target = f".[{extras}]" if extras else "."
    session.install("--quiet", "-c", "constraints.txt", "-e", target)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after `--` go to pytest."""
    install(session, "test")
    session.run("pytest", *session.posargs)


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
    """Run, then report. After `--`: patterns, --tier, --seeds...; without, the tutorials' experiments at `cpu`."""
    install(session)
    arguments = session.posargs or [*TUTORIALS, "--offline", "--jobs", "2"]
    session.run("cnf-bench", "run", *arguments, success_codes=[0, 1])
    session.run("cnf-bench", "report", "results", "--out", "results/report")


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
    session.run("asv", "run", "--python=same", "--quick", "--show-stderr", *session.posargs)
