"""The services of a run: opened from the settings before its first step, closed after its last.

What stands in `Services` is shared by all nodes of the run, in whatever thread or worker they are; what a node's
context holds is made of it for that node. What one run has to hand to the next is kept by the compiled workflow.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, Mapping, Optional

from teastreams.core.control.bodies import all_within
from teastreams.core.graph import Graph
from teastreams.core.language.actions import Uses
from teastreams.core.limits import RateLimit
from teastreams.engine.actions import Actions
from teastreams.runtime.fds import room_for
from teastreams.services import limits, secrets
from teastreams.services.memory import Memory
from teastreams.values import dataclass

Services = Mapping[str, Any]


@dataclass
class Handover:
    """What the last run that ended leaves to the next one: where its rate limiters stood."""

    limits: bytes = b""

    def keep_limits(self, memory: bytes) -> None:
        """At the end of a run."""
        self.limits = memory


@contextmanager
def opened(graph: Graph, handover: Handover, actions: Actions) -> Iterator[Services]:
    """What the nodes of this graph share for one run.

    LimitError when the machine has no room for it, `SecretError` when a secret cannot be read.
    """
    path, sources = graph.services.memory_path, graph.services.secrets
    always: dict[str, Any] = {"actions": actions, **({} if path is None else {"memory": Memory(path)})}
    with ExitStack() as stack:
        if sources is not None:
            always["secrets"] = stack.enter_context(secrets.opened(sources, os.path.dirname(graph.file)))
        always.update(stack.enter_context(_limits(graph, handover)))
        yield always


@contextmanager
def _limits(graph: Graph, handover: Handover) -> Iterator[Services]:
    """The rate limiters, if a node can ask for one."""
    if not _wants_limits(graph):
        yield {}
        return
    with room_for("rate limiters"):
        shared = limits.opened(graph.services.limits, handover.keep_limits, handover.limits)
        known = shared.__enter__()
    try:
        yield {"limits": known}
    finally:
        shared.__exit__(None, None, None)


def for_node(services: Services, pause: Callable[[float], bool]) -> Services:
    """What the context of one node holds; `pause` waits in a way that a stop of the run can end."""
    shared: Optional[limits.Limits] = services.get("limits")
    if shared is None:
        return services
    known = shared

    def wait(name: str, timeout: Optional[float], rate: Optional[RateLimit]) -> float:
        return known.wait(name, timeout, rate, pause)

    return {**services, "limits": wait}


def _wants_limits(graph: Graph) -> bool:
    used = (node.run.name for each in (graph, *all_within(graph)) for node in each.nodes if isinstance(node.run, Uses))
    return bool(graph.services.limits) or any(name in limits.ACTIONS for name in used)
