"""The scenarios: a marker that names them, and `--scenarios`, which accounts for every one of them; the fault attempts.

With TEASTREAMS_SCENARIOS=all a run of everything accounts for them as well, and no test has to run twice for it.

`scenarios.txt` beside this file lists all IDs. A test says which rows it implements with
`@pytest.mark.scenario("001.3-INT-007")`; one test may carry several IDs, several tests may carry one. An ID that the
list does not know fails its test, so that a slip of the pen cannot hide a row. Results travel on the reports themselves
(`user_properties`), because under `-n` the tests run in other processes than the one which sums up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Iterable, Iterator

import pytest

SCENARIOS = Path(__file__).with_name("scenarios.txt")
PROPERTY = "scenario"

sys.path.insert(0, str(SCENARIOS.with_suffix("")))  # every test may `import harness`


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scenarios",
        action="store_true",
        help="run the tests that carry a scenario, print 'ID passed|failed|missing' for each, fail unless all passed",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control starts what it runs in the background with SIGINT ignored, and that is inherited: no
    # test of Ctrl-C could then pass. Each test that wants it ignored says so.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "scenario(*ids): the rows of scenarios.txt that this test implements")
    accounts = config.getoption("--scenarios") or os.environ.get("TEASTREAMS_SCENARIOS") == "all"
    if accounts and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ScenarioAccount(known_scenarios()), "scenario-account")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties += [(PROPERTY, scenario) for scenario in scenarios_of(item)]
    if config.getoption("--scenarios"):
        others = [item for item in items if item.get_closest_marker("scenario") is None]
        items[:] = [item for item in items if item.get_closest_marker("scenario") is not None]
        config.hook.pytest_deselected(items=others)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Not at collection: an error raised there inside an xdist process is reported as a crash without its text.
    unknown = set(scenarios_of(item)).difference(known_scenarios())
    if unknown:
        pytest.fail(f"{SCENARIOS.name} lists no scenario {', '.join(sorted(unknown))}", pytrace=False)


def known_scenarios() -> tuple[str, ...]:
    """The IDs of scenarios.txt, in its order."""
    return tuple(SCENARIOS.read_text(encoding="utf-8").split())


def scenarios_of(item: pytest.Item) -> Iterator[str]:
    """The IDs on all scenario marks of a test, its class and its module."""
    for marker in item.iter_markers("scenario"):
        yield from marker.args


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many attempts the sweeps and signals made, added up for each file: a number that nobody has to believe.

    Here and not beside them: with `-n` the process that sums up collects nothing, so it sees no conftest.py but this.
    """
    attempts = Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "attempts" and report.when == "call":
                    attempts[report.location[0]] += value
    if attempts:
        terminalreporter.section("attempts")
        for file, count in sorted(attempts.items()):
            terminalreporter.write_line(f"{file} {count}")


class ScenarioAccount:
    """Listens to all reports on the process that sums up, and turns "all green" into a failure if a row is not."""

    def __init__(self, known: Iterable[str]) -> None:
        self.outcomes: dict[str, set[str]] = {scenario: set() for scenario in known}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A set-up that passed says nothing yet; a set-up or a tear-down that failed says enough.
        if report.when == "call" or report.failed:
            for name, value in report.user_properties:
                if name == PROPERTY and value in self.outcomes:
                    self.outcomes[value].add(report.outcome)

    def verdict(self, scenario: str) -> str:
        outcomes = self.outcomes[scenario]
        if "failed" in outcomes:
            return "failed"
        return "passed" if "passed" in outcomes else "missing"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        unmet = [scenario for scenario in self.outcomes if self.verdict(scenario) != "passed"]
        if unmet and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("scenarios")
        for scenario in self.outcomes:
            terminalreporter.write_line(f"{scenario} {self.verdict(scenario)}")
