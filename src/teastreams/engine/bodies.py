"""Runs what stands inside a node: a loop, a fan-out over items, a sub-workflow, a list of steps.

A body is walked by the same scheduler, in place: its events come through, with names such as `outer/inner`. A turn of
a loop and an item of a fan-out are named by their number from 0: `outer[2]/inner`. Laws: whatever fails inside keeps
its own name and cause (L6); a branch of a fan-out works on a copy of the state.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

from teastreams.core.control.bodies import Asked, Body, Each, Loop, Subgraph, inner_name, strategy_of
from teastreams.core.events import (
    BranchesFinished,
    NodeFinished,
    NodeOutput,
    NodeStarted,
    Progress,
    RunEvent,
    SectionFinished,
    SectionStarted,
    StateChanged,
    Warned,
)
from teastreams.core.graph import ParallelConfig
from teastreams.core.language.expressions import Expression, ExpressionError
from teastreams.core.merge import ParallelFlowResult, Update
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.executors.flows import BranchFlow
from teastreams.runtime.node.ending import BranchFailed, error_text
from teastreams.runtime.node.tracked import TrackedState
from teastreams.runtime.secrecy import masked, safe_cause

if TYPE_CHECKING:
    from teastreams.engine.scheduler import Scheduler

# Where nobody says how many items run at once. More threads or processes than that help nobody and cost memory.
DEFAULT_CONCURRENCY = 32
# The key under which a branch hands out what it yielded, beside its update; no state ever holds it.
YIELDED = "__yielded__"


def events(scheduler: Scheduler, name: str, body: Body) -> Iterator[RunEvent]:
    """Run the body of one node on the scheduler's state. WorkflowFailed names who failed inside."""
    if isinstance(body, Loop):
        return _loop(scheduler, name, body)
    if isinstance(body, Each):
        return _each(scheduler, name, body)
    return _subgraph(scheduler, name, body)


# -- loops ----------------------------------------------------------------------------------------------------


def _loop(scheduler: Scheduler, name: str, body: Loop) -> Iterator[RunEvent]:
    for turn in range(body.max_iterations):
        if not _asked(scheduler, name, "condition", body.condition):
            return
        yield from _walk(scheduler, body, scheduler.state, f"{name}[{turn}]", name)
    if _asked(scheduler, name, "condition", body.condition):
        yield Warned(f"{name}: its condition still holds after {body.max_iterations} turns (max_iterations); going on")


# -- sub-workflows --------------------------------------------------------------------------------------------


def _subgraph(scheduler: Scheduler, name: str, body: Subgraph) -> Iterator[RunEvent]:
    if body.input is None and body.output is None:
        yield from _walk(scheduler, body, scheduler.state, name, name)
        return
    entry = dict(scheduler.state) if body.input is None else _asked_all(scheduler, name, "input", body.input)
    state = TrackedState(entry)
    before, scheduler.touched = scheduler.touched, set()
    try:
        yield from _walk(scheduler, body, state, name, name)
        changed = _changes(state, scheduler.touched)
    finally:
        scheduler.touched = before
    if body.output is not None:
        inner = scheduler.within(body.graph, state)
        changed = Update(_asked_all(inner, name, "output", body.output))
    scheduler.merge(name, changed)


def _walk(scheduler: Scheduler, body: Body, state: dict[str, Any], label: str, name: str) -> Iterator[RunEvent]:
    """Walk the body's flow on a state in this process; its nodes are `label/inner`, their figures `name/inner`."""
    inner = scheduler.within(body.graph, state)
    try:
        for event in inner.walk(body.flow):
            yield renamed_event(event, label)
    except WorkflowFailed as failed:
        raise _renamed_failure(failed, label) from failed.__cause__
    finally:
        scheduler.nodes.update({inner_name(name, each): figures for each, figures in inner.nodes.items()})
        scheduler.channels.update({inner_name(name, each): figures for each, figures in inner.channels.items()})
    scheduler.result = inner.result


# -- fan-outs over items --------------------------------------------------------------------------------------


def _each(scheduler: Scheduler, name: str, body: Each) -> Iterator[RunEvent]:
    items = _items(scheduler, name, body)
    flows = [
        BranchFlow(
            f"{name}[{index}]",
            partial(_branch, scheduler, body, f"{name}[{index}]"),
            {**scheduler.state, body.item_var: item, body.index_var: index},
        )
        for index, item in enumerate(items)
    ]
    results: Sequence[ParallelFlowResult] = ()
    if flows:
        results = yield from scheduler.run_branches(flows, _config(scheduler.graph.parallel, body))
    yielded = [result.state.get(YIELDED) for result in results]
    yield from scheduler.collect(body.fan_in or "", [_without_yield(result) for result in results])
    if body.fan_in is None:
        scheduler.waiting.pop("", None)
    scheduler.result = yielded
    if body.output is not None:
        scheduler.merge(name, Update({body.output: yielded}))


