"""One session per question, the same ones as in tox.ini.

`nox` asks them all but `figures`, `nox -s typing` one, `nox -s tests-3.9 -- -k frames` one of them about a part.
Interpreters that are not installed are passed over.
"""

from __future__ import annotations

import os
import time
from typing import Optional

import nox
import nox.command

PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]

nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True


def pytest(session: nox.Session, *options: str, env: Optional[dict[str, str]] = None) -> None:
    session.install("-e", ".[test]")
    session.run("python", *options, "-m", "pytest", "-n", "auto", *session.posargs, env=env)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Does it work on this Python?"""
    pytest(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Is it tidy?"""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Do the types hold?"""
    session.install("-e", ".[dev]")
    session.run("mypy", "--strict", "src")


@nox.session
def portable(session: nox.Session) -> None:
    """Does it work without the Linux extras?"""
    pytest(session, env={"TEASTREAMS_PORTABLE": "1"})


@nox.session
def smallpipes(session: nox.Session) -> None:
    """Does it work when every pipe holds one page?"""
    pytest(session, env={"TEASTREAMS_PIPE_SIZE": "4096"})


@nox.session
def warnings(session: nox.Session) -> None:
    """Does it work where every warning is an error, in the interpreter's development mode?"""
    pytest(session, "-X", "dev", "-W", "error", env={"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"})


@nox.session
def nightly(session: nox.Session) -> None:
    """Does anything break it? Every sweep, every evil node in every place, every kind of host (docs/testing.md)."""
    session.install("-e", ".[test]")
    folders = ["tests/faults", "tests/fuzz", "tests/security", "tests/core"]
    session.run("python", "-m", "pytest", "-n", "auto", *folders, *session.posargs, env={"TEASTREAMS_FAULTS": "all"})
    # Other seeds each day, 2.5 million schedules in all; a seed that fails is printed with its story.
    first = str(int(time.time()) // 86_400 * 1_000_000)
    session.run("python", "tests/core/section_schedules.py", "500000", first)
    session.run("python", "tests/core/fanout/simulate.py", "1000000", first)


@nox.session
def soak(session: nox.Session) -> None:
    """Does it hold for long? `nox -s soak -- SECONDS [SEED]`, or `nox -s soak -- --replay SEED`."""
    session.install("-e", ".[test]")
    session.run("python", "tests/soak/soak.py", *(session.posargs or ["60"]))


@nox.session
def benchmarks(session: nox.Session) -> None:
    """What do streams cost beside what one would use instead? Asserts nothing: a wall clock is no fact."""
    install_alternatives(session)
    session.run("python", "tests/benchmarks/alternatives.py", *session.posargs, env={"PYTHONUNBUFFERED": None})


@nox.session(default=False)  # it writes into the tree
def figures(session: nox.Session) -> None:
    """What does docs/PERFORMANCE.md say of this machine? Measures everything in it and writes it anew."""
    install_alternatives(session)
    session.run("python", "tests/benchmarks/report.py", "--measure", *session.posargs)


def install_alternatives(session: nox.Session) -> None:
    """Ours, and the libraries that it is compared with, as far as they can be had."""
    session.install("-e", ".")
    for library in ("joblib", "mpipe", "pypeln"):
        # What pypeln needs imports pkg_resources, which setuptools has until 80.
        needed = [library, "setuptools<81"] if library == "pypeln" else [library]
        try:
            session.install(*needed)
        except nox.command.CommandFailed:
            session.warn(f"{library} is left out: it could not be installed")


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines does no test run?"""
    here = os.path.dirname(os.path.abspath(__file__))
    data = {"COVERAGE_FILE": os.path.join(session.create_tmp(), "coverage")}
    measured = {
        "COVERAGE_PROCESS_START": os.path.join(here, "pyproject.toml"),
        "PYTHONPATH": os.path.join(here, "tests", "coverage_site"),
    }
    session.install("-e", ".[dev]")
    pytest(session, env={**data, **measured})
    session.run("coverage", "combine", env=data)
    session.run("coverage", "report", "--include=*/teastreams/core/*", "--fail-under=100", env=data)
    session.run("coverage", "report", "--include=*/teastreams/runtime/*", "--fail-under=95", env=data)
