"""Which keys stand where: one table per kind of mapping.

A key is known, or it belongs to a later version of the dialect (then it is refused by name, with what to do today),
or it is a mistake. `validate` so accepts exactly what `run` can run. Only names are here; what they mean is in
`settings`, `nodes`, `edges` and `schema`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Mapping

from teastreams.values import dataclass


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
    (
        "name",
        "description",
        "version",
        "settings",
        "variables",
        "initial_state",
        "imports",
        "state_schema",
        "nodes",
        "edges",
        "config",
    ),
    {
        "limits": "use `timeout` on the node",
        "secrets": "write it under `settings`",
        "extends": "write the whole workflow in one file",
        "include": "write the whole workflow in one file",
        "goto": "write it on a node",
        "tests": "keep tests in a file of their own",
        "data": "use `variables`",
    },
)

# Its mapping has keys of the user's own, so it is no kind of mapping of the schema for editors.
STATE_KEY = Place("a key of `state_schema`", ("type", "reducer", "description"))

STATE_SETTINGS = Place("settings.state", ("enforce",))

SETTINGS = Place(
    "settings",
    ("parallel", "state", "rate_limiters", "ltm", "secrets"),
    {
        "llm": _NO_MODEL,
        "memory": _NO_MODEL,
        "rag": _NO_MODEL,
        "checkpoint": "name the checkpoint file when the workflow is run",
        "checkpointer": "name the checkpoint file when the workflow is run",
        "rate_limit": "write `rate_limiters`, with a name for each",
        "retry": "write it under settings.parallel for branches, or on a node",
        "error_handling": "write `on_error` on the nodes that it is for",
    },
)

PARALLEL = Place(
    "settings.parallel",
    (
        "strategy",
        "max_workers",
        "timeout_seconds",
        "timeout",
        "fail_fast",
        "include_traceback",
        "retry",
        "retry_policy",
        "circuit_breaker",
        "result_limit",
        "streams",
    ),
    {
        "remote": "use `strategy: process`",
    },
)

_RETRY = ("max_retries", "base_delay", "max_delay", "backoff_multiplier", "jitter", "retry_on")
_CLASSES = {"retryable_errors": "name the classes of exceptions in `retry_on`"}

RETRY = Place("`retry`", _RETRY, {"retry_delay": "write `base_delay`", **_CLASSES})

ON_ERROR = Place(
    "`on_error`",
    ("mode", "fallback", *_RETRY, "retry_delay"),
    {
        "capture_traceback": "leave it out: the figures of the run hold the traceback of every failed node",
        "clear_on_success": "remove the key yourself: `state.pop('__error__', None)`",
        **_CLASSES,
    },
)

RATE_LIMITER = Place("a rate limiter", ("rpm", "rps", "burst"), {"strategy": "leave it out, or write `burst`"})

CIRCUIT_BREAKER = Place("`circuit_breaker`", ("failure_threshold", "reset_timeout", "half_open_max_calls", "name"))

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
        "uses",
        "with",
        "retry",
        "on_error",
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
        "action": "write `run:` or `steps:`",
        "when": _ON_EDGE,
        "if": _ON_EDGE,
        "while_loop": "write `type: while_loop`",
        "dynamic_parallel": "write `type: dynamic_parallel`",
        "fallback": "write `on_error: {fallback: some_node}`",
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
    (
        "from",
        "to",
        "type",
        "when",
        "condition",
        "parallel",
        "parallel_strategy",
        "stream_mode",
        "fan_in",
        "max_workers",
        "timeout_seconds",
        "fail_fast",
        "retry",
        "on_error",
    ),
    {
        "if": "write `when:`",
        "goto": "write it on a node",
        "timeout": "write `timeout_seconds`",
    },
)

_PROVIDER = "install a provider of secrets, and name it: `provider: ...`"

SECRETS = Place(
    "settings.secrets",
    ("env", "files", "provider", "backend"),
    dict.fromkeys(("aws", "azure", "gcp", "vault"), _PROVIDER),
)

SECRETS_ENV = Place("settings.secrets.env", ("names", "prefix"))

LTM = Place("settings.ltm", ("path", "db_path", "backend"))

CONDITION = Place("`condition` of an edge", ("type", "value"))

GOTO = Place("an entry of `goto`", ("if", "to"))

IMPORT = Place("an entry of `imports`", ("path", "package", "namespace"))

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
    STATE_SETTINGS,
    PARALLEL,
    RETRY,
    ON_ERROR,
    CIRCUIT_BREAKER,
    RATE_LIMITER,
    LTM,
    SECRETS,
    SECRETS_ENV,
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
    IMPORT,
    CONFIG,
)
