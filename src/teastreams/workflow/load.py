"""A workflow file -> a checked `Graph`: reading, shape and relations in one step.

This is the only door for YAML. `validate` and `run` both come through it, so that one accepts exactly what the other
can run. Nothing of the file is executed. All problems come back together, in the order of the document.
"""

from __future__ import annotations

import os
from typing import Iterable, Optional, Union

from teastreams.core import rules
from teastreams.core.graph import Graph
from teastreams.errors import Problem, WorkflowError
from teastreams.workflow.document import MAX_FILE_BYTES, read
from teastreams.workflow.schema import graph_of
from teastreams.workflow.values import MAX_PROBLEMS
from teastreams.workflow.wording import quoted


def load_bytes(data: bytes, file: str) -> tuple[Optional[Graph], tuple[Problem, ...]]:
    """Read and check the content of a workflow file; `file` is the name that messages and tracebacks carry.

    Returns the graph and no problems, or None and every problem found. Raises nothing.
    """
    document = read(data, file)
    if document.root is None:
        return None, _in_order(document.problems)
    graph, problems = graph_of(document.root, file)
    related = () if graph is None else rules.check(graph)
    found = _in_order((*document.problems, *problems, *related))
    return (None if found else graph), found


def load_text(text: str, file: str = "<string>") -> Graph:
    """The graph of a workflow given as text. Raises `WorkflowError` with every problem found."""
    # A lone surrogate cannot be encoded; passed on, it is refused as a byte that is not UTF-8, with its place.
    return _graph_or_raise(text.encode("utf-8", "surrogatepass"), file)


def load_file(path: Union[str, os.PathLike[str]]) -> Graph:
    """The graph of a workflow file. Raises `WorkflowError` with every problem found, also if it cannot be read."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as source:
            # One byte more than allowed: enough to be refused, however long the file or pipe is.
            data = source.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"the workflow file {quoted(file)} cannot be read: {reason}"
        raise WorkflowError([Problem(message, "give the path of a readable YAML file")]) from error
    return _graph_or_raise(data, file)


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
