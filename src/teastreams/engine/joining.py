"""What nodes changed joins the state: reduced by key, checked against the declared types, as a whole or not at all.

Every update comes through here: of a plain node, of the members of a section, of branches. What is refused is an error
of the node that returned it, in the phase "result", and nothing of its step has been merged then. Inside a branch the
state remembers the parts, so that they can be reduced again where the branches join.
"""

from __future__ import annotations

from typing import Any, Collection, Mapping, Optional

from teastreams.core.merge import Update, apply, conflict
from teastreams.core.policies import error_type_names
from teastreams.core.state.reducers import ReducerFailed
from teastreams.core.state.schema import StateSchema
from teastreams.errors import NodeError, WorkflowFailed
from teastreams.runtime.node.ending import error_text
from teastreams.runtime.node.tracked import TrackedState
from teastreams.runtime.secrecy import safe_cause


def join(schema: StateSchema, state: dict[str, Any], updates: Mapping[str, Update], in_place: bool = False) -> None:
    """Change `state` by the updates of some nodes, in their order.

    With `in_place` the state itself is checked too: a plain node may have changed it before it returned. WorkflowFailed
    for all updates that are refused, the first one first; the state is then what it was.
    """
    refused = _refusals(schema, state, updates, in_place) if schema.enforced or schema.reducers else []
    if refused:
        raise WorkflowFailed(refused[0], refused[1:])
    for update in updates.values():
        if isinstance(state, TrackedState):
            state.joined(update)
        else:
            apply(state, update, schema.reducers)


def refuse_conflicts(updates: Mapping[str, Update], above: Optional[Mapping[str, Collection[str]]] = None) -> None:
    """WorkflowFailed when two of these, which ran at the same time, changed one key in ways that cannot both hold."""
    found = conflict(updates, above or {})
    if found is not None:
        raise WorkflowFailed(NodeError(found.second, "result", str(found), error_type="ValueError"))


def refuse_initial(schema: StateSchema, state: Mapping[str, Any], node: str) -> None:
    """WorkflowFailed when the state that a run begins with is not what was declared."""
    text = schema.refusal(state)
    if text is not None:
        raise WorkflowFailed(_mismatch(node, text))


def _refusals(
    schema: StateSchema, state: dict[str, Any], updates: Mapping[str, Update], in_place: bool
) -> list[NodeError]:
    """What is wrong with each update, tried on a copy."""
    tried = dict(dict.items(state))  # not dict(state): that would be a look at every value of a tracked state
    refused = []
    for node, update in updates.items():
        try:
            apply(tried, update, schema.reducers)
        except ReducerFailed as failed:
            refused.append(_reducer_failed(node, failed))
            continue
        text = schema.refusal(tried if in_place else {key: tried[key] for key in update.keys if key in tried})
        if text is not None:
            refused.append(_mismatch(node, text))
    return refused


def _mismatch(node: str, text: str) -> NodeError:
    return NodeError(node, "result", text, error_type="TypeError", error_type_names=error_type_names(TypeError))


def _reducer_failed(node: str, failed: ReducerFailed) -> NodeError:
    text = error_text(failed)
    made = NodeError(node, "result", text.message, error_type=text.type, traceback=text.traceback)
    made.__cause__ = safe_cause(failed.__cause__)
    return made
