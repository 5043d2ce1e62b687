"""What was declared: nodes, edges, channels and settings, frozen.

These values carry no descriptor and no process: `rules` checks them, `flow` and `plan` turn them into what
will happen, `runtime` does it. Positions are kept beside the values, so that every later problem can point
into the document; a graph built in Python has none.
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Union

from teastreams.core.language.actions import Import
from teastreams.core.language.expressions import Expression
from teastreams.core.language.trees import Output
from teastreams.core.policies import RAISE, CircuitBreakerConfig, OnError, RetryPolicy
from teastreams.core.services import ServiceSettings
from teastreams.core.state.schema import StateSchema
from teastreams.errors import Position
from teastreams.values import dataclass

if TYPE_CHECKING:
    from teastreams.core.control.bodies import Body  # a body holds a graph of its own

START = "__start__"
END = "__end__"

STRATEGIES = ("thread", "process", "remote")
STREAM_MODES = ("direct", "broadcast")
OVERFLOWS = ("block", "spill", "drop_oldest", "drop_newest", "fail")
ON_THREADS = ("warn", "error", "allow")
STREAMS = ("stdin", "stdout", "stderr")

DEFAULT_BUFFER_BYTES = 65536
DEFAULT_LIMIT_BYTES = 8 * 1024 * 1024
DEFAULT_SPILL_BYTES = 1024 * 1024 * 1024
DEFAULT_RESULT_BYTES = 1024 * 1024 * 1024
MAX_CONSUMERS = 256
MAX_NODES = 512


@dataclass(frozen=True)
class StreamSettings:
    """`settings.parallel.streams`: defaults for every channel. Sizes in bytes, times in seconds.

    `buffer_size` is the wished size of the kernel's pipes. `buffer_grows` is True when it was left
    out: the runtime then takes the largest size that the machine's quota allows. `timeout` is the wall clock
    of one stream section, `stall_timeout` the longest time without a byte moved anywhere in it; None is never.
    """

    enabled: bool = False
    buffer_size: int = DEFAULT_BUFFER_BYTES
    buffer_grows: bool = True
    buffer_limit: int = DEFAULT_LIMIT_BYTES
    overflow: str = "block"
    spill_limit: int = DEFAULT_SPILL_BYTES
    timeout: Optional[float] = None
    stall_timeout: Optional[float] = None
    grace_seconds: float = 5.0
    drain_seconds: float = 5.0

    def __post_init__(self) -> None:
        # In Python a size that was named is meant, as it is in a document.
        if self.buffer_size != DEFAULT_BUFFER_BYTES:
            object.__setattr__(self, "buffer_grows", False)


@dataclass(frozen=True)
class ParallelConfig:
    """How the branches of parallel edges run. Times in seconds; None is no limit.

    `strategy` is thread, process or remote. `max_workers` limits batch branches only: a stream section needs
    all its workers at once. `fail_fast` stops the siblings of the first branch that fails; otherwise they
    go on to their end, and the run fails then. `on_threads` says what to do when the host process has other
    threads at a fork: warn, error or allow. `result_limit` is the most that one forked worker may send back, in bytes.
    """

    strategy: str = "thread"
    max_workers: Optional[int] = None
    timeout_seconds: Optional[float] = None
    fail_fast: bool = False
    include_traceback: bool = True
    retry_policy: Optional[RetryPolicy] = None
    circuit_breaker: Optional[CircuitBreakerConfig] = None
    streams: StreamSettings = field(default_factory=StreamSettings)
    on_threads: str = "warn"
    result_limit: int = DEFAULT_RESULT_BYTES


@dataclass(frozen=True)
class Delivery:
    """How one consumer takes its stream; None means the value of the settings. Limits in bytes."""

    overflow: Optional[str] = None
    buffer_limit: Optional[int] = None
    spill_limit: Optional[int] = None


@dataclass(frozen=True)
class Binding:
    """An end of a stream outside the workflow: a file, or (`file` None) the caller's own standard stream.

    `file` is a template of a path. An output file appears under its name when its section has ended well; with
    `keep_partial` it is written in place and stays as it is after a failure, too. `append` adds to what is there.
    """

    file: Optional[str] = None
    append: bool = False
    keep_partial: bool = False


@dataclass(frozen=True)
class NodeStreamsConfig:
    """`streams:` of one node: the channel on each standard stream, or None, and how stdin is delivered.

    `bindings` maps the standard streams that are bound outside the workflow ("stdin", "stdout", "stderr") to where.
    """

    stdin: Optional[str] = None
    stdout: Optional[str] = None
    stderr: Optional[str] = None
    delivery: Delivery = Delivery()
    bindings: Mapping[str, Binding] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels this node touches, in the order stdin, stdout, stderr."""
        return tuple(name for name in (self.stdin, self.stdout, self.stderr) if name is not None)


@dataclass(frozen=True)
class Command:
    """An external program in the place of a node's code: an argument vector, never a line for a shell.

    The texts are templates (see `core.language.templates`), each of which stays one argument. `env` is added to the
    inherited environment; None removes a name from it. Exit codes outside `ok_exit_codes` are failures.
    """

    argv: tuple[str, ...]
    env: Mapping[str, Optional[str]] = field(default_factory=dict)
    cwd: Optional[str] = None
    ok_exit_codes: frozenset[int] = frozenset((0,))


