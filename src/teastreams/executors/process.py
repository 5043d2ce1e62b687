"""Branches in forked workers: the `process` strategy, with or without channels between them.

`execute` is for use on its own; the scheduler builds the same orders with `section_order` and walks the events
itself. With a registry, a channel of which only one end belongs to the flows lends the other end to the caller: what
the caller writes into `channel.write_fd` is what the consumer reads, and the end of file comes when the caller closes
it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, Generator, Iterator, Mapping, Optional, Sequence, Union

from teastreams.core.events import NodeOutput, NodeRetried, RunEvent
from teastreams.core.graph import ParallelConfig
from teastreams.core.merge import ParallelFlowResult, Update, merged
from teastreams.core.outcome import WELL, Status
from teastreams.core.plan import OUTSIDE, SectionPlan, plan_section
from teastreams.core.policies import RetryPolicy
from teastreams.errors import NodeError, Problem, WorkflowError, WorkflowFailed
from teastreams.executors.circuits import Circuits, Permit, Refusal
from teastreams.executors.flows import BranchFlow, branch_flow
from teastreams.runtime import calls
from teastreams.runtime.bound import OWN_STREAMS, BoundEnds
from teastreams.runtime.channels import StreamRegistry
from teastreams.runtime.fds import Fd
from teastreams.runtime.interrupts import raise_again
from teastreams.runtime.preflight import pipe_bytes, preflight
from teastreams.runtime.supervision.accounts import EXIT_CODE
from teastreams.runtime.supervision.figures import BranchFigures, NodeFigures, SectionOutcome
from teastreams.runtime.supervision.order import Job, Order
from teastreams.runtime.supervision.outside import Outside
from teastreams.runtime.supervision.supervisor import Supervisor


class ProcessExecutor:
    """Runs the branches of one fan-out in forked workers; the circuits of its branches are kept from call to call.

    `current` is the supervisor at work, for whoever must hand signals back to the host between two events. `errors`
    holds the whole error of each flow that failed last time, causes before consequences; a result carries only its
    text. `figures` holds what is known of every flow that ran, `branches` that of the nodes inside it, `updates` what
    each changed last time.
    `progress_seconds` asks for `Progress` events. `own_streams` are the descriptors of the caller that streams bound
    to "-" stand for. `stepwise`: its events hold a `Waiting` before each wait.
    """

    def __init__(
        self,
        own_streams: Mapping[str, int] = OWN_STREAMS,
        stepwise: bool = False,
        circuits: Optional[Circuits] = None,
    ) -> None:
        self.own_streams, self._stepwise = own_streams, stepwise
        self.circuits = circuits or Circuits()
        self.current: Optional[Supervisor] = None
        self.errors: dict[str, NodeError] = {}
        self.figures: dict[str, NodeFigures] = {}
        self.branches: dict[str, BranchFigures] = {}
        self.updates: dict[str, Update] = {}
        self.progress_seconds: Optional[float] = None

    def execute(
        self,
        flows: Sequence[Union[BranchFlow, Mapping[str, Any]]],
        config: Optional[ParallelConfig] = None,
        stream_registry: Optional[StreamRegistry] = None,
    ) -> list[ParallelFlowResult]:
        """Run all flows to their end and return one result per flow, in the order of `flows`.

        A result's state is the flow's state with what the branch returned; of a branch that failed, the state it
        started from. A branch past its `timeout_seconds` is killed: exit code -1, "timed out" in its error. Retries
        and circuit breakers hold for flows without channels. Output that is no channel goes to stderr, line by line,
        with the name of the flow.

        Raises:
            WorkflowError: a flow names a channel that the registry does not have, or retries are asked for a stream.
            WorkflowFailed: a file that a stream is bound to cannot be opened; nothing was started.
            LimitError, PlatformError: this machine cannot run them now; nothing was started.
            Interrupted: a signal stopped them, and the host's own handler let us go on.
        """
        walk = self.events(flows, config, stream_registry)
        while True:
            try:
                event = next(walk)
            except StopIteration as end:
                results: list[ParallelFlowResult] = end.value
                return results
            if isinstance(event, NodeOutput):
                sys.stderr.write(f"[{event.node}] {event.text}\n")

    def events(
        self,
        flows: Sequence[Union[BranchFlow, Mapping[str, Any]]],
        config: Optional[ParallelConfig] = None,
        stream_registry: Optional[StreamRegistry] = None,
    ) -> Generator[RunEvent, None, list[ParallelFlowResult]]:
        """`execute`, told as it happens: yields events, returns the results."""
        branches = [branch_flow(flow) for flow in flows]
        config = config or ParallelConfig(strategy="process")
        if any(branch.streams is not None and branch.streams.channels for branch in branches):
            _refuse_retries(config)
        self.errors, self.updates = {}, {}
        results: dict[str, ParallelFlowResult] = {}
        attempt, due = 1, branches
        while due:
            permits = {branch.node_name: self._ask(branch, config) for branch in due}
            refused = {name: permit.reason for name, permit in permits.items() if isinstance(permit, Refusal)}
            # A circuit that opened between two attempts is no news: the error that opened it is.
            results = {**{name: _not_called(name, branches, why) for name, why in refused.items()}, **results}
            due = [branch for branch in due if branch.node_name not in refused]
            if not due:
                break
            order = section_order(due, config, stream_registry)
            outcome = yield from self.supervise(order)
            tried = {branch.node_name: branch_result(branch, outcome, order.plan, config) for branch in due}
            self._remember(outcome)
            self.updates.update(outcome.updates)
            results.update({name: replace(result, retry_count=attempt - 1) for name, result in tried.items()})
            for name, result in tried.items():
                self._report(permits[name], result.success)
            due = [branch for branch in due if _tries_again(tried[branch.node_name], outcome, config, attempt)]
            yield from self._pause([branch.node_name for branch in due], attempt, config.retry_policy)
            attempt += 1
        return [results[branch.node_name] for branch in branches]

    def _pause(self, due: Sequence[str], attempt: int, policy: Optional[RetryPolicy]) -> Iterator[RunEvent]:
        """Say who is tried again, and wait for it: in the calling process, where a signal ends the wait."""
        if due and policy is not None:
            import random  # only a retry throws dice, and its generator is seeded anew in each child

            delay = policy.delay_seconds(attempt, random.random())
            for name in due:
                text = str(self.errors[name].message) if name in self.errors else ""
                yield NodeRetried(name, attempt, policy.max_retries + 1, delay, text)
            calls.table.sleep(delay)

    def supervise(self, order: Order) -> Generator[RunEvent, None, SectionOutcome]:
        """Run one order to its end; a signal that stopped it is raised again for the host.

        WorkflowFailed when a file that a stream is bound to cannot be opened; nothing was started then.
        """
        outside = BoundEnds(order.plan, self.own_streams)
        try:
            self.current = Supervisor(self._prepared(order, outside), self._stepwise)
            yield from self.current.run()
            outcome = _settled(outside, self.current.outcome())
        finally:
            self.current = None
            outside.settle(well=False)
            for end in order.given.values():  # a supervisor that was never made has not closed them
                end.close()
        raise_again(outcome.signal)
        self.figures.update(outcome.nodes)
        self.branches.update(outcome.branches)
        return outcome

    def _prepared(self, order: Order, outside: BoundEnds) -> Order:
        """The order with the ends that lie outside, and with this executor's wishes."""
        given = {**order.given, **_opened(outside)}
        return replace(order, given=given, progress_seconds=self.progress_seconds)

    def _remember(self, outcome: SectionOutcome) -> None:
        """The last attempt's errors are those of its flows, in the order of blame."""
        named = {id(each.error): name for name, each in outcome.nodes.items()}
        blamed = [error for error in (outcome.primary, *outcome.collateral) if error is not None and id(error) in named]
        older = {name: error for name, error in self.errors.items() if name not in outcome.nodes}
        self.errors = {**older, **{named[id(error)]: error for error in blamed}}

    def _ask(self, branch: BranchFlow, config: ParallelConfig) -> Union[Permit, Refusal, None]:
        return self.circuits.ask(branch.node_name, config.circuit_breaker, calls.table.monotonic())

    def _report(self, permit: Union[Permit, Refusal, None], success: bool) -> None:
        if isinstance(permit, Permit):
            self.circuits.report(permit, success, calls.table.monotonic())


