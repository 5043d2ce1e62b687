"""The measured part of docs/PERFORMANCE.md, and its picture, made from docs/performance/results.json.

    python tests/benchmarks/report.py               write both again from the results that are there
    python tests/benchmarks/report.py --measure     measure first (`teastreams bench`), and keep the results

No figure in the document is typed: what stands between the marks is what `measured_part` returns, and a test compares
them. Options after `--measure` go to `teastreams bench`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from teastreams.bench.drawing import as_svg
from teastreams.bench.figures import Comparison, from_dict
from teastreams.bench.table import as_markdown

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = DOCS / "PERFORMANCE.md"
RESULTS = DOCS / "performance" / "results.json"
PICTURE = DOCS / "performance" / "bench.svg"
BEGIN, END = "<!-- measured -->", "<!-- end -->"


def comparisons(results: dict[str, Any]) -> list[Comparison]:
    """What was compared, from the JSON of `teastreams bench`."""
    return [from_dict(each) for each in results["comparisons"]]


def measured_part(results: dict[str, Any]) -> str:
    """What stands between the marks: the machine, the table, the picture."""
    machine = results["machine"]
    where = (
        f"Measured on {machine['date']}, {machine['kernel']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['python']}; the load when it began was {machine['load']:.2f}. Medians of {results['rounds']} "
        "alternating rounds; in the last column the lowest and the highest round stand in parentheses."
    )
    picture = f"![The same figures as bars]({PICTURE.relative_to(DOCS).as_posix()})"
    return f"\n{where}\n\n{as_markdown(comparisons(results))}\n\n{picture}\n\n"


def filled(document: str, part: str) -> str:
    """The document with this between its marks. ValueError when it has not exactly one pair of them."""
    head, begin, rest = document.partition(BEGIN)
    old, end, tail = rest.partition(END)
    if not (begin and end) or BEGIN in old + tail or END in head + tail:
        raise ValueError(f"the document needs {BEGIN} and {END} once each, in this order")
    return f"{head}{BEGIN}{part}{END}{tail}"


def main() -> None:
    """Measure if asked to, then write the document and the picture."""
    if sys.argv[1:2] == ["--measure"]:
        command = [sys.executable, "-m", "teastreams", "bench", "--json", *sys.argv[2:]]
        text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
        RESULTS.write_text(text, "utf-8")
    results = json.loads(RESULTS.read_text("utf-8"))
    DOCUMENT.write_text(filled(DOCUMENT.read_text("utf-8"), measured_part(results)), "utf-8")
    PICTURE.write_text(as_svg(comparisons(results)), "utf-8")


if __name__ == "__main__":
    main()
