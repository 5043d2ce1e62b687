"""The one scheduler: walks the steps of a flow, one after another.

`run`, `stream`, `invoke` and `resume` are filters over its events. A plain node runs in the calling process, a
fan-out by its strategy, a stream section in forked workers. The state is one dict changed in place, step by step;
inside a process branch the same scheduler walks the branch's steps on the worker's own tracked state, so that nested
fan-outs and sections are nothing special. Laws: the error is raised with the state before the step that failed (L6);
a plain node's own exception keeps its type and traceback.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterator, Mapping, Optional, Sequence, Union

from teastreams.core.control.bodies import Body as NodeBody
from teastreams.core.control.deciding import Undecided, chosen
from teastreams.core.control.flow import ENTRY, Branch, Call, Fork, Line, Section, Step
from teastreams.core.events import (
    BranchesFinished,
    NodeFinished,
    NodeOutput,
    NodeRetried,
    NodeStarted,
    RunEvent,
    StateChanged,
    Warned,
)
from teastreams.core.graph import END, START, Edge, Graph, ParallelConfig
from teastreams.core.language.trees import stored
from teastreams.core.merge import (
    ParallelFlowResult,
    ParallelResults,
    Update,
    as_parts,
    composed,
    only,
    returned,
)
from teastreams.core.outcome import Status
from teastreams.core.state.schema import StateSchema
from teastreams.engine.attempts import tried
from teastreams.engine.calling import Context, body_of
from teastreams.engine.executing import Executors
from teastreams.engine.joining import join, refuse_conflicts, refuse_initial
from teastreams.engine.outcomes import branch_error, figures_of, node_error
from teastreams.engine.services import Services, for_node
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.executors.circuits import Circuits
from teastreams.executors.flows import BranchFlow
from teastreams.runtime import calls
from teastreams.runtime.bound import OWN_STREAMS
from teastreams.runtime.node.branch import BranchBody
from teastreams.runtime.node.ending import BranchFailed
from teastreams.runtime.node.tracked import TrackedState, snapshot
from teastreams.runtime.secrecy import masked, safe_cause
from teastreams.runtime.supervision.figures import BranchFigures, ChannelFigures, NodeFigures
from teastreams.runtime.supervision.outside import Outside

if TYPE_CHECKING:
    from teastreams.executors.process import ProcessExecutor
    from teastreams.executors.thread import Stop
    from teastreams.runtime.supervision.supervisor import Supervisor

Body = Callable[[dict[str, Any]], Any]


class Scheduler:
    """Runs steps on one state. `nodes` and `channels` collect figures of everything that ran.

    `waiting` holds the results of fan-outs whose fan-in node has not run yet, by that node's name, `result` what the
    last plain node returned, for conditions, `handled` the errors in whose place fallbacks run just now, by the
    fallback's name, `services` what is open for all nodes of the run.
    `outside` are the ends of channels that the caller feeds and reads; with `stepwise`, a `Waiting` stands before each
    wait. `circuits` are those of the runs before, `stop` is what stops the thread of a branch that this runs in.
    """

    def __init__(
        self,
        graph: Graph,
        state: dict[str, Any],
        run_id: str = "",
        nested: bool = False,
        *,
        own_streams: Mapping[str, int] = OWN_STREAMS,
        outside: Optional[Outside] = None,
        stepwise: bool = False,
        circuits: Optional[Circuits] = None,
        stop: Optional[Stop] = None,
    ) -> None:
        self.outside = outside or Outside()
        self.graph, self.state, self.run_id, self._nested = graph, state, run_id, nested
        self.nodes: dict[str, NodeFigures] = {}
        self.channels: dict[str, ChannelFigures] = {}
        self.waiting: dict[str, ParallelResults] = {}
        self.result: Any = None
        self.handled: dict[str, NodeError] = {}
        self.services: Services = {}
        self._stop = stop
        self._executors = Executors(own_streams, stepwise, circuits, stop)
        self._begun = False
        self.touched: set[str] = set()

    def report_progress(self, every_seconds: Optional[float]) -> None:
        """Ask for `Progress` events of everything that runs in workers; None for none."""
        self._executors.report_progress(every_seconds)

    def step(self, step: Step) -> Iterator[RunEvent]:
        """Run one step; `WorkflowFailed`, whose result is the state before the step, when it fails."""
        before = snapshot(self.state)
        try:
            if not (self._nested or self._begun):
                refuse_initial(self.graph.schema, self.state, START)
            self._begun = True
            yield from self._run(step)
        except WorkflowFailed as failed:
            raise WorkflowFailed(failed.primary, failed.collateral, before) from failed.__cause__
        yield StateChanged(last_node(step), snapshot(self.state))

    def after(self, line: Line, index: int) -> int:
        """The index of the step that comes next, `ENTRY` being before the first; the length of the line at its end.

        WorkflowFailed when a condition raises, or when none holds and there is no way without one.
        """
        exits = line.exits(index)
        if len(exits) == 1 and exits[0].condition is None:
            return exits[0].to
        node = START if index == ENTRY else last_node(line[index])
        try:
            return chosen(exits, self.state, self.graph.variables, self.result)
        except Undecided as error:
            failed = NodeError(node, "route", masked(str(error)), error_type=error.error_type)
            failed.__cause__ = safe_cause(error.__cause__)
            raise WorkflowFailed(failed, result=dict(self.state)) from failed.__cause__

    def walk(self, line: Line) -> Iterator[RunEvent]:
        """Run a line from its entry to its end."""
        index = self.after(line, ENTRY)
        while index < len(line):
            yield from self.step(line[index])
            index = self.after(line, index)

    @contextmanager
    def hands_off(self) -> Iterator[None]:
        """Give the host its signal handlers back while its own code runs between two events."""
        supervisor = self.supervisor
        with supervisor.interrupts.released() if supervisor is not None else nullcontext():
            yield

    @property
    def supervisor(self) -> Optional[Supervisor]:
        """Who is at work right now; None between two steps and in a plain node."""
        return self._executors.at_work

    @property
    def process(self) -> ProcessExecutor:
        """Who runs sections, and branches in processes."""
        return self._executors.process

    def take_results(self, node: str) -> Optional[ParallelResults]:
        """The results of the fan-out that joins at this node, once."""
        return self.waiting.pop(node, None)

    def _run(self, step: Step) -> Iterator[RunEvent]:
        if isinstance(step, Call):
            return tried(self, step.node, lambda: self.call(step.node))
        if isinstance(step, Fork):
            return self._fork(step)
        from teastreams.engine import sections  # with the whole runtime: only a run that has a section needs it

        if len(step.members) == 1 and not step.branches:
            return tried(self, step.members[0], lambda: sections.events(self, step))
        return sections.events(self, step)

    def pause(self, seconds: float) -> bool:
        """Wait between two attempts; False when the run is stopping. In the main thread a signal ends the wait."""
        if self._stop is None:
            calls.table.sleep(seconds)
            return True
        self._stop.wait(seconds)
        return self._stop.who is None

    # -- plain nodes ----------------------------------------------------------------------------------------

    def call(self, name: str) -> Iterator[RunEvent]:
        """Run one plain node once."""
        yield NodeStarted(name)
        started = calls.table.monotonic()
        body = self.graph.node(name).body
        if body is not None:
            yield from self._embody(name, body, started)
            return
        error = self._perform(name)
        seconds = calls.table.monotonic() - started
        status = Status.DONE if error is None else Status.FAILED
        self.nodes[name] = NodeFigures(status, seconds, error=error)
        yield NodeFinished(name, status.name.lower(), seconds)
        if error is not None:
            raise WorkflowFailed(error)

    def _embody(self, name: str, body: NodeBody, started: float) -> Iterator[RunEvent]:
        """A node that holds other nodes; who failed inside is named by its own name."""
        try:
            from teastreams.engine import bodies  # only a node that holds other nodes needs it

            yield from bodies.events(self, name, body)
        except WorkflowFailed as failed:
            seconds = calls.table.monotonic() - started
            self.nodes[name] = NodeFigures(Status.FAILED, seconds, error=failed.primary)
            yield NodeFinished(name, "failed", seconds)
            raise
        seconds = calls.table.monotonic() - started
        self.nodes[name] = NodeFigures(Status.DONE, seconds)
        yield NodeFinished(name, "done", seconds)

    def within(self, graph: Graph, state: dict[str, Any]) -> Scheduler:
        """A scheduler for a body in the same process: it has the same executors, so that signals find who works."""
        inner = Scheduler(self._inheriting(graph), state, self.run_id, self._nested, stop=self._stop)
        inner._executors, inner.touched = self._executors, self.touched
        inner.services, inner._begun = self.services, True
        return inner

    def nested(self, graph: Graph, state: dict[str, Any], strategy: str) -> Scheduler:
        """A scheduler for a branch, in its thread or its process."""
        threads = strategy == "thread"
        circuits = self._executors.circuits if threads else self._executors.circuits.inherited()
        stop = self._executors.thread.stop if threads else None
        inner = Scheduler(self._inheriting(graph), state, self.run_id, nested=True, circuits=circuits, stop=stop)
        inner.services = self.services
        return inner

    def _inheriting(self, graph: Graph) -> Graph:
        """A body that says nothing of the state works by what the whole workflow says."""
        return (
            graph if graph is self.graph or graph.schema != StateSchema() else replace(graph, schema=self.graph.schema)
        )

    def merge(self, name: str, update: Update) -> None:
        """Let what the node `name` changed join the state. WorkflowFailed when the schema refuses it."""
        self.merge_all({name: as_parts(update, self.state, self.graph.schema.reducers)})

    def merge_all(self, updates: Mapping[str, Update]) -> None:
        for update in updates.values():
            self.touched |= update.values.keys()
        join(self.graph.schema, self.state, updates)

    def _perform(self, name: str) -> Optional[NodeError]:
        """Run one plain node on the state; its own exception as a `NodeError`."""
        try:
            value = self.function_of(name)(self.state)
            self.result = value.values if isinstance(value, Update) else value
            value = self.stored(name, value, self.state)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code in (None, 0):
                return None
            if isinstance(error, SystemExit) and self._nested and not self.graph.node(name).patient:
                raise  # the exit code of a branch is that of its worker
            return node_error(name, error)
        return self._take(name, value)

    def _take(self, name: str, value: Any) -> Optional[NodeError]:
        """Merge what a plain node returned; why it was refused, if it was."""
        own = value is None or value is self.state
        update = Update() if own else value if isinstance(value, Update) else Update(returned(value))
        schema = self.graph.schema
        try:
            self.touched |= update.values.keys()
            join(schema, self.state, {name: as_parts(update, self.state, schema.reducers)}, in_place=True)
        except WorkflowFailed as refused:
            return refused.primary
        return None

    def stored(self, name: str, value: Any, state: Mapping[str, Any]) -> Any:
        """What a node's value sets: by its `output`, if it has one."""
        output = self.graph.node(name).output
        return value if output is None else stored(output, value, state, self.graph.variables)

    def function_of(self, name: str) -> Body:
        run = self.graph.node(name).run
        if run is None:
            raise RuntimeError(f"node {name!r} has no function; rules.check refuses such a graph")
        services = for_node(self.services, self.pause)
        context = Context(name, self.run_id, self.graph.variables, self.handled.get(name), services)
        return body_of(run, context, self.take_results(name))

    # -- fan-outs -------------------------------------------------------------------------------------------

    def _fork(self, step: Fork) -> Iterator[RunEvent]:
        collects = step.edge.merges or bool(self.graph.schema.reducers)
        flows = [self.branch_flow(branch, self.state, step.strategy, collects) for branch in step.branches]
        results = yield from self.run_branches(flows, replace(self.config(step.edge), strategy=step.strategy))
        yield from self.collect(step.fan_in, results, step.edge)
        known = self._executors.thread.updates if step.strategy == "thread" else self.process.updates
        self.merge_branches({b.target: [known[b.target]] for b in step.branches if b.target in known}, step)

    def merge_branches(self, changed: Mapping[str, Sequence[Update]], step: Union[Fork, Section]) -> None:
        """What branches changed joins the state: every key without a written fan-in, else those with a reducer."""
        reducers = self.graph.schema.reducers
        updates = {name: composed(each, reducers) for name, each in changed.items()}
        if step.edge is None or not step.edge.merges:
            updates = {name: only(update, reducers) for name, update in updates.items()}
        refuse_conflicts(updates)
        self.merge_all(updates)

    def run_branches(
        self, flows: Sequence[BranchFlow], config: ParallelConfig
    ) -> Generator[RunEvent, None, list[ParallelFlowResult]]:
        """Run branches by the strategy of `config`; their results in the order given, failed ones among them."""
        strategy = config.strategy
        if strategy == "thread":
            for flow in flows:
                yield NodeStarted(flow.node_name)
            results = self._executors.thread.execute(flows, config)
            yield from self._executors.thread.retried
        else:
            results = yield from self.process.events(flows, config)
        for flow, result in zip(flows, results):
            known = self.process.figures.get(result.branch) if strategy != "thread" else None
            self.note(flow, figures_of(result, known), strategy)
        return results

    def config(self, edge: Optional[Edge]) -> ParallelConfig:
        """The settings for the branches of an edge."""
        return self.graph.parallel if edge is None else edge.over(self.graph.parallel)

    def note(self, flow: BranchFlow, whole: NodeFigures, strategy: str) -> None:
        """Keep the figures of a branch and of all nodes in it."""
        inner = self.process.branches.pop(flow.node_name, BranchFigures())
        if strategy == "thread" and isinstance(flow.run, BranchBody):
            inner = flow.run.figures
        self.nodes.update(inner.nodes_in(flow.node_name, whole))
        self.channels.update(inner.channels)

    def collect(
        self, fan_in: str, results: Sequence[ParallelFlowResult], edge: Optional[Edge] = None
    ) -> Iterator[RunEvent]:
        """Keep the results for the node `fan_in`; WorkflowFailed when a branch has failed, unless the edge bears it."""
        yield BranchesFinished(fan_in, tuple(results))
        failed = {result.branch: result for result in results if not result.success}
        if failed and edge is not None and edge.on_error.mode == "graceful":
            for result in failed.values():
                yield Warned(f"{branch_error(result)}; the run goes on with the result of the failed branch")
        elif failed:
            known = self._executors.errors()
            told = [error for name, error in known.items() if name in failed]
            told += [branch_error(result) for name, result in failed.items() if name not in known]
            raise WorkflowFailed(told[0], told[1:])
        if fan_in != END:
            self.waiting[fan_in] = ParallelResults(results)

    def branch_flow(
        self, branch: Branch, state: Mapping[str, Any], strategy: str = "process", collects: bool = False
    ) -> BranchFlow:
        body = self._nested_body(branch.steps, strategy, collects)
        return BranchFlow(branch.target, body, state, reducers=self.graph.schema.reducers)

    def _nested_body(self, steps: Line, strategy: str, collects: bool) -> Body:
        """The steps of a branch as one function that changes its state in place.

        With `collects` it returns what it changed, where the state does not keep track of that already.
        """
        reducers = self.graph.schema.reducers

        def body(state: dict[str, Any], figures: BranchFigures) -> Optional[Update]:
            tracked = TrackedState(state, reducers) if collects and not isinstance(state, TrackedState) else None
            inner = self.nested(self.graph, state if tracked is None else tracked, strategy)
            inner.nodes, inner.channels = figures.nodes, figures.channels
            try:
                for event in inner.walk(steps):
                    echo(event)
            except WorkflowFailed as failed:
                raise BranchFailed(failed.primary) from failed
            return None if tracked is None else tracked.difference()

        return BranchBody(body)


def last_node(step: Step) -> str:
    """The node by which a step is known in events."""
    if isinstance(step, Call):
        return step.node
    return step.members[-1] if isinstance(step, Section) else step.edge.source


def echo(event: RunEvent) -> None:
    """Write a node's output that is no channel to stderr, one line at a time, with the node's name; warnings, too."""
    if isinstance(event, NodeOutput) and sys.stderr is not None:
        sys.stderr.write(f"[{event.node}] {event.text}\n")
    elif isinstance(event, (Warned, NodeRetried)) and sys.stderr is not None:
        sys.stderr.write(f"teastreams: {event}\n")
