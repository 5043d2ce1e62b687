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
from typing import Any, Callable, Generator, Iterator, Mapping, Optional, Sequence

from teastreams.core.bodies import Body as NodeBody
from teastreams.core.deciding import Undecided, chosen
from teastreams.core.events import (
    BranchesFinished,
    NodeFinished,
    NodeOutput,
    NodeStarted,
    RunEvent,
    StateChanged,
    Warned,
)
from teastreams.core.flow import ENTRY, Branch, Call, Fork, Line, Section, Step
from teastreams.core.graph import START, Graph, ParallelConfig
from teastreams.core.language.templates import TemplateError
from teastreams.core.merge import ParallelFlowResult, ParallelResults, Update, apply, merged, returned
from teastreams.core.outcome import Status
from teastreams.core.plan import SectionPlan
from teastreams.engine import bodies
from teastreams.engine.calling import Context, body_of
from teastreams.engine.filling import filled_program, filled_streams
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.executors.flows import BranchFlow
from teastreams.executors.process import ProcessExecutor, section_order
from teastreams.executors.thread import ThreadExecutor
from teastreams.runtime import calls
from teastreams.runtime.bound import OWN_STREAMS
from teastreams.runtime.node.ending import BranchFailed, error_text
from teastreams.runtime.supervision.figures import ChannelFigures, NodeFigures, SectionOutcome
from teastreams.runtime.supervision.outside import Outside
from teastreams.runtime.supervision.supervisor import Supervisor

Body = Callable[[dict[str, Any]], Any]