def _not_called(name: str, branches: Sequence[BranchFlow], reason: str) -> ParallelFlowResult:
    state = next(branch.state for branch in branches if branch.node_name == name)
    return ParallelFlowResult(name, False, state, reason, "CircuitOpen")


def _tries_again(result: ParallelFlowResult, outcome: SectionOutcome, config: ParallelConfig, attempt: int) -> bool:
    policy = config.retry_policy
    if result.success or policy is None:
        return False
    error = outcome.nodes[result.branch].error if result.branch in outcome.nodes else None
    return error is not None and policy.should_retry(attempt, error.error_type_names)


def _opened(outside: BoundEnds) -> Mapping[tuple[str, str], Fd]:
    try:
        return outside.open()
    except NodeError as error:
        raise WorkflowFailed(error) from error


def _settled(outside: BoundEnds, outcome: SectionOutcome) -> SectionOutcome:
    """The outcome, after the output files of a section that ended well have been given their names."""
    known = {
        name: replace(outcome.channels[name], bytes=size, counted="file") for name, size in outside.written().items()
    }
    outcome = replace(outcome, channels={**outcome.channels, **known})
    try:
        outside.settle(well=outcome.primary is None and outcome.signal is None)
    except NodeError as error:
        failed = replace(outcome.nodes[error.node], status=Status.FAILED, error=error)
        return replace(outcome, updates={}, nodes={**outcome.nodes, error.node: failed}, primary=error)
    return outcome


