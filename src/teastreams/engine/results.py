"""What a run leaves behind, as plain data, and its view as dict events.

Values only: `app` makes them. The dict events are those of the epic's `invoke`; the typed ones are in `core.events`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Iterator, Mapping, Optional

from teastreams.core.events import BranchesFinished, NodeFinished, NodeOutput, NodeStarted, RunEvent, StateChanged
from teastreams.engine.reporting.summary import summary
from teastreams.runtime.supervision.figures import ChannelFigures, NodeFigures
from teastreams.values import dataclass


@dataclass(frozen=True)
class Pause:
    """Where a run stopped at an interrupt: the node, and whether before or after it."""

    node: str
    when: str


@dataclass(frozen=True)
class RunResult:
    """The end of a run.

    `state` is the final state (at a pause: the state so far). `nodes` and `channels` hold the figures of everything
    that ran, `duration` is wall clock in seconds. `status` is finished, paused or failed; `pause` and `checkpoint_id`
    are set when it is paused.
    """

    state: Mapping[str, Any]
    nodes: Mapping[str, NodeFigures] = field(default_factory=dict)
    channels: Mapping[str, ChannelFigures] = field(default_factory=dict)
    duration: float = 0.0
    status: str = "finished"
    pause: Optional[Pause] = None
    checkpoint_id: Optional[str] = None
    run_id: str = ""

    def summary(self) -> str:
        """The figures as text: per node its end, time, CPU and peak memory; per channel and reader what it moved.

        Sizes in binary units, times in seconds, minutes or hours. `waited` is the time blocked on writing or starved
        of input; "?" is a figure that nobody could tell, "~" a sampled one, "-" one that does not apply. Records are
        counted only when progress was asked for.
        """
        return summary(self.nodes, self.channels, self.duration)


@dataclass(frozen=True)
class RunFinished:
    """The last event of every run that did not fail."""

    result: RunResult


def as_dicts(event: RunEvent) -> Iterator[dict[str, Any]]:
    """One typed event as the dict events of `invoke`."""
    if isinstance(event, NodeStarted):
        yield {"type": "start", "node": event.node, "pid": event.pid}
    elif isinstance(event, NodeFinished):
        yield {"type": "end", "node": event.node, "status": event.status, "exit_code": event.exit_code}
    elif isinstance(event, NodeOutput):
        yield {"type": "output", "node": event.node, "stream": event.stream, "text": event.text}
    elif isinstance(event, BranchesFinished):
        for result in event.results:
            yield {"type": "parallel_state", "branch": result.branch, "success": result.success, "state": dict(result)}
    elif isinstance(event, StateChanged):
        yield {"type": "state", "node": event.node, "state": dict(event.state)}


def last_dict(result: RunResult) -> dict[str, Any]:
    """The last dict event of a run that did not fail: final, or interrupt."""
    if result.pause is None:
        return {"type": "final", "state": dict(result.state)}
    return {
        "type": f"interrupt_{result.pause.when}",
        "node": result.pause.node,
        "state": dict(result.state),
        "checkpoint_id": result.checkpoint_id,
    }
