"""`python tests/fuzz/documents.py N [SEED]`: N mutants of our documents, each read, judged and, if accepted, compiled.

What holds for every one of them: an answer within seconds, either a workflow or problems, each with a place inside
the document, a text in printable characters and what to write instead; no exception of any other kind, and nothing of
the document executed. What was accepted compiles, and can be drawn. The mutant of a
number is the same in every run with that seed, so that `SEED:NUMBER` is all that is needed to see a failure again.
`-- FILE ...` judges documents as they are.
"""

from __future__ import annotations

import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from mutations import minimal, mutant
from watching import Watch

import teastreams as ts
from teastreams.errors import Problem, WorkflowError
from teastreams.workflow.load import load_bytes

HOME = Path(__file__).resolve().parents[2]
MOST_SECONDS = 10
MOST_CHARACTERS = 2000
MEMORY_BYTES = 3 * 1024**3
DRAWN_EVERY = 5


class Hang(BaseException):
    """One document took longer than it may."""


def corpus() -> list[bytes]:
    """The documents that are mutated: the golden cases, the examples, and what stands in the documentation."""
    files = sorted((HOME / "tests/workflow/cases").rglob("*.yaml")) + sorted((HOME / "examples/yaml").glob("*.yaml"))
    found = [file.read_bytes() for file in files]
    for page in sorted((HOME / "docs").glob("*.md")):
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        found += [block.encode() for block in blocks]
    return found


def number(seed: int, index: int, documents: list[bytes], canary: str) -> bytes:
    """The mutant `index` of a seed."""
    rng = random.Random(f"{seed}:{index}")
    return mutant(rng.choice(documents), rng).replace(b"CANARY", canary.encode())


def complaint(data: bytes, file: str, draw: bool = True) -> tuple[str, str]:
    """What became of a document ("refused", "accepted"), and what is wrong with that; "" if nothing is."""
    try:
        graph, problems = load_bytes(data, file)
        if graph is None:
            return "refused", _about(problems, data, file) or ("" if problems else "refused without a problem")
        declared = ts.StateGraph.from_graph(graph)
        problems = declared.problems()
        if problems:
            return "refused", _about(problems, data, file)
        return "accepted", _compiled(declared, draw)
    except Hang:
        return "hung", f"took more than {MOST_SECONDS} seconds"
    except BaseException as error:
        return "raised", f"{type(error).__name__}: {error}"[:500] + _place(error)


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


def _compiled(declared: Any, draw: bool) -> str:
    """Everything that needs no more than the document; what it imports is its author's program."""
    if draw:
        for form in ("text", "mermaid", "dot"):
            if any(not (each.isprintable() or each == "\n") for each in declared.draw(form)):
                return f"the {form} drawing has characters that a terminal would obey"
    if declared.graph.imports or any("uses" in node.positions for node in declared.graph.nodes):
        return ""
    try:
        declared.compile()
    except WorkflowError as error:
        return f"validate accepts it, compile does not: {error}"[:500]
    return ""


def _about(problems: tuple[Problem, ...], data: bytes, file: str) -> str:
    lines = re.split("\r\n|\r|\n", data.decode("utf-8", "replace"))
    found = (_wrong(problem, lines, file) for problem in problems)
    return next((f"{each}: {problem!r}"[:800] for each, problem in zip(found, problems) if each), "")


def _wrong(problem: Problem, lines: list[str], file: str) -> str:
    where = problem.where
    if where is None:
        return "a problem without a place"
    if where.file == file and not (
        1 <= where.line <= len(lines) and 1 <= where.column <= len(lines[where.line - 1]) + 1
    ):
        return f"a place outside of the document ({len(lines)} lines)"
    if not problem.message or not problem.fix:
        return "a problem that does not say what to write"
    if not (problem.message + problem.fix.replace("\n", " ")).isprintable():
        return "a problem with characters that a terminal would obey"
    return "" if len(str(problem)) <= MOST_CHARACTERS + len(file) else "a problem that floods the terminal"


@contextmanager
def limited() -> Iterator[None]:
    """No document may take long."""

    def ring(_number: int, _frame: Any) -> None:
        raise Hang

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class Judge:
    """Documents in, complaints out; counts both."""

    def __init__(self, folder: Path) -> None:
        self.canary = folder / "canary"
        self.file = str(folder / "mutant.yaml")
        self.counts: Counter[str] = Counter()
        self.slowest, self.slowest_at = 0.0, 0
        self._watch = Watch()

    @property
    def judged(self) -> int:
        """How many documents so far."""
        return sum(self.counts.values())

    def judge(self, data: bytes, draw: bool = True) -> str:
        """What is wrong with how a document is treated; "" if nothing is."""
        begun = time.monotonic()
        self._watch.acts.clear()
        with limited(), self._watch.armed():
            outcome, wrong = complaint(data, self.file, draw)
        self.slowest, self.slowest_at = max((self.slowest, self.slowest_at), (time.monotonic() - begun, self.judged))
        self.counts[outcome] += 1
        if self._watch.acts:
            return f"it acted: {self._watch.acts[0]}"
        return "it left a file" if self.canary.exists() else wrong


def main(count: int, seed: int, most_failures: int = 20) -> int:
    """Judge `count` mutants; print the failures, made small, and the counts. The exit code is 1 if there is any."""
    sys.dont_write_bytecode = True
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    documents = corpus()
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        for document in documents:  # everything that is imported late is there before somebody watches
            complaint(document, judge.file)
        failures: dict[str, str] = {}
        for index in range(count):
            data = number(seed, index, documents, str(judge.canary))
            wrong = judge.judge(data, index % DRAWN_EVERY == 0)
            kind = re.sub(r"[0-9]+|'[^']*'", "#", wrong)[:60]
            if wrong and kind not in failures:
                failures[kind] = _told(seed, index, data, wrong, judge)
                sys.stdout.write(failures[kind])
                sys.stdout.flush()
            if len(failures) >= most_failures:
                break
        counts = ", ".join(f"{name} {total}" for name, total in sorted(judge.counts.items()))
        sys.stdout.write(
            f"seed {seed}: {index + 1} mutants, {counts}, slowest {judge.slowest:.2f} s (about {judge.slowest_at})\n"
        )
    return 1 if failures else 0


def _told(seed: int, index: int, data: bytes, wrong: str, judge: Judge) -> str:
    """One failure, with the smallest document that has one like it."""
    kind = wrong[:20]
    small = minimal(data, lambda less: judge.judge(less).startswith(kind)) if "hang" not in wrong else data
    return f"--- {seed}:{index}: {wrong}\n{small[:3000]!r}\n"


def again(files: list[str]) -> int:
    """Judge documents as they are."""
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        for document in corpus():
            complaint(document, judge.file)
        found = {file: judge.judge(Path(file).read_bytes()) for file in files}
    sys.stdout.writelines(f"{file}: {wrong}\n" for file, wrong in found.items() if wrong)
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--"]:
        sys.exit(again(sys.argv[2:]))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    sys.exit(main(count, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
