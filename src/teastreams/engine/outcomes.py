"""What ran, as the results, figures and errors that users see: values in, values out.

Nothing is run, merged or raised here; the scheduler does that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, Optional, Sequence

from teastreams.core.merge import ParallelFlowResult, merged
from teastreams.core.outcome import Status
from teastreams.core.plan import SectionPlan
from teastreams.core.state.reducers import Reducers
from teastreams.errors import NodeError
from teastreams.runtime.node.ending import error_text
from teastreams.runtime.secrecy import safe_cause
from teastreams.runtime.supervision.figures import NodeFigures, SectionOutcome


def owners_of(plan: SectionPlan, targets: Sequence[str]) -> dict[str, str]:
    """Which branch each node belongs to: a target to its own, what is below a target to the nearest one above."""
    owners = {target: target for target in targets}
    for name in plan.nodes:
        above = [each for each in plan.upstream[name] if each in targets]
        if name not in owners and above:
            owners[name] = above[-1]
    return owners


def member_result(
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


def figures_of(result: ParallelFlowResult, measured: Optional[NodeFigures]) -> NodeFigures:
    status = Status.DONE if result.success else Status.FAILED
    error = None if result.success else branch_error(result)
    seconds = result.timing_ms / 1000
    figures = NodeFigures(status, seconds, result.exit_code, error, retry_count=result.retry_count)
    if measured is None:
        return figures
    return replace(figures, cpu_seconds=measured.cpu_seconds, peak_memory_bytes=measured.peak_memory_bytes)


def branch_error(result: ParallelFlowResult) -> NodeError:
    text = result.error if result.error is not None else f"exit code {result.exit_code}"
    return NodeError(
        result.branch,
        "run",
        text,
        error_type=result.error_type or "",
        exit_code=result.exit_code,
        traceback=result.traceback or "",
    )


def node_error(name: str, error: BaseException) -> NodeError:
    text = error_text(error)
    made = NodeError(
        name, "run", text.message, error_type=text.type, traceback=text.traceback, error_type_names=text.names
    )
    made.__cause__ = safe_cause(error)
    return made
