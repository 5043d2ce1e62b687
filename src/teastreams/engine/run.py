"""One run of a compiled workflow: where it is, when it pauses, what it keeps, and how it ends.

The scheduler does one step; here stands which one is next and what is kept between two of them: the state, and the
results that wait for a fan-in. An interrupt stands before or after a plain node of the main line, and the run ends as
paused. The checkpoints are written by `journal`; a finished node is never run twice by a resume.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, Mapping, Optional

from teastreams.checkpoint import Checkpoint, Checkpointer
from teastreams.core.control.flow import Call, Flow, Step
from teastreams.core.graph import Graph
from teastreams.core.merge import ParallelFlowResult, ParallelResults
from teastreams.engine.journal import Journal
from teastreams.engine.results import Pause, RunFinished, RunResult
from teastreams.engine.scheduler import Scheduler, last_node
from teastreams.errors import WorkflowFailed
from teastreams.executors.circuits import Circuits
from teastreams.runtime import calls
from teastreams.runtime.bound import OWN_STREAMS
from teastreams.runtime.supervision.outside import Outside
from teastreams.values import dataclass

STATE, WAITING, RESULT = "state", "waiting", "result"


@dataclass(frozen=True)
class Workflow:
    """What is to be run: the checked graph, its flow, and the caller's own streams.

    `circuits` are shared by all runs of it.
    """

    graph: Graph
    flow: Flow
    own_streams: Mapping[str, int] = field(default_factory=lambda: OWN_STREAMS)
    circuits: Circuits = field(default_factory=Circuits)


class Run:
    """One run of one compiled graph: where it is, and how it ends."""

    def __init__(
        self,
        workflow: Workflow,
        checkpointer: Optional[Checkpointer],
        place: Checkpoint,
        update: dict[str, Any],
        outside: Outside,
        stepwise: bool = False,
    ) -> None:
        self._workflow, self._place = workflow, place
        state = {**place.state[STATE], **update}
        self.scheduler = Scheduler(
            workflow.graph,
            state,
            place.run_id,
            own_streams=workflow.own_streams,
            outside=outside,
            stepwise=stepwise,
            circuits=workflow.circuits,
        )
        self.scheduler.waiting = results_from(place.state[WAITING])
        self.scheduler.result = place.state.get(RESULT)
        self._journal = Journal(checkpointer, place)
        self._started = calls.table.monotonic()

    def events(self) -> Any:
        """Every event, then `RunFinished`."""
        line, index = self._workflow.flow, self._first()
        self._journal.begin(self._kept(self._place.step), at_end=index >= len(line))
        while index < len(line):
            step = line[index]
            if self._pauses(step, "before", index):
                yield RunFinished(self._pause(step, "before", index))
                return
            try:
                yield from self.scheduler.step(step)
            except WorkflowFailed as failed:
                self._journal.failed(index, last_node(step))
                raise self._failed(failed) from None
            if self._pauses(step, "after", index):
                yield RunFinished(self._pause(step, "after", index))
                return
            index = self._finished(index)
        yield RunFinished(self._result("finished", self.scheduler.state))

    def _first(self) -> int:
        """Where the run begins, or goes on: after an interrupt before a node with that node, else behind it."""
        if self._place.when == "before":
            return self._place.step
        return self._after(self._place.step, self._place.node)

    def _finished(self, index: int) -> int:
        """Write down that a step finished; the index of the next one."""
        node = last_node(self._workflow.flow[index])
        following = self._after(index, node)
        self._journal.finished(index, node, self._kept(index), at_end=following >= len(self._workflow.flow))
        return following

    def _after(self, index: int, node: str) -> int:
        try:
            return self.scheduler.after(self._workflow.flow, index)
        except WorkflowFailed as failed:
            self._journal.undecided(index, node, self._kept(index))
            raise self._failed(failed) from None

    def _failed(self, failed: WorkflowFailed) -> WorkflowFailed:
        return WorkflowFailed(failed.primary, failed.collateral, self._result("failed", failed.result))

    def _pauses(self, step: Step, when: str, index: int) -> bool:
        if not isinstance(step, Call):
            return False
        node = self._workflow.graph.node(step.node)
        if when == "after":
            return node.interrupt_after
        resumed = not self.scheduler.nodes and (self._place.when, self._place.step) == ("before", index)
        return node.interrupt_before and not resumed

    def _asks_for_result(self, index: int) -> bool:
        """Will the way on from here depend on more than the state?"""
        return any(each.condition is not None for each in self._workflow.flow.exits(index))

    def _kept(self, index: int, pausing: bool = False) -> dict[str, Any]:
        """What a checkpoint at a step holds; nothing where none is written."""
        if not (self._journal.keeps or pausing):
            return {}
        return {
            STATE: dict(self.scheduler.state),
            WAITING: results_as_data(self.scheduler.waiting),
            **({RESULT: self.scheduler.result} if self._asks_for_result(index) else {}),
        }

    def _pause(self, step: Step, when: str, index: int) -> RunResult:
        node = last_node(step)
        checkpoint_id = self._journal.paused(index, node, when, self._kept(index, pausing=True))
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


def results_as_data(waiting: Mapping[str, ParallelResults]) -> dict[str, Any]:
    # Not asdict, which copies every value: a branch may have returned a gigabyte.
    return {node: [dict(vars(result)) for result in results] for node, results in waiting.items()}


def results_from(data: Mapping[str, Any]) -> dict[str, ParallelResults]:
    return {node: ParallelResults(ParallelFlowResult(**each) for each in results) for node, results in data.items()}
