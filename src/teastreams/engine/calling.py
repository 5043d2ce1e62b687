"""Call a node's function with what it names.

A function names what it wants among state, parallel_results, node, context and variables; a first parameter of any
other name gets the state. What a function asks for and nobody can give is a mistake found at compile time (L9).
"""

from __future__ import annotations

import inspect
from dataclasses import field, replace
from functools import partial
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence, Union

from teastreams.core.framing import DEFAULT_LIMIT_BYTES
from teastreams.core.limits import RateLimit
from teastreams.core.merge import ParallelResults
from teastreams.errors import LimitError, NodeError
from teastreams.runtime.node import records
from teastreams.services.limits import Turn
from teastreams.services.memory import Memory
from teastreams.services.secrets import Secrets
from teastreams.values import dataclass

GIVEN = ("state", "parallel_results", "node", "context", "variables")


@dataclass(frozen=True)
class Context:
    """Where a node runs: its name, the run's id, and the document's variables.

    `error` is what happened to the node in whose place a fallback runs; None everywhere else. `services` holds what the
    settings declare, by name.
    """

    node: str
    run_id: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    error: Optional[NodeError] = None
    services: Mapping[str, Any] = field(default_factory=dict)

    @property
    def memory(self) -> Memory:
        """The long-term memory: `store`, `retrieve`, `search`, `delete`. LimitError when the workflow has none."""
        memory: Optional[Memory] = self.services.get("memory")
        if memory is None:
            raise LimitError(
                f"node {self.node!r} asks for the long-term memory, and the workflow has none; "
                "add its file to the settings: `ltm: {path: memory.db}`"
            )
        return memory

    @property
    def secrets(self) -> Secrets:
        """The secrets by name: `context.secrets["NAME"].reveal()`. LimitError when the workflow names no source."""
        secrets: Optional[Secrets] = self.services.get("secrets")
        if secrets is None:
            raise LimitError(
                f"node {self.node!r} asks for secrets, and the workflow names no source; "
                "add one to the settings: `secrets: {env: [NAME]}`"
            )
        return secrets

    def limit(self, name: str, timeout: Optional[float] = None, *, rate: Optional[RateLimit] = None) -> Turn:
        """Wait until the rate limiter lets the next call through: `with context.limit("openai"):`.

        The limiter is one of `rate_limiters` in the settings, or has the `rate` given here. A call that would wait
        longer than `timeout` seconds does not wait: TimeoutError. LimitError when there is no such limiter.
        """
        wait = self.services.get("limits")
        if wait is None:
            raise LimitError(
                f"node {self.node!r} asks for the rate limiter {name!r}, and the workflow has none; "
                f"add it to the settings: `rate_limiters: {{{name}: {{rpm: 60}}}}`"
            )
        return Turn(wait(name, timeout, rate))

    def lines(self, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Iterator[bytes]:
        """The lines of stdin as bytes, without their newlines: nothing is decoded for them.

        A line is handed out when it is there. The end comes only with a good verdict, as for `sys.stdin`; a read after
        a failure raises `UpstreamFailed`. RecordError for a line of more than `limit_bytes`. Do not read the text of
        `sys.stdin` before: it may have taken more than it gave.
        """
        return records.lines(limit_bytes)

    def records(self, codec: str = "jsonl", *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Iterator[Any]:
        """The records of stdin: "jsonl" (a JSON value per line), "bytes" (four bytes of length before each), "pickle".

        Of "pickle" only what a node of the same run wrote with `write_records` may be read: loading a pickle runs what
        it says. RecordError, with the place in the stream, for what is no such record, is longer than `limit_bytes`, or
        is cut by the end; ValueError for another codec.
        """
        return records.records(codec, limit_bytes)

    def write_lines(self, lines: Iterable[Union[bytes, str]]) -> int:
        """Write each of `lines`, given without their newlines, to stdout as a line; returns how many there were.

        They are gathered and written many at a time, as long as they come quickly. RecordError for one with a newline
        in it. BrokenPipeError when every reader has left, as `print` has it.
        """
        return records.write_lines(lines)

    def write_records(self, values: Iterable[Any], codec: str = "jsonl") -> int:
        """Write each of `values` to stdout as a record, in a codec of `records`; returns how many there were."""
        return records.write_records(values, codec)

    def act(self, name: str, state: Any, arguments: Mapping[str, Any]) -> Any:
        """Call an action by its name; an action that calls others finds them in `services["actions"]`."""
        known: Mapping[str, Callable[..., Any]] = self.services["actions"]
        bound = {each: partial(_acted, function, state) for each, function in known.items()}
        return bound[name](replace(self, services={**self.services, "actions": bound}), **arguments)


def _acted(function: Callable[..., Any], state: Any, context: Context, **arguments: Any) -> Any:
    """Call an action with its arguments, and with what it names among state, context, variables and node."""
    given = {"state": state, "context": context, "variables": context.variables, "node": context.node}
    wanted = {each.name for each in _parameters(function)} - arguments.keys()
    return function(**{name: value for name, value in given.items() if name in wanted}, **arguments)


def body_of(
    run: Callable[..., Any], context: Context, results: Optional[ParallelResults]
) -> Callable[[dict[str, Any]], Any]:
    """`run` as a function of the state alone."""
    positional, named = _wanted(run)

    def body(state: dict[str, Any]) -> Any:
        given = {
            "state": state,
            "parallel_results": results,
            "node": context.node,
            "context": context,
            "variables": context.variables,
        }
        return run(*([state] if positional else []), **{name: given[name] for name in named})

    return body


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called by its author; a partial as what it calls, an object as its class."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def unknown_parameters(run: Callable[..., Any]) -> tuple[str, ...]:
    """Parameters without a default that nobody can give; empty when the function can be called."""
    parameters = _parameters(run)
    rest = parameters[1:] if _takes_state_first(parameters) else parameters
    return tuple(each.name for each in rest if _is_required(each) and not _can_be_named(each))


def _wanted(run: Callable[..., Any]) -> tuple[bool, tuple[str, ...]]:
    """(is the state passed by position?, which names are passed by keyword)."""
    parameters = _parameters(run)
    if not parameters:
        return not _has_signature(run), ()
    by_position = _takes_state_first(parameters)
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return by_position, GIVEN[1:] if by_position else GIVEN
    rest = parameters[1:] if by_position else parameters
    return by_position, tuple(each.name for each in rest if _can_be_named(each))


def _takes_state_first(parameters: Sequence[inspect.Parameter]) -> bool:
    """Is the first parameter the state, under a name of its own or without one?"""
    if not parameters or parameters[0].kind is inspect.Parameter.POSITIONAL_ONLY:
        return bool(parameters)
    first = parameters[0]
    return first.kind is first.POSITIONAL_OR_KEYWORD and _is_required(first) and first.name not in GIVEN


def _can_be_named(parameter: inspect.Parameter) -> bool:
    return parameter.name in GIVEN and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _parameters(run: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(run).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature gets the state
        return []


def _has_signature(run: Callable[..., Any]) -> bool:
    try:
        return inspect.signature(run) is not None
    except (TypeError, ValueError):
        return False


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in variable
