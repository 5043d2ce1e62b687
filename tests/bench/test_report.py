"""docs/PERFORMANCE.md shows what was measured: its figures and its picture are those of the committed results."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from teastreams.bench.tasks import NAMES

ROOT = Path(__file__).resolve().parents[2]


def loaded() -> ModuleType:
    """The script, which stands in no package."""
    spec = importlib.util.spec_from_file_location("report", ROOT / "tests" / "benchmarks" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


report = loaded()
RESULTS: Any = json.loads(report.RESULTS.read_text("utf-8"))


def test_the_document_shows_the_results_that_are_kept() -> None:
    """Between the marks, to the last character; the picture, too."""
    document = report.DOCUMENT.read_text("utf-8")
    assert report.filled(document, report.measured_part(RESULTS)) == document
    assert report.PICTURE.read_text("utf-8") == report.as_svg(report.comparisons(RESULTS))


def test_the_results_are_whole() -> None:
    """Every comparison in its order, measured in several rounds on a machine that is described."""
    assert [each.name for each in report.comparisons(RESULTS)] == list(NAMES)
    assert RESULTS["rounds"] >= 3
    assert all(RESULTS["machine"][key] for key in ("kernel", "processor", "cores", "python", "date"))
    sides = [side for each in report.comparisons(RESULTS) for side in each.sides]
    assert {len(side.seconds) for side in sides if not side.absent} == {RESULTS["rounds"]}


def test_a_figure_that_changes_changes_the_document() -> None:
    """So a typed one would be noticed."""
    changed = json.loads(json.dumps(RESULTS))
    changed["comparisons"][0]["sides"][0]["seconds"] = [1.0] * RESULTS["rounds"]
    assert report.measured_part(changed) != report.measured_part(RESULTS)


def test_only_what_stands_between_the_marks_is_written() -> None:
    """What people wrote around it stays."""
    document = f"before\n{report.BEGIN}old{report.END}\nafter"
    assert report.filled(document, "new") == f"before\n{report.BEGIN}new{report.END}\nafter"


@pytest.mark.parametrize("document", ["", "{0}", "{1}", "{1}{0}", "{0}{0}{1}", "{0}{1}{1}", "{0}{1}{0}"])
def test_marks_that_are_no_pair_are_refused(document: str) -> None:
    """Nothing is written over by mistake."""
    with pytest.raises(ValueError, match="once each, in this order"):
        report.filled(document.format(report.BEGIN, report.END), "new")
