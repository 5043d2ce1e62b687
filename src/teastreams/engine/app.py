"""A compiled workflow: run it, watch it, resume it.

`run`, `stream` and `invoke` are three views of one generator of events; `resume` is the same one with a later start. An
interrupt stands before or after a plain node of the main line: the state, and the results that wait for a fan-in, go
into a checkpoint, and the run ends as paused. A node is never run twice by a resume.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, replace
from typing import IO, Any, Iterator, Mapping, Optional, Union

from teastreams.checkpoint import Checkpoint, Checkpointer, CheckpointError, MemoryCheckpointer
from teastreams.core.events import RunEvent
from teastreams.core.flow import Call, Flow, Step, flow_of, nodes_in
from teastreams.core.graph import Graph
from teastreams.core.merge import ParallelFlowResult, ParallelResults
from teastreams.engine.results import Pause, RunFinished, RunResult, as_dicts, last_dict
from teastreams.engine.scheduler import Scheduler, echo
from teastreams.errors import WorkflowFailed
from teastreams.runtime import calls
from teastreams.runtime.channels import StreamDirection, StreamRegistry
from teastreams.runtime.outside import OWN_STREAMS

Stream = Union[int, IO[Any]]
_STATE, _WAITING = "state", "waiting"


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
        own = {n: each if isinstance(each, int) else each.fileno() for n, each in given.items() if each is not None}
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
    ) -> RunResult:
        """Run to the end, or to the next interrupt, and return the `RunResult`.

        `state` is copied, one level deep. Output of nodes that is no channel goes to stderr unless `echo_output` is
        False.

        Raises:
            WorkflowFailed: a node failed; the cause first, the consequences after it.
            LimitError, PlatformError: this machine cannot run it now; nothing was left behind.
            KeyboardInterrupt: Ctrl-C, after an ordered stop of every node.
        """
        return self._last(self._begin(state, checkpointer), echo_output)

    def stream(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        """Run and yield typed events as they happen; the last one is `RunFinished`.

        Between two events the host's own signal handlers are in place. Closing the generator ends every node. Raises as
        `run` does.
        """
        return self._handed_over(self._begin(state, checkpointer), echo_output)

    def invoke(
        self,
        state: Optional[Mapping[str, Any]] = None,
        *,
        checkpointer: Optional[Checkpointer] = None,
        echo_output: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Run and yield dict events, ending in {"type": "final", "state": ...}.

        A pause ends it with an `interrupt_before` or `interrupt_after` event, a failure with {"type": "error", ...}
        whose "exception" is the `WorkflowFailed` that `run` would have raised.
        """
        try:
            for event in self.stream(state, checkpointer=checkpointer, echo_output=echo_output):
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
    ) -> RunResult:
        """Go on from a checkpoint, the newest one unless `checkpoint_id` is given, with `update` merged into the state.

        Raises what `run` raises, and `CheckpointError` when there is none or it belongs to another workflow.
        """
        return self._last(self._again(checkpointer, update, checkpoint_id), echo_output)

    def resume_stream(
        self,
        checkpointer: Optional[Checkpointer] = None,
        update: Optional[Mapping[str, Any]] = None,
        *,
        checkpoint_id: Optional[str] = None,
        echo_output: bool = True,
    ) -> Iterator[Union[RunEvent, RunFinished]]:
        """`resume`, told as it happens, as `stream` tells `run`."""
        return self._handed_over(self._again(checkpointer, update, checkpoint_id), echo_output)

    @property
    def workflow_hash(self) -> str:
        """Names the shape of the workflow: a checkpoint is resumed only into the shape that wrote it."""
        text = repr([(type(step).__name__, tuple(nodes_in((step,)))) for step in self.flow])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _begin(self, state: Optional[Mapping[str, Any]], checkpointer: Optional[Checkpointer]) -> _Run:
        place = Checkpoint(
            secrets.token_hex(8), 0, "", "after", self.workflow_hash, {_STATE: dict(state or {}), _WAITING: {}}
        )
        return _Run(self, checkpointer or self._checkpointer, place, {})

    def _again(
        self, checkpointer: Optional[Checkpointer], update: Optional[Mapping[str, Any]], checkpoint_id: Optional[str]
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
        return _Run(self, keeper, record, dict(update or {}))

    def _last(self, run: _Run, echo_output: bool) -> RunResult:
        for event in run.events():
            if isinstance(event, RunFinished):
                return event.result
            if echo_output:
                echo(event)
        raise RuntimeError("a run ended without its last event")

    def _handed_over(self, run: _Run, echo_output: bool) -> Iterator[Union[RunEvent, RunFinished]]:
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
        self, app: CompiledGraph, checkpointer: Optional[Checkpointer], place: Checkpoint, update: dict[str, Any]
    ) -> None:
        self._app, self._checkpointer, self._place = app, checkpointer, place
        state = {**place.state[_STATE], **update}
        self.scheduler = Scheduler(app.graph, state, place.run_id, own_streams=app.own_streams)
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
