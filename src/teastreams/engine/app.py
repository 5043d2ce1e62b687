"""A compiled workflow: run it, watch it, resume it.

`run`, `stream` and `invoke` are three views of one generator of events; `resume` is the same one with a later start. An
interrupt stands before or after a plain node of the main line: the state, and the results that wait for a fan-in, go
into a checkpoint, and the run ends as paused. A node is never run twice by a resume.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, replace
from functools import partial
from typing import IO, Any, AsyncIterator, Iterator, Mapping, Optional, Union

from teastreams.checkpoint import Checkpoint, Checkpointer, CheckpointError, MemoryCheckpointer
from teastreams.core import drawing
from teastreams.core.events import RunEvent
from teastreams.core.flow import Call, Flow, Step, flow_of, nodes_in
from teastreams.core.graph import Graph
from teastreams.core.merge import ParallelFlowResult, ParallelResults
from teastreams.engine.ends import ends_of, new_tap
from teastreams.engine.handle import RunHandle
from teastreams.engine.results import Pause, RunFinished, RunResult, as_dicts, last_dict
from teastreams.engine.scheduler import Scheduler, echo
from teastreams.errors import WorkflowFailed
from teastreams.runtime import calls
from teastreams.runtime.bound import OWN_STREAMS
from teastreams.runtime.channels import StreamDirection, StreamRegistry
from teastreams.runtime.supervision.outside import Outside

Stream = Union[int, IO[Any]]
_STATE, _WAITING = "state", "waiting"
Feeds = Mapping[str, Any]


class CompiledGraph:
    """A checked workflow, ready to run any number of times; made by `StateGraph.compile()`."""

    def __init__(self, graph: Graph, checkpointer: Optional[Checkpointer] = None) -> None:
        self.graph = graph
        self.flow: Flow = flow_of(graph)
        self.stream_registry = _registry(graph)
        self._checkpointer = checkpointer
        self.own_streams: Mapping[str, int] = OWN_STREAMS

    def with_streams(
        self, stdin: Optional[Stream] = None, stdout: Optional[Stream] = None, stderr: Optional[Stream] = None
    ) -> CompiledGraph:
        """The same workflow, with other streams in the place of the caller's own: what nodes bind to "-".

        Descriptors, or open files that have one; they are lent and stay open. Left out: descriptors 0, 1 and 2.
        """
        given = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        lent = {name: each for name, each in given.items() if each is not None}
        own = {name: each if isinstance(each, int) else each.fileno() for name, each in lent.items()}
        other = CompiledGraph(self.graph, self._checkpointer)
        other.own_streams = {**self.own_streams, **own}
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
        echo_output: bool = True,
        feed: Optional[Feeds] = None,
    ) -> RunResult:
        """Go on from a checkpoint, the newest one unless `checkpoint_id` is given, with `update` merged into the state.

        Raises what `run` raises, and `CheckpointError` when there is none or it belongs to another workflow.
        """
        return self._last(self._again(checkpointer, update, checkpoint_id, feed), echo_output)

    def resume_stream(
        self,
        checkpointer: Optional[Checkpointer] = None,
        update: Optional[Mapping[str, Any]] = None,
        *,
        checkpoint_id: Optional[str] = None,
        echo_output: bool = True,
        progress_seconds: Optional[float] = None,
        feed: Optional[Feeds] = None,
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        """`resume`, told as it happens, as `stream` tells `run`."""
        return self._handed_over(self._again(checkpointer, update, checkpoint_id, feed), echo_output, progress_seconds)

    def draw(self, format: str = "text") -> str:  # noqa: A002  what it is called everywhere else
        """The workflow as a drawing: "text", "mermaid" (a flowchart) or "dot" (Graphviz).

        Stream sections are boxes; channels have their names and policies on them, control is dotted; a fan-out worker
        is drawn where one will run. ValueError for another format.
        """
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
        from teastreams.engine.asynchronous import result_of  # asyncio is loaded only by who uses it

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
        from teastreams.engine.asynchronous import events_of

        return events_of(self._handle(self._begin(state, checkpointer, feed, stepwise=True), echo_output))

    @property
    def workflow_hash(self) -> str:
        """Names the shape of the workflow: a checkpoint is resumed only into the shape that wrote it."""
        text = repr([(type(step).__name__, tuple(nodes_in((step,)))) for step in self.flow])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _begin(
        self,
        state: Optional[Mapping[str, Any]],
        checkpointer: Optional[Checkpointer],
        feed: Optional[Feeds],
        stepwise: bool = False,
        can_read: bool = False,
    ) -> _Run:
        place = Checkpoint(
            secrets.token_hex(8), 0, "", "after", self.workflow_hash, {_STATE: dict(state or {}), _WAITING: {}}
        )
        outside = ends_of(self.graph, self.flow, feed, can_read)
        return _Run(self, checkpointer or self._checkpointer, place, {}, outside, stepwise)

    def _again(
        self,
        checkpointer: Optional[Checkpointer],
        update: Optional[Mapping[str, Any]],
        checkpoint_id: Optional[str],
        feed: Optional[Feeds],
    ) -> _Run:
        keeper = checkpointer or self._checkpointer
        if keeper is None:
            raise CheckpointError("resume needs the checkpointer that the run was given; pass it as `checkpointer`")
        record = keeper.load(checkpoint_id)
        if record.workflow_hash != self.workflow_hash:
            raise CheckpointError(
                f"checkpoint {record.checkpoint_id} belongs to another version of this workflow; "
                "resume it with the document it was written by, or start a new run"
            )
        outside = ends_of(self.graph, self.flow[record.step :], feed, can_read=False)
        return _Run(self, keeper, record, dict(update or {}), outside)

    def _handle(self, run: _Run, echo_output: bool) -> RunHandle:
        return RunHandle(self._handed_over(run, echo_output), run.scheduler, partial(new_tap, self.graph, self.flow))

    def _last(self, run: _Run, echo_output: bool) -> RunResult:
        for event in run.events():
            if isinstance(event, RunFinished):
                return event.result
            if echo_output:
                echo(event)
        raise RuntimeError("a run ended without its last event")

    def _handed_over(
        self, run: _Run, echo_output: bool, progress_seconds: Optional[float] = None
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        if progress_seconds is not None and not progress_seconds > 0:
            raise ValueError(f"progress_seconds must be above 0, not {progress_seconds}; leave it out for no progress")
        run.scheduler.report_progress(progress_seconds)
        events = run.events()
        try:
            for event in events:
                if echo_output and not isinstance(event, RunFinished):
                    echo(event)
                with run.scheduler.hands_off():
                    yield event
        finally:
            events.close()


class _Run:
    """One run of one compiled graph: where it is, and how it ends."""

    def __init__(
        self,
        app: CompiledGraph,
        checkpointer: Optional[Checkpointer],
        place: Checkpoint,
        update: dict[str, Any],
        outside: Outside,
        stepwise: bool = False,
    ) -> None:
        self._app, self._checkpointer, self._place = app, checkpointer, place
        state = {**place.state[_STATE], **update}
        self.scheduler = Scheduler(
            app.graph, state, place.run_id, own_streams=app.own_streams, outside=outside, stepwise=stepwise
        )
        self.scheduler.waiting = _results_from(place.state[_WAITING])
        self._started = calls.table.monotonic()

    def events(self) -> Any:
        """Every event, then `RunFinished`."""
        flow = self._app.flow
        for index in range(self._place.step, len(flow)):
            step = flow[index]
            if self._pauses(step, "before", index):
                yield RunFinished(self._pause(step, "before", index))
                return
            try:
                yield from self.scheduler.step(step)
            except WorkflowFailed as failed:
                raise WorkflowFailed(failed.primary, failed.collateral, self._result("failed", failed.result)) from None
            if self._pauses(step, "after", index):
                yield RunFinished(self._pause(step, "after", index + 1))
                return
        yield RunFinished(self._result("finished", self.scheduler.state))

    def _pauses(self, step: Step, when: str, index: int) -> bool:
        if not isinstance(step, Call):
            return False
        node = self._app.graph.node(step.node)
        if when == "after":
            return node.interrupt_after
        return node.interrupt_before and not self._was_paused_before(step.node, index)

    def _was_paused_before(self, node: str, index: int) -> bool:
        return (self._place.node, self._place.when, self._place.step) == (node, "before", index)

    def _pause(self, step: Step, when: str, index: int) -> RunResult:
        node = step.node if isinstance(step, Call) else ""
        checkpointer = self._checkpointer or MemoryCheckpointer()
        kept = {_STATE: dict(self.scheduler.state), _WAITING: _results_as_data(self.scheduler.waiting)}
        record = Checkpoint(self._place.run_id, index, node, when, self._app.workflow_hash, kept)
        checkpoint_id = checkpointer.save(record)
        paused = self._result("paused", self.scheduler.state)
        return replace(paused, pause=Pause(node, when), checkpoint_id=checkpoint_id)

    def _result(self, status: str, state: Mapping[str, Any]) -> RunResult:
        return RunResult(
            state=dict(state),
            nodes=self.scheduler.nodes,
            channels=self.scheduler.channels,
            duration=calls.table.monotonic() - self._started,
            status=status,
            run_id=self._place.run_id,
        )


def _results_as_data(waiting: Mapping[str, ParallelResults]) -> dict[str, Any]:
    return {node: [asdict(result) for result in results] for node, results in waiting.items()}


def _results_from(data: Mapping[str, Any]) -> dict[str, ParallelResults]:
    return {node: ParallelResults(ParallelFlowResult(**each) for each in results) for node, results in data.items()}


def _registry(graph: Graph) -> StreamRegistry:
    """Every declared channel, by its producer and its consumers; nothing is opened."""
    registry = StreamRegistry()
    size = graph.parallel.streams.buffer_size
    for node in graph.nodes:
        for stream in StreamDirection:
            name = getattr(node.streams, stream.value, None)
            if name is not None:
                registry.register(name, stream, buffer_size=size, node_name=node.name)
    return registry
