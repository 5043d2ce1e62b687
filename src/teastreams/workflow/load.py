"""A workflow file -> a checked `Graph`: reading, shape and relations in one step.

This is the only door for YAML. `validate` and `run` both come through it, so that one accepts exactly what the other
can run. Nothing of the file is executed. All problems come back together, in the order of the document.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Iterable, Optional, Union

from teastreams.core import rules
from teastreams.core.graph import Graph
from teastreams.errors import Position, Problem, WorkflowError
from teastreams.workflow.document import MAX_FILE_BYTES, read
from teastreams.workflow.schema import graph_of
from teastreams.workflow.values import MAX_PROBLEMS, Report
from teastreams.workflow.wording import quoted

MAX_SUBGRAPH_DEPTH = 16
MAX_SUBGRAPHS = 64


def load_bytes(data: bytes, file: str) -> tuple[Optional[Graph], tuple[Problem, ...]]:
    """Read and check the content of a workflow file; `file` is the name that messages and tracebacks carry.

    Returns the graph and no problems, or None and every problem found. Raises nothing.
    """
    return _Loading().load(data, file, ())


def load_text(text: str, file: str = "<string>") -> Graph:
    """The graph of a workflow given as text. Raises `WorkflowError` with every problem found."""
    # A lone surrogate cannot be encoded; passed on, it is refused as a byte that is not UTF-8, with its place.
    return _graph_or_raise(text.encode("utf-8", "surrogatepass"), file)


def load_file(path: Union[str, os.PathLike[str]]) -> Graph:
    """The graph of a workflow file. Raises `WorkflowError` with every problem found, also if it cannot be read."""
    file = os.fspath(path)
    try:
        data = _content(file)
    except (OSError, ValueError) as error:
        raise WorkflowError([Problem(_unreadable(file, error), "give the path of a readable YAML file")]) from error
    return _graph_or_raise(data, file)


class _Loading:
    """One document with the sub-workflows that it names: every file is read once, and none inside itself."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Optional[Graph], tuple[Problem, ...]]] = {}

    def load(self, data: bytes, file: str, trail: tuple[str, ...]) -> tuple[Optional[Graph], tuple[Problem, ...]]:
        """The checked graph of one document, and everything that is wrong in it and in what it names."""
        document = read(data, file)
        if document.root is None:
            return None, _in_order(document.problems)
        report = Report()
        inner: list[Problem] = []
        here = (*trail, os.path.realpath(file))
        report.subgraph = partial(self._subgraph, report, inner, here)
        graph, problems = graph_of(document.root, file, report)
        related = () if graph is None else rules.check(graph)
        found = (*_in_order((*document.problems, *problems, *related)), *dict.fromkeys(inner))
        return (None if found else graph), found

    def _subgraph(
        self, report: Report, inner: list[Problem], trail: tuple[str, ...], path: str, where: Position
    ) -> Optional[Graph]:
        """The graph of a file beside the document that names it; what is wrong inside it joins `inner`."""
        file = os.path.join(os.path.dirname(where.file), path)
        real = os.path.realpath(file)
        if real in trail or len(trail) > MAX_SUBGRAPH_DEPTH:
            circle = (
                " -> ".join(os.path.basename(each) for each in (*trail[trail.index(real) :], real))
                if real in trail
                else ""
            )
            reason = f"holds itself: {circle}" if circle else f"lies deeper than {MAX_SUBGRAPH_DEPTH} files"
            report.lacks(where, f"the sub-workflow {quoted(path)} {reason}", "write a loop with `type: while_loop`")
            return None
        if real not in self._known:
            if len(self._known) >= MAX_SUBGRAPHS:
                report.lacks(where, f"more than {MAX_SUBGRAPHS} files of sub-workflows", "split the workflow")
                return None
            try:
                if not os.path.isfile(file):
                    raise ValueError("it is no regular file")
                data = _content(file)
            except (OSError, ValueError) as error:
                report.lacks(where, _unreadable(file, error), "give the path of a YAML file, relative to this document")
                return None
            self._known[real] = self.load(data, file, trail)
        graph, problems = self._known[real]
        inner += problems
        report.incomplete = report.incomplete or graph is None
        return graph


def _content(file: str) -> bytes:
    with open(file, "rb") as source:
        # One byte more than allowed: enough to be refused, however long the file or pipe is.
        return source.read(MAX_FILE_BYTES + 1)


def _unreadable(file: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"the workflow file {quoted(file)} cannot be read: {reason}"


def _graph_or_raise(data: bytes, file: str) -> Graph:
    graph, problems = load_bytes(data, file)
    if graph is None:
        raise WorkflowError(problems)
    return graph


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems in the order of the document, those without a place first, none twice, a hundred at most."""
    found = tuple(sorted(dict.fromkeys(problems), key=_place))
    if len(found) <= MAX_PROBLEMS + 1:
        return found
    message = f"{len(found) - MAX_PROBLEMS} more problems are not listed"
    return (*found[:MAX_PROBLEMS], Problem(message, "correct those above first", found[MAX_PROBLEMS].where))


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)
