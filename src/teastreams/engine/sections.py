"""Runs a stream section: its members and the branches beside it start together, and their updates join as declared.

Laws: every member starts from the state at section entry; updates join in topological order of the channels; with a
fan-in each branch keeps its own, and what belongs to no branch (the producer) joins the state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Iterator

from teastreams.core.control.flow import Section
from teastreams.core.events import RunEvent
from teastreams.core.language.templates import TemplateError
from teastreams.core.merge import only
from teastreams.core.plan import SectionPlan
from teastreams.engine.filling import filled_program, filled_streams
from teastreams.engine.joining import refuse_conflicts
from teastreams.engine.outcomes import member_result, owners_of
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.executors.flows import BranchFlow
from teastreams.executors.process import section_order
from teastreams.runtime.supervision.figures import SectionOutcome

if TYPE_CHECKING:
    from teastreams.engine.scheduler import Scheduler


def events(scheduler: Scheduler, step: Section) -> Iterator[RunEvent]:
    """Run one section to its end. WorkflowFailed, the cause first, when a member failed."""
    companions = [branch for branch in step.branches if branch.target not in step.members]
    flows = [_member_flow(scheduler, name) for name in step.members]
    flows += [scheduler.branch_flow(branch, scheduler.state) for branch in companions]
    order = section_order(flows, scheduler.config(step.edge), outside=scheduler.outside)
    outcome = yield from scheduler.process.supervise(order)
    scheduler.nodes.update(outcome.nodes)
    scheduler.channels.update(outcome.channels)
    for flow in flows[len(step.members) :]:
        if flow.node_name in outcome.nodes:
            scheduler.note(flow, outcome.nodes[flow.node_name], "process")
    if outcome.primary is not None:
        raise WorkflowFailed(outcome.primary, outcome.collateral)
    if step.fan_in is None:
        keyed = {name: only(update, scheduler.graph.schema.reducers) for name, update in outcome.updates.items()}
        refuse_conflicts(keyed, order.plan.upstream)
        scheduler.merge_all(outcome.updates)
    else:
        yield from _join_section(scheduler, step, outcome, order.plan)


def _member_flow(scheduler: Scheduler, name: str) -> BranchFlow:
    node = scheduler.graph.node(name)
    values = {"state": scheduler.state, "variables": scheduler.graph.variables}
    try:
        streams = filled_streams(node.streams, values)
        body = _code(scheduler, name) if node.command is None else filled_program(node.command, values)
    except TemplateError as error:
        failed = NodeError(name, "start", f"{error}; {error.fix}", error_type="TemplateError")
        raise WorkflowFailed(failed) from None
    return BranchFlow(name, body, scheduler.state, streams, node.timeout_seconds, scheduler.graph.schema.reducers)


def _code(scheduler: Scheduler, name: str) -> Callable[[dict[str, Any]], Any]:
    """A member's code; what it returns is kept by its `output`."""
    run = scheduler.function_of(name)
    return lambda state: scheduler.stored(name, run(state), state)


def _join_section(
    scheduler: Scheduler, step: Section, outcome: SectionOutcome, plan: SectionPlan
) -> Iterator[RunEvent]:
    """Branches keep their own updates; what belongs to no branch (the producer) joins the state."""
    targets = [branch.target for branch in step.branches]
    owners = owners_of(plan, targets)
    entry = dict(scheduler.state)
    scheduler.merge_all({n: each for n, each in outcome.updates.items() if n not in owners})
    reducers = scheduler.graph.schema.reducers
    results = [member_result(target, entry, outcome, plan, owners, reducers) for target in targets]
    changed = {
        target: [each for name, each in outcome.updates.items() if owners.get(name) == target] for target in targets
    }
    tails = {branch.target: branch for branch in step.branches if branch.target in step.members and branch.steps}
    if tails:
        config = replace(scheduler.config(step.edge), strategy="process")
        flows = [scheduler.branch_flow(tails[r.branch], r.state) for r in results if r.branch in tails]
        done = yield from scheduler.run_branches(flows, config)
        ended = {result.branch: result for result in done}
        results = [ended.get(result.branch, result) for result in results]
        for name, update in scheduler.process.updates.items():
            changed[name].append(update)
    yield from scheduler.collect(step.fan_in or "", results, step.edge)
    scheduler.merge_branches(changed, step)