def section_order(
    branches: Sequence[BranchFlow],
    config: ParallelConfig,
    registry: Optional[StreamRegistry] = None,
    outside: Optional[Outside] = None,
) -> Order:
    """What the supervisor is asked to run; everything that can be refused is refused here.

    `outside` are ends that the caller feeds and reads; those of other sections are left alone.
    """
    known = registry or StreamRegistry()
    own = (outside or Outside()).among(name for b in branches if b.streams for name in b.streams.channels)
    lent = _lent(branches, known) | own.feeds.keys()
    members = [(branch.node_name, branch.streams) for branch in branches]
    plan = plan_section(members, config.streams, frozenset(lent), frozenset(own.taps))
    _check_channels(plan, known, registry is not None, own)
    gated = bool(plan.channels)
    room = None if gated else config.max_workers
    at_once = preflight(plan, room, config.on_threads)
    return Order(
        plan=plan,
        jobs={b.node_name: Job(b.run, b.state, _timeout(b, config), b.reducers) for b in branches},
        settings=config.streams,
        given=_given(plan, known),
        gated=gated,
        # Whoever inherits an end for a moment must have closed it before anybody runs, and a batch has no gate.
        forks_at_once=at_once if gated else 1,
        fail_fast=config.fail_fast,
        max_at_once=room,
        timeout_seconds=config.streams.timeout if gated else None,
        pipe_bytes=pipe_bytes(plan, config.streams),
        outside=own,
        result_limit_bytes=config.result_limit,
    )