@dataclass(frozen=True)
class Node:
    """One node as declared: its work is `run`, an external program, or a body of other nodes.

    `run` is called with what its signature names among state, parallel_results, node, context.

    `positions` maps the dotted key inside the node (`name`, `streams.stdin`, `timeout`, ...) to its place in the
    document; `where` is the place of the node itself.
    """

    name: str
    run: Optional[Callable[..., Any]] = None
    streams: Optional[NodeStreamsConfig] = None
    timeout_seconds: Optional[float] = None
    interrupt_before: bool = False
    interrupt_after: bool = False
    where: Optional[Position] = None
    positions: Mapping[str, Position] = field(default_factory=dict)
    command: Optional[Command] = None
    retry: Optional[RetryPolicy] = None
    on_error: OnError = RAISE
    body: Optional[Body] = None
    output: Optional[Output] = None

    @property
    def patient(self) -> bool:
        """Does a failure of this node not simply fail the run?"""
        return self.retry is not None or self.on_error != RAISE

    @property
    def streaming(self) -> bool:
        """Does this node run in a section: with a worker of its own, for its streams or for its program?"""
        wired = self.streams is not None and bool(self.streams.channels or self.streams.bindings)
        return wired or self.command is not None


@dataclass(frozen=True)
class Choice:
    """A condition in Python: the edge is taken when `function(state)` returns `answer`.

    Edges of one source that share a function ask it once; `answers` are all that they know.
    """

    function: Callable[..., Any]
    answer: Any = True
    answers: tuple[Any, ...] = (True, False)


@dataclass(frozen=True)
class Negated:
    """The edge is taken when the expression does not hold."""

    expression: Expression


Condition = Union[Expression, Negated, Choice]


@dataclass(frozen=True)
class Edge:
    """One edge: from `source` to one target, or to several when it is parallel.

    `strategy` overrides the settings for this edge, and so do `max_workers`, `timeout_seconds`, `fail_fast` and `retry`
    where they are not None. `fan_in` names the node where the branches join; with `on_error` graceful it gets the
    results of failed branches, too. With `merges` nobody wrote the fan-in: it follows from the edges (`joins`),
    may be END, and the branches' changes join the state. With a `condition`, control takes the edge only when that
    holds; the edges of a node are asked in their order, those without a condition last.
    """

    source: str
    targets: tuple[str, ...]
    parallel: bool = False
    strategy: Optional[str] = None
    stream_mode: str = "direct"
    fan_in: Optional[str] = None
    where: Optional[Position] = None
    positions: Mapping[str, Position] = field(default_factory=dict)
    condition: Optional[Condition] = None
    max_workers: Optional[int] = None
    timeout_seconds: Optional[float] = None
    fail_fast: Optional[bool] = None
    retry: Optional[RetryPolicy] = None
    on_error: OnError = RAISE
    merges: bool = False

    def over(self, settings: ParallelConfig) -> ParallelConfig:
        """The settings, with what this edge says instead."""
        return replace(
            settings,
            max_workers=settings.max_workers if self.max_workers is None else self.max_workers,
            timeout_seconds=settings.timeout_seconds if self.timeout_seconds is None else self.timeout_seconds,
            fail_fast=settings.fail_fast if self.fail_fast is None else self.fail_fast,
            retry_policy=settings.retry_policy if self.retry is None else self.retry,
        )


@dataclass(frozen=True)
class Graph:
    """A whole declaration. `file` is the document's name ("" for a graph built in Python).

    `strategy_given` says whether the settings named a strategy at all: in Python `streams=` is the opt-in and
    implies process, in YAML a thread strategy with streams is a mistake to report. `fed` names the channels that
    the caller writes instead of a node, `opened` those that the caller reads and no node has to. `services` are the
    settings of what nodes use by their `context`, `schema` is what was declared of the state. `imports` are the sources
    of actions, `initial_state` is what a run begins with before the caller's own values.
    """

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    name: str = ""
    file: str = ""
    strategy_given: bool = False
    streams_optional: bool = True
    variables: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[str, Position] = field(default_factory=dict)
    fed: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()
    services: ServiceSettings = field(default_factory=ServiceSettings)
    schema: StateSchema = field(default_factory=StateSchema)
    imports: tuple[Import, ...] = ()
    initial_state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fallbacks(self) -> frozenset[str]:
        """The nodes that run only in the place of another one that failed."""
        return frozenset(node.on_error.fallback for node in self.nodes if node.on_error.fallback is not None)

    @property
    def main_line(self) -> Graph:
        """What control walks: the graph without its fallbacks."""
        fallbacks = self.fallbacks
        if not fallbacks:
            return self
        return replace(self, nodes=tuple(node for node in self.nodes if node.name not in fallbacks))

    def node(self, name: str) -> Node:
        """The node of that name; KeyError if there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, Node]:
        """Rules ask for each node; a wrong graph may have two of one name, and then the first counts."""
        return {node.name: node for node in reversed(self.nodes)}
