"""A compiled workflow: run it, watch it, resume it.

`run`, `stream` and `invoke` are three views of one generator of events (`run.Run`); `resume` is the same one with a
later start. Nothing is decided here about steps, states and checkpoints.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, AsyncIterator, Generator, Iterator, Mapping, Optional, Union

from teastreams.checkpoint import Checkpoint, Checkpointer, CheckpointError
from teastreams.core.control.bodies import bodies_in, unfold
from teastreams.core.control.flow import ENTRY, Flow, flow_of, nodes_in
from teastreams.core.control.joins import with_joins
from teastreams.core.events import RunEvent
from teastreams.core.graph import Graph
from teastreams.engine.actions import Actions, actions_of
from teastreams.engine.executing import load_for
from teastreams.engine.live.ends import ends_of, new_tap
from teastreams.engine.results import RunFinished, RunResult, as_dicts, last_dict
from teastreams.engine.run import STATE, WAITING, Run, Workflow
from teastreams.engine.scheduler import echo
from teastreams.engine.services import Handover, opened
from teastreams.errors import WorkflowFailed
from teastreams.executors.circuits import Circuits
from teastreams.runtime.bound import OWN_STREAMS

Stream = Union[int, IO[Any]]
if TYPE_CHECKING:
    from teastreams.engine.live.handle import RunHandle
    from teastreams.runtime.channels import StreamRegistry

Feeds = Mapping[str, Any]


class CompiledGraph:
    """A checked workflow, ready to run any number of times; made by `StateGraph.compile()`."""

    def __init__(
        self, graph: Graph, checkpointer: Optional[Checkpointer] = None, actions: Optional[Actions] = None
    ) -> None:
        self.graph = with_joins(graph)
        self.flow: Flow = flow_of(self.graph.main_line)
        unfold(self.graph)
        self._checkpointer = checkpointer
        self._actions = actions_of(self.graph, actions)
        load_for(self.graph)
        self._circuits = Circuits()
        self._handover = Handover()
        self.own_streams: Mapping[str, int] = OWN_STREAMS

    @cached_property
    def stream_registry(self) -> StreamRegistry:
        """Every declared channel, by its producer and its consumers; nothing is opened."""
        return _registry(self.graph)

    def with_streams(
        self, stdin: Optional[Stream] = None, stdout: Optional[Stream] = None, stderr: Optional[Stream] = None
    ) -> CompiledGraph:
        """The same workflow, with other streams in the place of the caller's own: what nodes bind to "-".

        Descriptors, or open files that have one; they are lent and stay open. Left out: descriptors 0, 1 and 2.
        """
        given = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        lent = {name: each for name, each in given.items() if each is not None}
        own = {name: each if isinstance(each, int) else each.fileno() for name, each in lent.items()}
        other = CompiledGraph(self.graph, self._checkpointer, self._actions)
        other.own_streams = {**self.own_streams, **own}
        other._circuits, other._handover = self._circuits, self._handover
        return other

    def binds(self, stream: str) -> bool:
        """Is "stdin", "stdout" or "stderr" of the caller bound to a node?"""
        bound = [node.streams.bindings for node in self.graph.nodes if node.streams is not None]
        return any(stream in each and each[stream].file is None for each in bound)

    def run(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> RunResult:
        """Run to the end, or to the next interrupt, and return the `RunResult`.

        `state` is copied, one level deep. Output of nodes that is no channel goes to stderr unless `echo_output` is
        False. `feed` maps each channel that the caller writes (`compile(feed=...)`) to an iterable of bytes or str, or
        a file; what it raises fails the run, by name.

        Raises:
            WorkflowFailed: a node failed; the cause first, the consequences after it.
            LimitError, PlatformError: this machine cannot run it now; nothing was left behind.
            KeyboardInterrupt: Ctrl-C, after an ordered stop of every node.
        """
        return self._last(self._begin(state, checkpointer, feed), echo_output)

    def stream(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
        progress_seconds: Optional[float] = None,
        feed: Optional[Feeds] = None,
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        """Run and yield typed events as they happen; the last one is `RunFinished`.

        Between two events the host's own signal handlers are in place. Closing the generator ends every node. With
        `progress_seconds`, a `Progress` event comes that often while workers run, and records are counted; without it
        nobody is woken up to look. Raises as `run` does, ValueError for a `progress_seconds` that is not above 0.
        """
        return self._handed_over(self._begin(state, checkpointer, feed), echo_output, progress_seconds)

    def invoke(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> Iterator[dict[str, Any]]:
        """Run and yield dict events, ending in {"type": "final", "state": ...}.

        A pause ends it with an `interrupt_before` or `interrupt_after` event, a failure with {"type": "error", ...}
        whose "exception" is the `WorkflowFailed` that `run` would have raised.
        """
        try:
            for event in self.stream(state, checkpointer=checkpointer, echo_output=echo_output, feed=feed):
                if isinstance(event, RunFinished):
                    yield last_dict(event.result)
                else:
                    yield from as_dicts(event)
        except WorkflowFailed as failed:
            yield {
                "type": "error",
                "node": failed.primary.node,
                "error": str(failed.primary),
                "state": dict(failed.result.state),
                "exception": failed,
            }

    def resume(
        self,
        checkpointer: Optional[Checkpointer] = None,
        update: Optional[Mapping[str, Any]] = None,
        *,
        checkpoint_id: Optional[str] = None,
        fork: bool = False,
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> RunResult:
        """Go on from a checkpoint, the newest one unless `checkpoint_id` is given, with `update` merged into the state.

        With `fork` that is a run of its own, with an id of its own; its first checkpoint names the one it came from.

        Raises what `run` raises, and `CheckpointError` when there is none, it belongs to another workflow, or it is the
        end of a finished run.
        """
        return self._last(self._again(checkpointer, update, checkpoint_id, feed, fork), echo_output)

    def resume_stream(
        self,
        checkpointer: Optional[Checkpointer] = None,
        update: Optional[Mapping[str, Any]] = None,
        *,
        checkpoint_id: Optional[str] = None,
        fork: bool = False,
        echo_output: bool = True,
        progress_seconds: Optional[float] = None,
        feed: Optional[Feeds] = None,
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        """`resume`, told as it happens, as `stream` tells `run`."""
        return self._handed_over(
            self._again(checkpointer, update, checkpoint_id, feed, fork), echo_output, progress_seconds
        )

    def history(
        self, checkpointer: Optional[Checkpointer] = None, run_id: Optional[str] = None
    ) -> tuple[Checkpoint, ...]:
        """The checkpoints of one run, or of all, oldest first, without their states, which are not read.

        Raises `CheckpointError` when there is no checkpointer, or when what it keeps is damaged.
        """
        return self._keeper(checkpointer, "history").history(run_id)

    def draw(self, format: str = "text") -> str:  # noqa: A002  what it is called everywhere else
        """The workflow as a drawing: "text", "mermaid" (a flowchart) or "dot" (Graphviz).

        Stream sections are boxes; channels have their names and policies on them, control is dotted; a fan-out worker
        is drawn where one will run. ValueError for another format.
        """
        from teastreams.core import drawing  # loaded by who draws

        return drawing.draw(self.graph, format)

    def start(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> RunHandle:
        """A run in the caller's hand, to read its channels while it goes on: `with app.start(state) as run:`.

        Everything is checked here; the run begins with the first call that reads, asks or waits. WorkflowError when a
        channel that the caller writes is not in `feed`.
        """
        return self._handle(self._begin(state, checkpointer, feed, stepwise=True, can_read=True), echo_output)

    async def arun(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> RunResult:
        """`run` under asyncio: the event loop goes on while workers work. Cancelling the task ends the run in order.

        Plain nodes, branches in threads and feeds run in the event loop's thread and hold it meanwhile.
        """
        from teastreams.engine.live.asynchronous import result_of  # asyncio is loaded only by who uses it

        return await result_of(self._handle(self._begin(state, checkpointer, feed, stepwise=True), echo_output))

    def astream(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> AsyncIterator[Union[RunEvent, RunFinished]]:
        """`stream` under asyncio: `async for event in app.astream(state)`. Closing the generator ends every node."""
        from teastreams.engine.live.asynchronous import events_of

        return events_of(self._handle(self._begin(state, checkpointer, feed, stepwise=True), echo_output))

    @property
    def workflow_hash(self) -> str:
        """Names the shape of the workflow: a checkpoint is resumed only into the shape that wrote it."""
        import hashlib  # 3 ms; asked only where a checkpoint is written or read

        return hashlib.sha256(repr(_shape(self.graph, self.flow)).encode()).hexdigest()[:16]

    def _workflow(self) -> Workflow:
        return Workflow(self.graph, self.flow, self.own_streams, self._circuits)

    def _begin(
        self,
        state: Optional[Mapping[str, Any]],
        checkpointer: Optional[Checkpointer],
        feed: Optional[Feeds],
        stepwise: bool = False,
        can_read: bool = False,
    ) -> Run:
        first = {STATE: {**self.graph.initial_state, **(state or {})}, WAITING: {}}
        keeper = checkpointer or self._checkpointer
        # The name of the shape is for who reads the checkpoints.
        place = Checkpoint(_new_id(), ENTRY, "", "after", "" if keeper is None else self.workflow_hash, first)
        outside = ends_of(self.graph, self.flow, feed, can_read)
        return Run(self._workflow(), keeper, place, {}, outside, stepwise)

    def _again(
        self,
        checkpointer: Optional[Checkpointer],
        update: Optional[Mapping[str, Any]],
        checkpoint_id: Optional[str],
        feed: Optional[Feeds],
        fork: bool,
    ) -> Run:
        keeper = self._keeper(checkpointer, "resume")
        record = keeper.load(checkpoint_id)
        self._refuse(record, fork)
        place = replace(record, run_id=_new_id()) if fork else record
        outside = ends_of(self.graph, self.flow.ahead(record.step), feed, can_read=False)
        return Run(self._workflow(), keeper, place, dict(update or {}), outside)

    def _keeper(self, checkpointer: Optional[Checkpointer], who: str) -> Checkpointer:
        keeper = checkpointer or self._checkpointer
        if keeper is None:
            raise CheckpointError(f"{who} needs the checkpointer that the run was given; pass it as `checkpointer`")
        return keeper

    def _refuse(self, record: Checkpoint, fork: bool) -> None:
        """What cannot be gone on from: another workflow's checkpoint, or the end of a run."""
        if record.workflow_hash != self.workflow_hash:
            raise CheckpointError(
                f"checkpoint {record.checkpoint_id} belongs to another version of this workflow, "
                f"{record.workflow_hash[:12]}, and this one is {self.workflow_hash[:12]}; "
                "resume it with the document it was written by, or start a new run"
            )
        if record.status == "finished":
            raise CheckpointError(
                f"run {record.run_id} is finished, and checkpoint {record.checkpoint_id} is its end; "
                f"{'fork' if fork else 'resume or fork'} an earlier checkpoint, `history` lists them"
            )

    def _handle(self, run: Run, echo_output: bool) -> RunHandle:
        from teastreams.engine.live.handle import RunHandle  # with logging and concurrent.futures, 10 ms

        return RunHandle(self._handed_over(run, echo_output), run.scheduler, partial(new_tap, self.graph, self.flow))

    def _last(self, run: Run, echo_output: bool) -> RunResult:
        with closing(self._served(run)) as events:
            for event in events:
                if isinstance(event, RunFinished):
                    return event.result
                if echo_output:
                    echo(event)
        raise RuntimeError("a run ended without its last event")

    def _served(self, run: Run) -> Generator[Union[RunEvent, RunFinished], None, None]:
        """The events of a run whose nodes have their services."""
        with opened(self.graph, self._handover, self._actions) as services:
            run.scheduler.services = services
            yield from run.events()

    def _handed_over(
        self, run: Run, echo_output: bool, progress_seconds: Optional[float] = None
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        if progress_seconds is not None and not progress_seconds > 0:
            raise ValueError(f"progress_seconds must be above 0, not {progress_seconds}; leave it out for no progress")
        run.scheduler.report_progress(progress_seconds)
        events = self._served(run)
        try:
            for event in events:
                if echo_output and not isinstance(event, RunFinished):
                    echo(event)
                with run.scheduler.hands_off():
                    yield event
        finally:
            events.close()


def _new_id() -> str:
    """Names a run: 64 random bits."""
    return os.urandom(8).hex()


def _shape(graph: Graph, flow: Flow) -> tuple[Any, ...]:
    """The steps, the ways between them, and the shapes of what stands inside nodes, as plain values."""
    steps = [(type(step).__name__, tuple(nodes_in((step,)))) for step in flow]
    jumps = [(index, [each.to for each in exits]) for index, exits in sorted(flow.jumps.items())]
    inner = [(node.name, type(body).__name__, _shape(body.graph, body.flow)) for node, body in bodies_in(graph)]
    return (steps, jumps, *inner)


def _registry(graph: Graph) -> StreamRegistry:
    from teastreams.runtime.channels import StreamDirection, StreamRegistry

    registry = StreamRegistry()
    size = graph.parallel.streams.buffer_size
    for node in graph.nodes:
        for stream in StreamDirection:
            name = getattr(node.streams, stream.value, None)
            if name is not None:
                registry.register(name, stream, buffer_size=size, node_name=node.name)
    return registry