class Scheduler:
    """Runs steps on one state. `nodes` and `channels` collect figures of everything that ran.

    `waiting` holds the results of fan-outs whose fan-in node has not run yet, by that node's name, `result` what the
    last plain node returned, for conditions. `outside` are the
    ends of channels that the caller feeds and reads; with `stepwise`, a `Waiting` stands before each wait.
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
    ) -> None:
        self.outside = outside or Outside()
        self.graph, self.state, self.run_id, self._nested = graph, state, run_id, nested
        self.nodes: dict[str, NodeFigures] = {}
        self.channels: dict[str, ChannelFigures] = {}
        self.waiting: dict[str, ParallelResults] = {}
        self.result: Any = None
        self.touched: set[str] = set()
        self._process = ProcessExecutor(own_streams, stepwise)
        self._thread = ThreadExecutor()

    def report_progress(self, every_seconds: Optional[float]) -> None:
        """Ask for `Progress` events of everything that runs in workers; None for none."""
        self._process.progress_seconds = every_seconds

    def step(self, step: Step) -> Iterator[RunEvent]:
        """Run one step; `WorkflowFailed`, whose result is the state before the step, when it fails."""
        before = dict(self.state)
        try:
            yield from self._run(step)
        except WorkflowFailed as failed:
            raise WorkflowFailed(failed.primary, failed.collateral, before) from failed.__cause__
        yield StateChanged(last_node(step), dict(self.state))

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
            return self._call(step.node)
        if isinstance(step, Fork):
            return self._fork(step)
        return self._section(step)

    # -- plain nodes ----------------------------------------------------------------------------------------

    def _call(self, name: str) -> Iterator[RunEvent]:
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
        inner = Scheduler(graph, state, self.run_id, self._nested)
        inner._process, inner._thread, inner.touched = self._process, self._thread, self.touched
        return inner

    def merge(self, update: Update) -> None:
        """Let an update join the state."""
        self.touched |= update.values.keys()
        apply(self.state, update)

    def _perform(self, name: str) -> Optional[NodeError]:
        """Run one plain node on the state; its own exception as a `NodeError`."""
        try:
            value = self._body(name)(self.state)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code in (None, 0):
                return None
            if isinstance(error, SystemExit) and self._nested:
                raise  # the exit code of a branch is that of its worker
            return _node_error(name, error)
        self.result = value.values if isinstance(value, Update) else value
        if value is not None:
            self.merge(value if isinstance(value, Update) else Update(returned(value)))
        return None

    def _body(self, name: str) -> Body:
        run = self.graph.node(name).run
        if run is None:
            raise RuntimeError(f"node {name!r} has no function; rules.check refuses such a graph")
        return body_of(run, Context(name, self.run_id, self.graph.variables), self.take_results(name))

    # -- fan-outs -------------------------------------------------------------------------------------------

    def _fork(self, step: Fork) -> Iterator[RunEvent]:
        flows = [self._branch_flow(branch, self.state) for branch in step.branches]
        results = yield from self.run_branches(flows, replace(self.graph.parallel, strategy=step.strategy))
        yield from self.join(step.fan_in, results)

    def run_branches(
        self, flows: Sequence[BranchFlow], config: ParallelConfig
    ) -> Generator[RunEvent, None, list[ParallelFlowResult]]:
        """Run branches by the strategy of `config`; their results in the order given, failed ones among them."""
        strategy = config.strategy
        if strategy == "thread":
            for flow in flows:
                yield NodeStarted(flow.node_name)
            results = self._thread.execute(flows, config)
        else:
            results = yield from self._process.events(flows, config)
        for result in results:
            known = self._process.figures.get(result.branch) if strategy != "thread" else None
            self.nodes[result.branch] = _figures(result, known)
        return results

    def join(self, fan_in: str, results: Sequence[ParallelFlowResult]) -> Iterator[RunEvent]:
        """Keep the results for the node `fan_in`; WorkflowFailed when a branch has failed."""
        yield BranchesFinished(fan_in, tuple(results))
        failed = {result.branch: result for result in results if not result.success}
        if failed:
            known = {**self._thread.errors, **self._process.errors}
            told = [error for name, error in known.items() if name in failed]
            told += [_branch_error(result) for name, result in failed.items() if name not in known]
            raise WorkflowFailed(told[0], told[1:])
        self.waiting[fan_in] = ParallelResults(results)

    def _branch_flow(self, branch: Branch, state: Mapping[str, Any]) -> BranchFlow:
        return BranchFlow(branch.target, self._nested_body(branch.steps), state, timeout_seconds=None)

    def _nested_body(self, steps: Line) -> Body:
        """The steps of a branch as one function that changes its state in place."""

        def body(state: dict[str, Any]) -> None:
            inner = Scheduler(self.graph, state, self.run_id, nested=True)
            try:
                for event in inner.walk(steps):
                    echo(event)
            except WorkflowFailed as failed:
                raise BranchFailed(failed.primary) from failed

        return body

    # -- stream sections ------------------------------------------------------------------------------------

    def _section(self, step: Section) -> Iterator[RunEvent]:
        companions = [branch for branch in step.branches if branch.target not in step.members]
        flows = [self._member_flow(name) for name in step.members]
        flows += [self._branch_flow(branch, self.state) for branch in companions]
        order = section_order(flows, self.graph.parallel, outside=self.outside)
        outcome = yield from self._process.supervise(order)
        self.nodes.update(outcome.nodes)
        self.channels.update(outcome.channels)
        if outcome.primary is not None:
            raise WorkflowFailed(outcome.primary, outcome.collateral)
        if step.fan_in is None:
            for update in outcome.updates.values():
                self.merge(update)
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
        return BranchFlow(name, body, self.state, streams, node.timeout_seconds)

    def _join_section(self, step: Section, outcome: SectionOutcome, plan: SectionPlan) -> Iterator[RunEvent]:
        """Branches keep their own updates; what belongs to no branch (the producer) joins the state."""
        targets = [branch.target for branch in step.branches]
        owners = _owners(plan, targets)
        entry = dict(self.state)
        for name, update in outcome.updates.items():
            if name not in owners:
                self.merge(update)
        results = [_member_result(target, entry, outcome, plan, owners) for target in targets]
        tails = {branch.target: branch for branch in step.branches if branch.target in step.members and branch.steps}
        if tails:
            config = replace(self.graph.parallel, strategy="process")
            flows = [self._branch_flow(tails[r.branch], r.state) for r in results if r.branch in tails]
            ended = {result.branch: result for result in (yield from self.run_branches(flows, config))}
            results = [ended.get(result.branch, result) for result in results]
        yield from self.join(step.fan_in or "", results)


def last_node(step: Step) -> str:
    """The node by which a step is known in events."""
    if isinstance(step, Call):
        return step.node
    return step.members[-1] if isinstance(step, Section) else step.edge.source


def echo(event: RunEvent) -> None:
    """Write a node's output that is no channel to stderr, one line at a time, with the node's name; warnings, too."""
    if isinstance(event, NodeOutput) and sys.stderr is not None:
        sys.stderr.write(f"[{event.node}] {event.text}\n")
    elif isinstance(event, Warned) and sys.stderr is not None:
        sys.stderr.write(f"teastreams: {event.message}\n")


def _owners(plan: SectionPlan, targets: Sequence[str]) -> dict[str, str]:
    """Which branch each node belongs to: a target to its own, what is below a target to the nearest one above."""
    owners = {target: target for target in targets}
    for name in plan.nodes:
        above = [each for each in plan.upstream[name] if each in targets]
        if name not in owners and above:
            owners[name] = above[-1]
    return owners


def _member_result(
    target: str, entry: Mapping[str, Any], outcome: SectionOutcome, plan: SectionPlan, owners: Mapping[str, str]
) -> ParallelFlowResult:
    """A branch's state: that at section entry, with what its upstream and its own nodes returned."""
    seen = [name for name in plan.nodes if name in plan.upstream[target] or owners.get(name) == target]
    figures = outcome.nodes[target]
    return ParallelFlowResult(
        branch=target,
        state=merged(entry, [outcome.updates[name] for name in seen if name in outcome.updates]),
        timing_ms=figures.seconds * 1000,
        exit_code=figures.exit_code,
    )


def _figures(result: ParallelFlowResult, measured: Optional[NodeFigures]) -> NodeFigures:
    status = Status.DONE if result.success else Status.FAILED
    error = None if result.success else _branch_error(result)
    figures = NodeFigures(status, result.timing_ms / 1000, result.exit_code, error)
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