def _items(scheduler: Scheduler, name: str, body: Each) -> list[Any]:
    """The items, taken once. NodeError for what cannot be walked, and for a text: nobody means its letters."""
    value = _asked(scheduler, name, "items", body.items)
    if isinstance(value, (str, bytes)) or not hasattr(type(value), "__iter__"):
        message = f"`items` is {type(value).__name__}, and a list or another iterable is needed"
        raise WorkflowFailed(NodeError(name, "start", message, error_type="TypeError"))
    try:
        return list(value)
    except Exception as error:
        raise WorkflowFailed(_failure(name, "start", error)) from error


def _branch(scheduler: Scheduler, body: Each, label: str, state: dict[str, Any]) -> Update:
    """One item: walk the body on the branch's own state, in its thread or its process."""
    from teastreams.engine.scheduler import echo  # the scheduler walks bodies, and bodies use a scheduler

    tracked = state if isinstance(state, TrackedState) else TrackedState(state)
    inner = scheduler.nested(body.graph, tracked, strategy_of(body))
    try:
        for event in inner.walk(body.flow):
            echo(renamed_event(event, label))
    except WorkflowFailed as failed:
        raise BranchFailed(_renamed_failure(failed, label, body.single).primary) from failed
    update = _changes(tracked, inner.touched)
    single = body.single and inner.result is not None
    return Update({**update.values, YIELDED: inner.result if single else dict(update.values)}, update.removed)


def _config(parallel: ParallelConfig, body: Each) -> ParallelConfig:
    return replace(
        parallel,
        strategy=strategy_of(body),
        max_workers=body.max_concurrency or parallel.max_workers or DEFAULT_CONCURRENCY,
        fail_fast=parallel.fail_fast if body.fail_fast is None else body.fail_fast,
    )


def _without_yield(result: ParallelFlowResult) -> ParallelFlowResult:
    return replace(result, state={key: value for key, value in result.state.items() if key != YIELDED})


def _changes(state: TrackedState, touched: set[str]) -> Update:
    """What was set, changed or removed; a key that a node has set counts even when its value is the old one."""
    update = state.difference()
    again = {key: state[key] for key in touched if key in state}
    return Update({**again, **update.values}, update.removed)


# -- asking and naming ----------------------------------------------------------------------------------------


def _asked(scheduler: Scheduler, name: str, key: str, asked: Asked) -> Any:
    """The value of an expression, or of a function of the state. WorkflowFailed when it raises."""
    try:
        if isinstance(asked, Expression):
            return asked.value(scheduler.state, scheduler.graph.variables, scheduler.result)
        return asked(scheduler.state)
    except ExpressionError as error:
        cause = error.__cause__ or error
        message = masked(f"`{key}`: {error}; {error.fix}")
        failed = NodeError(name, "route", message, error_type=type(cause).__name__)
        failed.__cause__ = safe_cause(cause)
        raise WorkflowFailed(failed) from failed.__cause__
    except Exception as error:
        raise WorkflowFailed(_failure(name, "route", error)) from error


def _asked_all(scheduler: Scheduler, name: str, key: str, asked: Mapping[str, Asked]) -> dict[str, Any]:
    return {each: _asked(scheduler, name, f"{key}.{each}", value) for each, value in asked.items()}


def _failure(name: str, phase: str, error: Exception) -> NodeError:
    text = error_text(error)
    failed = NodeError(name, phase, text.message, error_type=text.type, traceback=text.traceback)
    failed.__cause__ = safe_cause(error)
    return failed


def renamed_event(event: RunEvent, label: str) -> RunEvent:
    """An event of an inner node as it is known outside."""
    if isinstance(event, (NodeStarted, NodeFinished, NodeOutput, StateChanged)):
        return replace(event, node=inner_name(label, event.node))
    if isinstance(event, (SectionStarted, SectionFinished)):
        return replace(event, nodes=tuple(inner_name(label, node) for node in event.nodes))
    if isinstance(event, BranchesFinished):
        return replace(event, fan_in=inner_name(label, event.fan_in))
    return _renamed_progress(event, label) if isinstance(event, Progress) else event


def _renamed_progress(event: Progress, label: str) -> Progress:
    outside = partial(inner_name, label)
    return replace(
        event,
        nodes=tuple(
            replace(each, node=outside(each.node), waits_for=tuple(map(outside, each.waits_for)))
            for each in event.nodes
        ),
        channels=tuple(
            replace(
                each,
                producer=outside(each.producer),
                consumers=tuple(replace(one, node=outside(one.node)) for one in each.consumers),
            )
            for each in event.channels
        ),
    )


def _renamed_failure(failed: WorkflowFailed, label: str, single: bool = False) -> WorkflowFailed:
    primary, *collateral = [_renamed_error(error, label, single) for error in failed.exceptions]
    return WorkflowFailed(primary, collateral, failed.result)


def _renamed_error(error: NodeError, label: str, single: bool) -> NodeError:
    named = NodeError(
        label if single else inner_name(label, error.node),
        error.phase,
        error.message,
        error_type=error.error_type,
        exit_code=error.exit_code,
        traceback=error.traceback,
        stderr_tail=error.stderr_tail,
        error_type_names=error.error_type_names,
    )
    named.__cause__ = error.__cause__
    return named
