"""Which keys stand where: one table per kind of mapping.

A key is known, or it belongs to a later version of the dialect (then it is refused by name, with what to do today),
or it is a mistake. `validate` so accepts exactly what `run` can run. Only names are here; what they mean is in
`settings`, `nodes`, `edges` and `schema`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping


@dataclass(frozen=True)
class Place:
    """A kind of mapping: how messages call it, the keys it knows, and those of later versions with today's way."""

    name: str
    keys: tuple[str, ...]
    later: Mapping[str, str] = field(default_factory=dict)


_IN_RUN = "write it in the `run:` block"
_ON_EDGE = "write `when:` on the edge that leads here, or `goto:` on the node before"
_NO_MODEL = "call it from a `run:` block"

DOCUMENT = Place(
    "the top level",
    ("name", "description", "version", "settings", "variables", "state_schema", "nodes", "edges", "config"),
    {
        "initial_state": "give the state when the workflow is run, for example with `--input`",
        "imports": "write `import` inside the `run:` block",
        "limits": "use `timeout` on the node",
        "secrets": "read them inside the `run:` block",
        "extends": "write the whole workflow in one file",
        "include": "write the whole workflow in one file",
        "goto": "write it on a node",
        "tests": "keep tests in a file of their own",
        "data": "use `variables`",
    },
)

SETTINGS = Place(
    "settings",
    ("parallel",),
    {
        "llm": _NO_MODEL,
        "memory": _NO_MODEL,
        "ltm": _NO_MODEL,
        "rag": _NO_MODEL,
        "checkpoint": "name the checkpoint file when the workflow is run",
        "checkpointer": "name the checkpoint file when the workflow is run",
        "rate_limit": _IN_RUN,
        "rate_limiters": _IN_RUN,
        "secrets": "read them inside the `run:` block",
        "retry": "repeat inside the `run:` block",
    },
)

PARALLEL = Place(
    "settings.parallel",
    ("strategy", "max_workers", "timeout_seconds", "timeout", "fail_fast", "include_traceback", "streams"),
    {
        "retry": "repeat inside the `run:` block",
        "retry_policy": "repeat inside the `run:` block",
        "circuit_breaker": _IN_RUN,
        "remote": "use `strategy: process`",
    },
)

STREAMS_SETTINGS = Place(
    "settings.parallel.streams",
    (
        "enabled",
        "buffer_size",
        "buffer_limit",
        "overflow",
        "spill_limit",
        "timeout",
        "stall_timeout",
        "grace",
        "drain",
    ),
    {
        "record": "write the bytes to a file inside a node",
        "max_consumers": "the number of readers of one channel is fixed at 64",
    },
)

NODE = Place(
    "a node",
    (
        "name",
        "description",
        "run",
        "command",
        "env",
        "cwd",
        "ok_exit_codes",
        "streams",
        "timeout",
        "interrupt_before",
        "interrupt_after",
        "fan_in",
        "goto",
        "type",
        "condition",
        "max_iterations",
        "body",
        "items",
        "item_var",
        "index_var",
        "max_concurrency",
        "fail_fast",
        "strategy",
        "parallel_strategy",
        "steps",
        "subgraph",
        "input",
        "output",
    ),
    {
        "script": "rename it to `run`",
        "uses": _IN_RUN,
        "action": "write `run:` or `steps:`",
        "with": _IN_RUN,
        "when": _ON_EDGE,
        "if": _ON_EDGE,
        "while_loop": "write `type: while_loop`",
        "dynamic_parallel": "write `type: dynamic_parallel`",
        "retry": "repeat inside the `run:` block",
        "on_error": "catch the error inside the `run:` block",
        "fallback": "catch the error inside the `run:` block",
        "skip_if": _ON_EDGE,
        "cache": _IN_RUN,
        "language": "the `run:` block is Python",
        "limits": "use `timeout`",
        "replicas": "write one node per replica",
    },
)

STREAMS = Place(
    "`streams` of a node",
    ("stdin", "stdout", "stderr"),
    {"inputs": "a node has one input, `stdin`", "outputs": "a node has two outputs, `stdout` and `stderr`"},
)

STDIN = Place(
    "`stdin` of a node",
    ("from", "overflow", "buffer_limit", "spill_limit"),
    {
        "merge": "a node has one input channel",
        "deal": "every reader of a channel gets all of it",
        "replay": "run the whole section again",
    },
)

OUTPUT = Place(
    "`stdout` of a node",
    ("to",),
    {
        "record": _IN_RUN,
    },
)

FROM_FILE = Place("`from` of `stdin`", ("file",))

TO_FILE = Place("`to` of `stdout`", ("file", "append", "partial"))

EDGE = Place(
    "an edge",
    ("from", "to", "type", "when", "condition", "parallel", "parallel_strategy", "stream_mode", "fan_in"),
    {
        "if": "write `when:`",
        "goto": "write it on a node",
        "max_workers": "set `max_workers` in settings.parallel",
        "timeout": "use `timeout` on the node",
        "timeout_seconds": "set `timeout_seconds` in settings.parallel",
        "retry": "repeat inside the `run:` block",
        "fail_fast": "set `fail_fast` in settings.parallel",
        "on_error": "catch the error inside the `run:` block",
    },
)

CONDITION = Place("`condition` of an edge", ("type", "value"))

GOTO = Place("an entry of `goto`", ("if", "to"))

CONFIG = Place(
    "config",
    ("interrupt_before", "interrupt_after", "raise_exceptions"),
    {
        "checkpoint_dir": "name the checkpoint file when the workflow is run",
        "checkpoint": "name the checkpoint file when the workflow is run",
        "max_iterations": "write a loop inside the `run:` block",
    },
)

PLACES = (
    DOCUMENT,
    SETTINGS,
    PARALLEL,
    STREAMS_SETTINGS,
    NODE,
    STREAMS,
    STDIN,
    OUTPUT,
    FROM_FILE,
    TO_FILE,
    EDGE,
    CONDITION,
    GOTO,
    CONFIG,
)
