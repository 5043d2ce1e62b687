"""`--scenarios` counts every row, and cannot be satisfied by silence.

Each test runs pytest in a fresh interpreter over a small folder that holds a copy of the real conftest.py, once in one
process and once under xdist, where the tests run elsewhere than the account is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each of them starts pytest

CONFTEST = Path(__file__).with_name("conftest.py")

GOOD = """
import pytest

@pytest.mark.scenario("A-1")
def test_one(): pass

@pytest.mark.scenario("A-2", "A-3")
def test_two(): pass

def test_unmarked(): raise AssertionError("must not run")
"""


@pytest.fixture(params=["alone", "xdist"])
def workers(request: pytest.FixtureRequest) -> list[str]:
    return ["-p", "xdist", "-n", "1"] if request.param == "xdist" else []


def run(
    folder: Path, source: str, *options: str, ids: str = "A-1 A-2 A-3", accounts: str = ""
) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "scenarios.txt").write_text("\n".join(ids.split()) + "\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    (folder / "test_rows.py").write_text(source)
    # No other plugins: they are not under test, and loading them is most of the time of such a short run.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TEASTREAMS_SCENARIOS": accounts}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)


def account(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of the account, in the order in which they were printed."""
    return [line for line in done.stdout.splitlines() if line.startswith("A-")]


def test_all_rows_passed(tmp_path: Path, workers: list[str]) -> None:
    """One line per ID in the order of the list, exit status 0, and tests without a scenario do not run."""
    done = run(tmp_path, GOOD, "--scenarios", *workers)
    assert account(done) == ["A-1 passed", "A-2 passed", "A-3 passed"]
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].strip("= ").startswith("2 passed")


def test_a_row_without_a_test_is_missing(tmp_path: Path, workers: list[str]) -> None:
    """All tests are green, and still the session fails: one row has no test."""
    done = run(tmp_path, GOOD, "--scenarios", *workers, ids="A-1 A-2 A-3 A-4")
    assert account(done)[-1] == "A-4 missing"
    assert "2 passed" in done.stdout
    assert "failed" not in done.stdout.splitlines()[-1]
    assert done.returncode == 1


def test_one_failing_test_fails_its_row(tmp_path: Path, workers: list[str]) -> None:
    """A row with a passed and a failed test is failed; a row beside it is not touched."""
    source = GOOD + "\n@pytest.mark.scenario('A-2')\ndef test_bad(): assert 1 == 2\n"
    done = run(tmp_path, source, "--scenarios", *workers)
    assert account(done) == ["A-1 passed", "A-2 failed", "A-3 passed"]
    assert done.returncode == 1


def test_an_error_around_the_test_fails_its_row(tmp_path: Path, workers: list[str]) -> None:
    """A fixture that raises in set-up or tear-down counts like a failed test."""
    source = """
import pytest

@pytest.fixture
def broken_before(): raise OSError

@pytest.fixture
def broken_after():
    yield
    raise OSError

@pytest.mark.scenario("A-1")
def test_one(broken_before): pass

@pytest.mark.scenario("A-2")
def test_two(broken_after): pass
"""
    done = run(tmp_path, source, "--scenarios", *workers, ids="A-1 A-2")
    assert account(done) == ["A-1 failed", "A-2 failed"]
    assert done.returncode == 1


def test_a_skipped_row_is_missing(tmp_path: Path, workers: list[str]) -> None:
    """A test that was skipped, or is expected to fail and does, shows nothing."""
    source = """
import pytest

@pytest.mark.skip(reason="later")
@pytest.mark.scenario("A-1")
def test_one(): pass

@pytest.mark.xfail(reason="later")
@pytest.mark.scenario("A-2")
def test_two(): 1 / 0
"""
    done = run(tmp_path, source, "--scenarios", *workers, ids="A-1 A-2")
    assert account(done) == ["A-1 missing", "A-2 missing"]
    assert done.returncode == 1


def test_a_skipped_test_does_not_hide_a_passed_one(tmp_path: Path, workers: list[str]) -> None:
    """A row whose other test passed has passed."""
    source = GOOD + "\n@pytest.mark.skip(reason='elsewhere')\n@pytest.mark.scenario('A-1')\ndef test_more(): pass\n"
    done = run(tmp_path, source, "--scenarios", *workers)
    assert account(done) == ["A-1 passed", "A-2 passed", "A-3 passed"]
    assert done.returncode == 0


def test_a_killed_process_does_not_pass(tmp_path: Path) -> None:
    """When the process that ran the test dies, the row is not passed and the session fails."""
    source = "import os, pytest\n@pytest.mark.scenario('A-1')\ndef test_it(): os._exit(0)\n"
    done = run(tmp_path, source, "--scenarios", "-p", "xdist", "-n", "1", ids="A-1")
    assert account(done) in (["A-1 missing"], ["A-1 failed"])
    assert done.returncode != 0


def test_a_file_that_cannot_be_imported_leaves_its_rows_missing(tmp_path: Path, workers: list[str]) -> None:
    """An error of collection is no pass."""
    done = run(tmp_path, "import there_is_no_such_module\n", "--scenarios", *workers, ids="A-1")
    assert account(done) == ["A-1 missing"]
    assert done.returncode != 0


def test_an_unknown_scenario_fails_its_test(tmp_path: Path, workers: list[str]) -> None:
    """An ID that the list does not hold is refused by name, with the option and without."""
    for options in ([], ["--scenarios"]):
        done = run(tmp_path, GOOD, *options, *workers, ids="A-1 A-2")
        assert "lists no scenario A-3" in done.stdout
        assert done.returncode == 1


def test_without_the_option_everything_runs_and_nothing_is_counted(tmp_path: Path, workers: list[str]) -> None:
    """The marker alone changes no run."""
    done = run(tmp_path, GOOD, *workers, ids="A-1 A-2 A-3 A-4")
    assert account(done) == []
    assert "1 failed, 2 passed" in done.stdout


def test_a_run_of_everything_can_account_as_well(tmp_path: Path, workers: list[str]) -> None:
    """With the variable nothing is left out, and a row that is missing fails the session as with the option."""
    source = GOOD.replace('raise AssertionError("must not run")', "pass")
    done = run(tmp_path, source, *workers, accounts="all")
    assert account(done) == ["A-1 passed", "A-2 passed", "A-3 passed"]
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout

    done = run(tmp_path, source, *workers, ids="A-1 A-2 A-3 A-4", accounts="all")
    assert account(done)[-1] == "A-4 missing"
    assert (done.returncode, "3 passed" in done.stdout) == (1, True), done.stdout
