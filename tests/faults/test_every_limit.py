"""Every limit of the library has a name, a default and a message: one less is taken, all of it is, one more is refused.

A row says how to make a thing of size n and how its refusal reads. The limits of the machine are in
`test_small_machines`, those that cut (texts of errors, lines of a log) with the code that cuts.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

import teastreams as ts
from teastreams.checkpoint import records, values
from teastreams.core.frames import FrameError, FrameReader, Kind, header
from teastreams.core.graph import DEFAULT_RESULT_BYTES, MAX_CONSUMERS, MAX_NODES
from teastreams.core.language.actions import Import
from teastreams.engine import actions
from teastreams.runtime import preflight
from teastreams.runtime.fds import ledger
from teastreams.runtime.node.pickles import Unsendable, dump_update
from teastreams.runtime.node.tracked import TrackedState
from teastreams.runtime.supervision.child import FRAME_LIMIT
from teastreams.services import secrets
from teastreams.workflow import document, schema
from teastreams.workflow import values as values_reader
from teastreams.workflow.readers import settings as settings_reader

REFUSALS = (ts.WorkflowError, ts.LimitError, ts.CheckpointError, FrameError, Unsendable, secrets.SecretError)


@dataclass(frozen=True)
class Limit:
    """`make(n)` raises when n is too much; `default` is what the limit is where nobody says anything."""

    name: str
    default: int
    tried: int
    make: Callable[[int], Any]
    says: str


def loaded(text: str) -> Any:
    return ts.YAMLEngine().load_from_string(text, "w.yaml")


VALUES = 24  # of the rest of the document
DOCUMENT = "nodes:\n  - {name: a, run: pass}\nedges: [{from: __start__, to: a}, {from: a, to: __end__}]\n"


def nodes(count: int) -> Any:
    graph = ts.StateGraph()
    for number in range(count):
        graph.add_node(f"n{number}", lambda state: None)
        if number:
            graph.add_edge(f"n{number - 1}", f"n{number}")
    return graph.set_entry_point("n0").set_finish_point(f"n{count - 1}").compile()


def readers(count: int) -> Any:
    graph = ts.StateGraph()
    graph.add_node("p", lambda state: None, streams={"stdout": "x"})
    names = [f"c{number}" for number in range(count)]
    for name in names:
        graph.add_node(name, lambda state: None, streams={"stdin": "x"})
    return graph.add_parallel_edge("p", names, stream_mode="broadcast").set_entry_point("p").compile()


def edges(count: int) -> Any:
    """So many edges; that they lead from and to the same nodes is another matter, and said as well."""
    text = "nodes:\n  - {name: a, run: pass}\nedges:\n" + "  - {from: __start__, to: a}\n" * count
    try:
        return loaded(text)
    except ts.WorkflowError as refused:
        if "at most" in str(refused):
            raise
        return None


def result(size: int) -> Any:
    """An update of so many bytes on its way, against a limit of a million."""
    around = dump_update({"k": bytes(900_000)}, TrackedState({}), 1 << 30).size_bytes - 900_000
    return dump_update({"k": bytes(size - around)}, TrackedState({}), 1_000_000)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels - 1):  # the state is a level itself
        value = [value]
    return values.tree_of({"k": value})


def secret(size: int) -> Any:
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(size))
        file.flush()
        return secrets._read(Path(file.name))


def module(size: int) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".py") as file:
        file.write(b"#" * size)
        file.flush()
        return actions._imported(Import(path=file.name, namespace="my"), "")


def runs_inside(count: int) -> Any:
    """The last of so many runs, each inside of the one before."""
    before, ledger.depth = ledger.depth, count - 1
    try:
        return preflight._look_at_depth()
    finally:
        ledger.depth = before


LIMITS = [
    Limit("result_limit", DEFAULT_RESULT_BYTES, 1_000_000, result, "the limit is 1000000"),
    Limit(
        "a message of a worker",
        1 << 20,
        FRAME_LIMIT,
        lambda n: list(FrameReader({}, FRAME_LIMIT).feed(header(Kind.EVENT, n))),
        "over its limit of 1048576 bytes",
    ),
    Limit(
        "the bytes of a document",
        1 << 20,
        document.MAX_FILE_BYTES,
        lambda n: loaded(DOCUMENT + "#" + "x" * (n - len(DOCUMENT) - 1)),
        "1048576",
    ),
    Limit(
        "the bytes of a scalar",
        256 << 10,
        document.MAX_SCALAR_BYTES,
        lambda n: loaded(DOCUMENT + f"name: {'x' * n}"),
        "262144",
    ),
    Limit("the edges of a document", 1024, schema.MAX_EDGES, edges, "at most 1024 are possible"),
    Limit("the nodes of a workflow", 512, MAX_NODES, nodes, "at most 512 are possible"),
    Limit("the readers of a channel", 256, MAX_CONSUMERS, readers, "256"),
    Limit("runs inside of each other", 10, preflight.MAX_DEPTH, runs_inside, "too deep inside of others"),
    Limit("the depth of a checkpoint's value", 100, values.MAX_DEPTH, deep, "100"),
    Limit(
        "the bits of a checkpoint's integer",
        4096,
        values.MAX_INT_BITS,
        lambda n: values.tree_of({"k": 1 << (n - 1)}),
        "at most 4096",
    ),
    Limit(
        "the characters of a name in a checkpoint",
        1 << 20,
        records.MAX_NAME_CHARACTERS,
        lambda n: records.rows_of(ts.Checkpoint("x" * n, 1, "a", "after", "hash", {})),
        "at most 1048576",
    ),
    Limit("the bytes of a Python file", 16 << 20, actions.MAX_MODULE_BYTES, module, "at most 16777216 are read"),
    Limit(
        "the depth of a document",
        50,
        document.MAX_DEPTH,
        lambda n: loaded(DOCUMENT + f"variables: {{k: {'[' * (n - 2)}{']' * (n - 2)}}}"),
        "more than 50 deep",
    ),
    Limit(
        "the values of a document",
        30_000,
        document.MAX_NODES,
        lambda n: loaded(DOCUMENT + f"variables: {{k: [{'1,' * (n - VALUES)}]}}"),
        "more than 30000 values",
    ),
    Limit(
        "the bytes of a file of secrets",
        1 << 20,
        secrets.MAX_FILE_BYTES,
        secret,
        "more than 1048576 bytes",
    ),
    Limit(
        "seconds",
        366 * 24 * 3600,
        values_reader.MAX_SECONDS,
        lambda n: loaded(DOCUMENT + f"settings: {{parallel: {{streams: {{enabled: true, timeout: {n}}}}}}}"),
        "up to 31622400",
    ),
    Limit(
        "counts",
        1_000_000,
        values_reader.MAX_COUNT,
        lambda n: loaded(DOCUMENT + f"settings: {{parallel: {{max_workers: {n}}}}}"),
        "to 1000000",
    ),
    Limit(
        "the size of a pipe",
        1 << 30,
        settings_reader.MAX_PIPE_BYTES,
        lambda n: loaded(DOCUMENT + f"settings: {{parallel: {{streams: {{enabled: true, buffer_size: {n}}}}}}}"),
        "buffer_size",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
class TestLimit:
    def test_has_the_default_that_is_documented(self, limit: Limit) -> None:
        assert limit.default == (DEFAULT_RESULT_BYTES if limit.name == "result_limit" else limit.tried)

    def test_takes_one_less_and_all_of_it(self, limit: Limit) -> None:
        limit.make(limit.tried - 1)
        limit.make(limit.tried)

    def test_refuses_one_more_and_says_so(self, limit: Limit) -> None:
        with pytest.raises(REFUSALS) as refused:
            limit.make(limit.tried + 1)
        assert limit.says in str(refused.value)