def branch_result(
    branch: BranchFlow, outcome: SectionOutcome, plan: SectionPlan, config: ParallelConfig
) -> ParallelFlowResult:
    """One branch's result out of the section's outcome."""
    figures = outcome.nodes.get(branch.node_name)
    if figures is None:
        return ParallelFlowResult(branch.node_name, False, branch.state, "was not started", "Cancelled")
    success = figures.status in WELL
    seen = (*plan.upstream[branch.node_name], branch.node_name)
    updates = [outcome.updates[name] for name in seen if name in outcome.updates] if success else []
    error = None if success else figures.error
    return ParallelFlowResult(
        branch=branch.node_name,
        success=success,
        state=merged(branch.state, updates, branch.reducers),
        error=_text(figures),
        error_type=error.error_type or error.phase if error else None,
        traceback=error.traceback or None if error and config.include_traceback else None,
        timing_ms=figures.seconds * 1000,
        exit_code=figures.exit_code,
    )


def _text(figures: NodeFigures) -> Optional[str]:
    """A worker that left by a plain exit code has no error text: the code says it all."""
    if figures.error is None or figures.error.error_type == EXIT_CODE:
        return None
    return figures.error.message


def _timeout(branch: BranchFlow, config: ParallelConfig) -> Optional[float]:
    return config.timeout_seconds if branch.timeout_seconds is None else branch.timeout_seconds


def _lent(branches: Sequence[BranchFlow], registry: StreamRegistry) -> set[str]:
    """Channels of which the caller holds an end: nobody among the flows writes them, or nobody reads them."""
    streams = [branch.streams for branch in branches if branch.streams is not None]
    read = {each.stdin for each in streams}
    written = {name for each in streams for name in (each.stdout, each.stderr)}
    return {
        channel.name for channel in registry if channel.is_open and (channel.name in read) != (channel.name in written)
    }


def _given(plan: SectionPlan, registry: StreamRegistry) -> dict[tuple[str, str], Fd]:
    """The ends of open channels that the workers take over; the caller's own ends stay with the caller."""
    given: dict[tuple[str, str], Fd] = {}
    for channel in plan.channels.values():
        live = registry.get(channel.name)
        # Of a broadcast the registry's pipe is the source; when the caller reads a direct channel, it is the only one.
        pipe = plan.pipes.get(channel.source)
        if live is None or pipe is None:
            continue
        for side, holder in (("r", pipe.reader), ("w", pipe.writer)):
            end = live.take_end(side) if holder != OUTSIDE else None
            if end is not None:
                given[pipe.name, side] = end
    return given


def _check_channels(plan: SectionPlan, registry: StreamRegistry, registered: bool, outside: Outside) -> None:
    problems = [*_unknown(plan, registry)] if registered else []
    for channel in (each for each in plan.channels.values() if each.name not in plan.bound):
        live = registry.get(channel.name)
        open_here = channel.name in outside.feeds or (live is not None and live.is_open)
        if not channel.consumers:
            problems.append(Problem(f"channel {channel.name!r} is written by {channel.producer!r} and read by nobody"))
        elif channel.producer == OUTSIDE and not open_here:
            readers = ", ".join(repr(consumer.node) for consumer in channel.consumers)
            fix = "add the flow that writes it, or open it with create_pipe() and write into it yourself"
            problems.append(Problem(f"channel {channel.name!r} is read by {readers} and written by nobody", fix))
    if problems:
        raise WorkflowError(problems)


def _unknown(plan: SectionPlan, registry: StreamRegistry) -> list[Problem]:
    problems = []
    for name in plan.channels:
        if name not in registry and name not in plan.bound:
            import difflib  # only a mistake needs it

            near = difflib.get_close_matches(name, list(registry.channels), 1)
            fix = f"did you mean {near[0]!r}?" if near else "register it first"
            problems.append(Problem(f"the registry has no channel {name!r}", fix))
    return problems


def _refuse_retries(config: ParallelConfig) -> None:
    if config.retry_policy is not None or config.circuit_breaker is not None:
        raise WorkflowError(
            [
                Problem(
                    "a live stream cannot be read twice, so a flow with channels cannot be retried",
                    "leave retry_policy out",
                )
            ]
        )
