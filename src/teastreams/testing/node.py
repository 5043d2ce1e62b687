"""One node's function, run as it will be run, without a graph round it.

It runs in a real forked worker with real pipes on 0, 1 and 2, so that everything a node can do to itself (leave by
`sys.exit`, close its stdout, start a program, die of a signal) happens as in a workflow, and nothing of it happens to
the test. What it wrote is kept in memory.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Callable, Mapping, Optional

from teastreams.core.graph import NodeStreamsConfig, ParallelConfig
from teastreams.core.merge import ParallelResults
from teastreams.engine.calling import Context, body_of, name_of
from teastreams.errors import NodeError
from teastreams.executors.flows import BranchFlow
from teastreams.executors.process import ProcessExecutor, section_order
from teastreams.runtime.supervision.figures import SectionOutcome
from teastreams.runtime.supervision.order import Order
from teastreams.runtime.supervision.outside import Feed, Outside, Tap
from teastreams.values import dataclass

ALL_OF_IT = 1 << 62
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class NodeRun:
    """What a node did: the bytes it wrote, what it changed in the state, how it ended.

    `update` holds the keys that it set, `removed` those that it deleted; both are empty where it failed. `exception` is
    None when it ended well, else a `NodeError` with its type, message and traceback. `status` is done, stopped (by a
    reader that left), failed, consequence or tainted; `exit_code` is the worker's, negative for a signal.
    """

    stdout: bytes
    stderr: bytes
    update: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    exception: Optional[NodeError] = None
    status: str = "done"
    exit_code: Optional[int] = 0

    @property
    def text(self) -> str:
        """What it wrote to stdout, as UTF-8."""
        return self.stdout.decode()


def run_node(
    function: Callable[..., Any],
    stdin: Any = None,
    state: Optional[Mapping[str, Any]] = None,
    *,
    parallel_results: Optional[ParallelResults] = None,
    variables: Optional[Mapping[str, Any]] = None,
    timeout: Optional[float] = 60.0,
    on_threads: str = "allow",
) -> NodeRun:
    """Run one node's function in a forked worker and return what it did; its own failure is returned, not raised.

    `stdin` is bytes, str (as UTF-8), an iterable of them, or a file; None is no channel (/dev/null). An iterable that
    raises stands for a failure upstream: the node's read gets `UpstreamFailed`. The function is called with what it
    names, as in a graph. After `timeout` seconds it is ended. `on_threads` says what to do when this process has other
    threads: allow, warn or error.

    Raises:
        TypeError: `stdin` is nothing of the kind.
        LimitError, PlatformError: this machine cannot run it now.
    """
    name = name_of(function)
    streams = NodeStreamsConfig("stdin" if stdin is not None else None, "stdout", "stderr")
    body = body_of(function, Context(name, variables=variables or {}), parallel_results)
    outside = Outside(
        {"stdin": Feed(stdin)} if stdin is not None else {}, {name: Tap(ALL_OF_IT) for name in ("stdout", "stderr")}
    )
    flow = BranchFlow(name, body, dict(state or {}), streams, timeout)
    config = ParallelConfig(strategy="process", on_threads=on_threads)
    outcome = _outcome(section_order([flow], config, outside=outside))
    written = {channel: _rest(tap) for channel, tap in outside.taps.items()}
    return _told(name, written["stdout"], written["stderr"], outcome)


def _outcome(order: Order) -> SectionOutcome:
    walk = ProcessExecutor().supervise(order)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            outcome: SectionOutcome = end.value
            return outcome


def _rest(tap: Tap) -> bytes:
    """Everything it has; its writer has gone."""
    try:
        return b"".join(iter(lambda: tap.take(READ_BYTES), b""))
    finally:
        tap.close()


def _told(name: str, stdout: bytes, stderr: bytes, outcome: SectionOutcome) -> NodeRun:
    figures, update = outcome.nodes[name], outcome.updates.get(name)
    return NodeRun(
        stdout,
        stderr,
        dict(update.values) if update is not None else {},
        frozenset(update.removed) if update is not None else frozenset(),
        figures.error,
        figures.status.name.lower(),
        figures.exit_code,
    )
