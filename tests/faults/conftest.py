"""Says at the end of a test run how many attempts the sweeps and signals made: a number that nobody has to believe.

A test that makes attempts records how many (`record_property("attempts", n)`); they are added up for each file.
It decides nothing about a test.
"""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
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
