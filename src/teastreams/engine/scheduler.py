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
from typing import Any, Callable, Generator, Iterator, Mapping, Optional, Sequence, Union

from teastreams.core.deciding import Undecided, chosen
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
from teastreams.core.flow import ENTRY, Branch, Call, Fork, Line, Section, Step
from teastreams.core.graph import END, START, Edge, Graph, ParallelConfig
from teastreams.core.language.templates import TemplateError
from teastreams.core.merge import (
    ParallelFlowResult,
    ParallelResults,
    Update,
    as_parts,
    composed,
    merged,
    only,
    returned,
)
from teastreams.core.outcome import Status
from teastreams.core.plan import SectionPlan
from teastreams.core.state.reducers import Reducers
from teastreams.engine.attempts import tried
from teastreams.engine.calling import Context, body_of
from teastreams.engine.filling import filled_program, filled_streams
from teastreams.engine.joining import join, refuse_conflicts, refuse_initial
from teastreams.engine.services import Services, for_node
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.executors.circuits import Circuits
from teastreams.executors.flows import BranchFlow
from teastreams.executors.process import ProcessExecutor, section_order
from teastreams.executors.thread import Stop, ThreadExecutor
from teastreams.runtime import calls
from teastreams.runtime.bound import OWN_STREAMS
from teastreams.runtime.node.branch import BranchBody
from teastreams.runtime.node.ending import BranchFailed, error_text
from teastreams.runtime.node.tracked import TrackedState, snapshot
from teastreams.runtime.supervision.figures import BranchFigures, ChannelFigures, NodeFigures, SectionOutcome
from teastreams.runtime.supervision.outside import Outside
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
        circuits = circuits or Circuits()
        self._process = ProcessExecutor(own_streams, stepwise, circuits)
        self._thread = ThreadExecutor(circuits=circuits, above=stop)
        self._begun = False

    def report_progress(self, every_seconds: Optional[float]) -> None:
        """Ask for `Progress` events of everything that runs in workers; None for none."""
        self._process.progress_seconds = every_seconds

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
            failed = NodeError(node, "route", str(error), error_type=error.error_type)
            failed.__cause__ = error.__cause__
            raise WorkflowFailed(failed, result=dict(self.state)) from error.__cause__

    def walk(self, line: Line) -> Iterator[RunEvent]:
        """Run a line from its entry to its end."""
        index = self.after(line, ENTRY)
        while index < len(line):
            yield from self.step(line[index])
            index = self.after(line, index)

    @contextmanager
    def hands_off(self) -> Iterator[None]:
        """Give the host its signal handlers back while its own code runs between two events."""
        supervisor = self._process.current
        with supervisor.interrupts.released() if supervisor is not None else nullcontext():
            yield

    @property
    def supervisor(self) -> Optional[Supervisor]:
        """Who is at work right now; None between two steps and in a plain node."""
        return self._process.current

    def take_results(self, node: str) -> Optional[ParallelResults]:
        """The results of the fan-out that joins at this node, once."""
        return self.waiting.pop(node, None)

    def _run(self, step: Step) -> Iterator[RunEvent]:
        if isinstance(step, Call):
            return tried(self, step.node, lambda: self.call(step.node))
        if isinstance(step, Fork):
            return self._fork(step)
        if len(step.members) == 1 and not step.branches:
            return tried(self, step.members[0], lambda: self._section(step))
        return self._section(step)

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
        error = self._perform(name)
        seconds = calls.table.monotonic() - started
        status = Status.DONE if error is None else Status.FAILED
        self.nodes[name] = NodeFigures(status, seconds, error=error)
        yield NodeFinished(name, status.name.lower(), seconds)
        if error is not None:
            raise WorkflowFailed(error)

    def _perform(self, name: str) -> Optional[NodeError]:
        """Run one plain node on the state; its own exception as a `NodeError`."""
        try:
            value = self._body(name)(self.state)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code in (None, 0):
                return None
            if isinstance(error, SystemExit) and self._nested and not self.graph.node(name).patient:
                raise  # the exit code of a branch is that of its worker
            return _node_error(name, error)
        self.result = value.values if isinstance(value, Update) else value
        return self._take(name, value)

    def _take(self, name: str, value: Any) -> Optional[NodeError]:
        """Merge what a plain node returned; why it was refused, if it was."""
        own = value is None or value is self.state
        update = Update() if own else value if isinstance(value, Update) else Update(returned(value))
        schema = self.graph.schema
        try:
            join(schema, self.state, {name: as_parts(update, self.state, schema.reducers)}, in_place=True)
        except WorkflowFailed as refused:
            return refused.primary
        return None

    def _body(self, name: str) -> Body:
        run = self.graph.node(name).run
        if run is None:
            raise RuntimeError(f"node {name!r} has no function; rules.check refuses such a graph")
        services = for_node(self.services, self.pause)
        context = Context(name, self.run_id, self.graph.variables, self.handled.get(name), services)
        return body_of(run, context, self.take_results(name))

    # -- fan-outs -------------------------------------------------------------------------------------------

    def _fork(self, step: Fork) -> Iterator[RunEvent]:
        collects = step.edge.merges or bool(self.graph.schema.reducers)
        flows = [self._branch_flow(branch, self.state, step.strategy, collects) for branch in step.branches]
        results = yield from self._run_branches(flows, step.strategy, step.edge)
        yield from self._join(step.fan_in, results, step.edge)
        known = self._thread.updates if step.strategy == "thread" else self._process.updates
        self._merge({branch.target: [known[branch.target]] for branch in step.branches if branch.target in known}, step)

    def _merge(self, changed: Mapping[str, Sequence[Update]], step: Union[Fork, Section]) -> None:
        """What branches changed joins the state: every key without a written fan-in, else those with a reducer."""
        reducers = self.graph.schema.reducers
        updates = {name: composed(each, reducers) for name, each in changed.items()}
        if step.edge is None or not step.edge.merges:
            updates = {name: only(update, reducers) for name, update in updates.items()}
        refuse_conflicts(updates)
        join(self.graph.schema, self.state, updates)

    def _run_branches(
        self, flows: Sequence[BranchFlow], strategy: str, edge: Optional[Edge]
    ) -> Generator[RunEvent, None, list[ParallelFlowResult]]:
        config = replace(self._config(edge), strategy=strategy)
        if strategy == "thread":
            for flow in flows:
                yield NodeStarted(flow.node_name)
            results = self._thread.execute(flows, config)
            yield from self._thread.retried
        else:
            results = yield from self._process.events(flows, config)
        for flow, result in zip(flows, results):
            known = self._process.figures.get(result.branch) if strategy != "thread" else None
            self._note(flow, _figures(result, known), strategy)
        return results

    def _config(self, edge: Optional[Edge]) -> ParallelConfig:
        """The settings for the branches of an edge."""
        return self.graph.parallel if edge is None else edge.over(self.graph.parallel)

    def _note(self, flow: BranchFlow, whole: NodeFigures, strategy: str) -> None:
        """Keep the figures of a branch and of all nodes in it."""
        inner = self._process.branches.pop(flow.node_name, BranchFigures())
        if strategy == "thread" and isinstance(flow.run, BranchBody):
            inner = flow.run.figures
        self.nodes.update(inner.nodes_in(flow.node_name, whole))
        self.channels.update(inner.channels)

    def _join(self, fan_in: str, results: Sequence[ParallelFlowResult], edge: Optional[Edge]) -> Iterator[RunEvent]:
        yield BranchesFinished(fan_in, tuple(results))
        failed = {result.branch: result for result in results if not result.success}
        if failed and edge is not None and edge.on_error.mode == "graceful":
            for result in failed.values():
                yield Warned(f"{_branch_error(result)}; the run goes on with the result of the failed branch")
        elif failed:
            known = {**self._thread.errors, **self._process.errors}
            told = [error for name, error in known.items() if name in failed]
            told += [_branch_error(result) for name, result in failed.items() if name not in known]
            raise WorkflowFailed(told[0], told[1:])
        if fan_in != END:
            self.waiting[fan_in] = ParallelResults(results)

    def _branch_flow(
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
            if strategy == "thread":
                circuits, stop = self._thread.circuits, self._thread.stop
            else:
                circuits, stop = self._thread.circuits.inherited(), None
            tracked = TrackedState(state, reducers) if collects and not isinstance(state, TrackedState) else None
            own = state if tracked is None else tracked
            inner = Scheduler(self.graph, own, self.run_id, nested=True, circuits=circuits, stop=stop)
            inner.services = self.services
            inner.nodes, inner.channels = figures.nodes, figures.channels
            try:
                for event in inner.walk(steps):
                    echo(event)
            except WorkflowFailed as failed:
                raise BranchFailed(failed.primary) from failed
            return None if tracked is None else tracked.difference()

        return BranchBody(body)

    # -- stream sections ------------------------------------------------------------------------------------

    def _section(self, step: Section) -> Iterator[RunEvent]:
        companions = [branch for branch in step.branches if branch.target not in step.members]
        flows = [self._member_flow(name) for name in step.members]
        flows += [self._branch_flow(branch, self.state) for branch in companions]
        order = section_order(flows, self._config(step.edge), outside=self.outside)
        outcome = yield from self._process.supervise(order)
        self.nodes.update(outcome.nodes)
        self.channels.update(outcome.channels)
        for flow in flows[len(step.members) :]:
            if flow.node_name in outcome.nodes:
                self._note(flow, outcome.nodes[flow.node_name], "process")
        if outcome.primary is not None:
            raise WorkflowFailed(outcome.primary, outcome.collateral)
        if step.fan_in is None:
            keyed = {name: only(update, self.graph.schema.reducers) for name, update in outcome.updates.items()}
            refuse_conflicts(keyed, order.plan.upstream)
            join(self.graph.schema, self.state, outcome.updates)
        else:
            yield from self._join_section(step, outcome, order.plan)

    def _member_flow(self, name: str) -> BranchFlow:
        node = self.graph.node(name)
        values = {"state": self.state, "variables": self.graph.variables}
        try:
            streams = filled_streams(node.streams, values)
            body = self._body(name) if node.command is None else filled_program(node.command, values)
        except TemplateError as error:
            failed = NodeError(name, "start", f"{error}; {error.fix}", error_type="TemplateError")
            raise WorkflowFailed(failed) from None
        return BranchFlow(name, body, self.state, streams, node.timeout_seconds, self.graph.schema.reducers)

    def _join_section(self, step: Section, outcome: SectionOutcome, plan: SectionPlan) -> Iterator[RunEvent]:
        """Branches keep their own updates; what belongs to no branch (the producer) joins the state."""
        targets = [branch.target for branch in step.branches]
        owners = _owners(plan, targets)
        entry = dict(self.state)
        join(self.graph.schema, self.state, {n: each for n, each in outcome.updates.items() if n not in owners})
        reducers = self.graph.schema.reducers
        results = [_member_result(target, entry, outcome, plan, owners, reducers) for target in targets]
        changed = {
            target: [each for name, each in outcome.updates.items() if owners.get(name) == target] for target in targets
        }
        tails = {branch.target: branch for branch in step.branches if branch.target in step.members and branch.steps}
        if tails:
            flows = [self._branch_flow(tails[r.branch], r.state) for r in results if r.branch in tails]
            tried = yield from self._run_branches(flows, "process", step.edge)
            ended = {result.branch: result for result in tried}
            results = [ended.get(result.branch, result) for result in results]
            for name, update in self._process.updates.items():
                changed[name].append(update)
        yield from self._join(step.fan_in or "", results, step.edge)
        self._merge(changed, step)


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


def _owners(plan: SectionPlan, targets: Sequence[str]) -> dict[str, str]:
    """Which branch each node belongs to: a target to its own, what is below a target to the nearest one above."""
    owners = {target: target for target in targets}
    for name in plan.nodes:
        above = [each for each in plan.upstream[name] if each in targets]
        if name not in owners and above:
            owners[name] = above[-1]
    return owners


def _member_result(
    target: str,
    entry: Mapping[str, Any],
    outcome: SectionOutcome,
    plan: SectionPlan,
    owners: Mapping[str, str],
    reducers: Reducers,
) -> ParallelFlowResult:
    """A branch's state: that at section entry, with what its upstream and its own nodes returned."""
    seen = [name for name in plan.nodes if name in plan.upstream[target] or owners.get(name) == target]
    figures = outcome.nodes[target]
    return ParallelFlowResult(
        branch=target,
        state=merged(entry, [outcome.updates[name] for name in seen if name in outcome.updates], reducers),
        timing_ms=figures.seconds * 1000,
        exit_code=figures.exit_code,
    )


def _figures(result: ParallelFlowResult, measured: Optional[NodeFigures]) -> NodeFigures:
    status = Status.DONE if result.success else Status.FAILED
    error = None if result.success else _branch_error(result)
    seconds = result.timing_ms / 1000
    figures = NodeFigures(status, seconds, result.exit_code, error, retry_count=result.retry_count)
    if measured is None:
        return figures
    return replace(figures, cpu_seconds=measured.cpu_seconds, peak_memory_bytes=measured.peak_memory_bytes)


def _branch_error(result: ParallelFlowResult) -> NodeError:
    text = result.error if result.error is not None else f"exit code {result.exit_code}"
    return NodeError(
        result.branch,
        "run",
        text,
        error_type=result.error_type or "",
        exit_code=result.exit_code,
        traceback=result.traceback or "",
    )


def _node_error(name: str, error: BaseException) -> NodeError:
    text = error_text(error)
    made = NodeError(
        name, "run", text.message, error_type=text.type, traceback=text.traceback, error_type_names=text.names
    )
    made.__cause__ = error  # the object itself, for a debugger in this process
    return made
