"""The measured parts of docs/PERFORMANCE.md, and its pictures, made from the results in docs/performance.

    python tests/benchmarks/report.py                            write them again from the results that are there
    python tests/benchmarks/report.py --measure                  measure everything first, and keep the results
    python tests/benchmarks/report.py --measure --only curves    measure this part alone

No figure in the document is typed: what stands between its marks is what `part_text` returns, and a test compares them.
A part that cannot be measured keeps its old results; the exit code says so. Variables such as PYTHONUNBUFFERED reach no
measurement. What is not installed is named in the results; `nox -s figures` installs it first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import chart
import curve

from teastreams.bench.drawing import as_svg
from teastreams.bench.figures import Comparison, from_dict
from teastreams.bench.table import as_markdown

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
DOCUMENT, RESULTS = DOCS / "PERFORMANCE.md", DOCS / "performance"
END = "<!-- end -->"
LONGEST_SECONDS = 240
PARTS: dict[str, tuple[str, ...]] = {
    "bench": ("-m", "teastreams", "bench", "--json", "--rounds", "5"),
    "curves": (str(HERE / "curves.py"), "--json", "--rounds", "7"),
    "alternatives": (str(HERE / "alternatives.py"), "--json"),
    "text": (str(HERE / "text.py"), "--json"),
    "start": (str(HERE / "start.py"), "--json", "--rounds", "11"),
}
"""Name -> what its results come from. Each stands in the document between marks of its own."""
TITLES = {
    "bench": "teastreams bench",
    "alternatives": "teastreams and its alternatives",
    "text": "lines and records",
    "start": "starting",
}

# -- results -> document ----------------------------------------------------------------------------------------------


def kept(part: str) -> Any:
    """What was measured last."""
    return json.loads((RESULTS / f"{part}.json").read_text("utf-8"))


def comparisons(results: Mapping[str, Any]) -> list[Comparison]:
    """What was compared, from JSON as `teastreams bench` prints it."""
    return [from_dict(each) for each in results["comparisons"]]


def machine_text(results: Mapping[str, Any]) -> str:
    """Where, when and how often; what was going on there."""
    machine = results["machine"]
    box = f" of {results['box_seconds']:g} s each" if "box_seconds" in results else ""
    return (
        f"Measured on {machine['date']}, {machine['kernel']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['python']}; the load when it began was {machine['load']:.2f}. Medians of {results['rounds']} "
        f"alternating rounds{box}."
    )


def part_text(part: str, results: Mapping[str, Any]) -> str:
    """What stands between the marks of a part: the machine, tables, pictures."""
    texts = [machine_text(results)]
    if part == "curves":
        for one in curve.curves_from(results):
            texts += [f"**{one.title}**", curve.as_markdown(one), f"![{one.title}](performance/{one.name}.svg)"]
            texts += [f"Not measured: {each}." for each in curve.absences(one)]
    else:
        texts += [as_markdown(comparisons(results)), f"![The same figures as bars](performance/{part}.svg)"]
    return "\n" + "\n\n".join([*texts, ""])


def pictures(part: str, results: Mapping[str, Any]) -> dict[str, str]:
    """Name of a file -> its text."""
    if part == "curves":
        return {f"{one.name}.svg": chart.as_svg(one) for one in curve.curves_from(results)}
    return {f"{part}.svg": as_svg(comparisons(results), TITLES[part])}


def begin(part: str) -> str:
    """The mark before a part."""
    return f"<!-- measured: {part} -->"


def filled(document: str, part: str, text: str) -> str:
    """The document with this between the marks of the part. ValueError when it has not exactly one pair of them."""
    head, mark, rest = document.partition(begin(part))
    old, end, tail = rest.partition(END)
    if not (mark and end) or begin(part) in tail or "<!-- measured" in old:
        raise ValueError(f"the document needs {begin(part)} and {END} behind it, once")
    return f"{head}{mark}{text}{END}{tail}"


def written(document: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The document with all parts that there are results of."""
    for part, found in results.items():
        document = filled(document, part, part_text(part, found))
    return document


# -- measuring --------------------------------------------------------------------------------------------------------


def lean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what changes an interpreter's ways: PYTHONUNBUFFERED makes each `print` a system call."""
    return {name: text for name, text in environment.items() if not name.startswith("PYTHON") or name == "PYTHONPATH"}


def measured(part: str, options: Sequence[str] = ()) -> Any:
    """The results of its program. SubprocessError or ValueError when it has none."""
    command = [sys.executable, *PARTS[part], *options]
    # A file and a group of its own: a process left behind by a library holds no pipe that is read here, and ends.
    with tempfile.TemporaryFile() as file:
        program = subprocess.Popen(command, stdout=file, env=lean(os.environ), start_new_session=True)
        try:
            code = program.wait(LONGEST_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        if code:
            raise subprocess.CalledProcessError(code, command)
        file.seek(0)
        return json.loads(file.read())


def measure(parts: Sequence[str]) -> Iterator[str]:
    """Keep the results of each; the names of those that had none."""
    for part in parts:
        started = time.monotonic()
        try:
            results = measured(part)
        except (subprocess.SubprocessError, ValueError) as error:
            print(f"{part}: its old results stay, there are no new ones: {error}", file=sys.stderr)
            yield part
        else:
            (RESULTS / f"{part}.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
            print(f"{part}: measured in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Measure if asked to, then write the document and the pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", action="store_true", help="measure first; takes about five minutes")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), default=[], help="measure this part alone")
    options = parser.parse_args()
    failed = list(measure(options.only or tuple(PARTS))) if options.measure else []
    results = {part: kept(part) for part in PARTS}
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8"), results), "utf-8")
    for name, text in (item for part in PARTS for item in pictures(part, results[part]).items()):
        (RESULTS / name).write_text(text, "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
