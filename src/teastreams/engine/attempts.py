"""One node, attempt by attempt, and what a failure that stays leaves in the state.

A failed attempt leaves nothing behind: every key of the state has the value that it had before. That costs one shallow
copy of the dict, whatever the size of its values (20 keys, one of 256 MiB: 2 microseconds). What a node changes
*inside* a value, such as a list that it appends to, cannot be undone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Generator, Iterator, Optional, Protocol

from teastreams.core.events import NodeRetried, RunEvent, Warned
from teastreams.core.graph import Graph, Node
from teastreams.core.merge import ParallelResults
from teastreams.core.policies import ERROR_KEY
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.runtime.supervision.figures import NodeFigures

Once = Callable[[], Iterator[RunEvent]]
_ABSENT = object()


class Host(Protocol):
    """What runs nodes: the scheduler, as far as attempts are concerned."""

    graph: Graph
    state: dict[str, Any]
    nodes: dict[str, NodeFigures]
    waiting: dict[str, ParallelResults]
    handled: dict[str, NodeError]

    def call(self, name: str) -> Iterator[RunEvent]:
        """Run one plain node once."""
        ...

    def pause(self, seconds: float) -> bool:
        """Wait; False when the run is stopping."""
        ...


def tried(host: Host, name: str, once: Once) -> Iterator[RunEvent]:
    """Run one node as often as its policy wants; then its fallback; then do what its `on_error` says."""
    node = host.graph.node(name)
    if not node.patient:
        yield from once()
        return
    kept = _Kept(host)
    retries, failed = yield from _attempts(host, node, once, kept)
    if name in host.nodes:
        host.nodes[name] = replace(host.nodes[name], retry_count=retries)
    if failed is not None and node.on_error.fallback is not None:
        failed = yield from _fall_back(host, node, node.on_error.fallback, failed, retries)
        if failed is not None:
            kept.restore()
    if failed is None:
        return
    if node.on_error.mode != "graceful":
        raise failed
    host.waiting.pop(name, None)
    host.state[ERROR_KEY] = as_data(failed.primary, retries)
    yield Warned(f"{failed.primary}; the run goes on without it")


def _attempts(
    host: Host, node: Node, once: Once, kept: _Kept
) -> Generator[RunEvent, None, tuple[int, Optional[WorkflowFailed]]]:
    """Until one succeeds or the policy has had enough; the number of retries, and the last failure."""
    attempt = 0
    while True:
        attempt += 1
        try:
            yield from once()
            return attempt - 1, None
        except WorkflowFailed as failed:
            kept.restore()
            last = failed
        policy = node.retry
        if policy is None or not policy.should_retry(attempt, _class_names(last.primary)):
            return attempt - 1, last
        import random  # it seeds itself from hashes that nothing else here loads; most runs never retry

        delay_seconds = policy.delay_seconds(attempt, random.random())
        yield NodeRetried(node.name, attempt, policy.max_retries + 1, delay_seconds, _brief(last.primary))
        if not host.pause(delay_seconds):
            return attempt - 1, last


def _fall_back(
    host: Host, node: Node, fallback: str, failed: WorkflowFailed, retries: int
) -> Generator[RunEvent, None, Optional[WorkflowFailed]]:
    """Run the fallback in the place of a failed node; None when it ended well. The first failure stays the cause."""
    note = _Note(host.state, as_data(failed.primary, retries))
    host.handled[fallback] = failed.primary
    if node.name in host.waiting:
        host.waiting[fallback] = host.waiting.pop(node.name)
    try:
        yield from tried(host, fallback, lambda: host.call(fallback))
    except WorkflowFailed as second:
        return WorkflowFailed(failed.primary, (*failed.collateral, *second.exceptions))
    finally:
        del host.handled[fallback]
    note.withdraw()
    return None


class _Kept:
    """The state and the results that wait, as they were when this was made."""

    def __init__(self, host: Host) -> None:
        # Not dict(state): a tracked state would take a fingerprint of every value that is read.
        self._host, self._state, self._waiting = host, dict.copy(host.state), dict(host.waiting)

    def restore(self) -> None:
        """Every key as it was; again is harmless."""
        dict.clear(self._host.state)
        dict.update(self._host.state, self._state)
        self._host.waiting = dict(self._waiting)


class _Note:
    """The error of a node in the state, as long as its fallback runs."""

    def __init__(self, state: dict[str, Any], error: dict[str, Any]) -> None:
        self._state, self._error = state, error
        self._older = state.get(ERROR_KEY, _ABSENT)
        state[ERROR_KEY] = error

    def withdraw(self) -> None:
        """It has been dealt with. What the fallback itself has put there stays."""
        if self._state.get(ERROR_KEY) is not self._error:
            return
        if self._older is _ABSENT:
            del self._state[ERROR_KEY]
        else:
            self._state[ERROR_KEY] = self._older


def as_data(error: NodeError, retry_count: int) -> dict[str, Any]:
    """An error as plain data, for the state: a checkpoint can hold it, an expression can look into it."""
    return {
        "node": error.node,
        "type": error.error_type,
        "message": error.message,
        "phase": error.phase,
        "exit_code": error.exit_code,
        "retry_count": retry_count,
    }


def _class_names(error: NodeError) -> tuple[str, ...]:
    """What `retry_on` may call an error: its class and its bases, or what stands for a class where there was none."""
    return (*error.error_type_names, error.error_type)


def _brief(error: NodeError) -> str:
    """The class and the message of an error in one phrase."""
    return f"{error.error_type}: {error.message}" if error.error_type else error.message
