"""What an executor is given and what it promises: the one protocol that all of them keep.

A flow is one branch of a fan-out: a callable, the state it starts from and, for a stream section, the channels
on its standard streams. An executor runs all flows and returns one result per flow, in the order given. It never
raises because a flow failed; it raises only when it could not start (limits, platform, a wrong declaration).
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Protocol, Sequence, Union

from teastreams.core.graph import NodeStreamsConfig, ParallelConfig
from teastreams.core.merge import ParallelFlowResult
from teastreams.core.state.reducers import Reducers
from teastreams.values import dataclass

if TYPE_CHECKING:
    from teastreams.runtime.channels import StreamRegistry
    from teastreams.runtime.node.program import Program


@dataclass(frozen=True)
class BranchFlow:
    """One branch to run: `run(state)` returns a mapping of updates, an `Update`, another value, or None.

    None means that the changes made to `state` in place are the update. For the process strategy `run` may also be a
    `Program`, whose update is its `exit_code`. `timeout_seconds` is for this branch
    alone and goes before the one of the config. `reducers` say, by key, how parts of an update join the state.
    """

    node_name: str
    run: Union[Callable[[dict[str, Any]], Any], Program]
    state: Mapping[str, Any] = field(default_factory=dict)
    streams: Optional[NodeStreamsConfig] = None
    timeout_seconds: Optional[float] = None
    reducers: Reducers = field(default_factory=dict)


def branch_flow(value: Union[BranchFlow, Mapping[str, Any]]) -> BranchFlow:
    """A `BranchFlow` from one, or from a mapping with the keys of its fields (`streams` may be a plain dict)."""
    if isinstance(value, BranchFlow):
        return value
    fields = dict(value)
    streams = fields.get("streams")
    if isinstance(streams, Mapping):
        fields["streams"] = NodeStreamsConfig(**streams)
    return BranchFlow(**fields)


class ParallelExecutor(Protocol):
    """Runs the branches of one fan-out."""

    def execute(
        self,
        flows: Sequence[Union[BranchFlow, Mapping[str, Any]]],
        config: Optional[ParallelConfig] = None,
        stream_registry: Optional[StreamRegistry] = None,
    ) -> list[ParallelFlowResult]:
        """Run all flows to their end and return one result per flow, in the order of `flows`."""
        ...
