"""Rules about nodes that hold other nodes, and about what may stand inside them.

What is wrong inside a body is found by the same rules that check the graph around it (see `check`); here stands what
only a body can do wrong.
"""

from __future__ import annotations

from typing import Iterator

from teastreams.core.control.bodies import MAX_ITERATIONS, Body, Each, Loop, bodies_in, forks_within, strategy_of
from teastreams.core.control.flow import Fork, forks_in, nodes_in, unfolded
from teastreams.core.control.units import Control
from teastreams.core.graph import Graph, Node
from teastreams.core.rules.wording import Found, found, meant, quoted


def other_work(graph: Graph) -> Iterator[Found]:
    for node, _ in bodies_in(graph):
        if node.run is not None or node.command is not None:
            other = "run" if node.run is not None else "command"
            fix = "keep one of them, or make two nodes of it"
            yield found(node, f"node {quoted(node.name)} has both `{other}` and other nodes inside", fix, other)
        elif node.streaming:
            fix = "give the streams to a node inside it, or write the loop in its `run:` block"
            yield found(node, f"node {quoted(node.name)} has streams, and nodes inside", fix, "streams")


def bad_values(graph: Graph) -> Iterator[Found]:
    for node, body in bodies_in(graph):
        for key, expected in _mistakes(body):
            yield found(node, f"`{key}` of node {quoted(node.name)} must be {expected}", f"correct `{key}`", key)
        if isinstance(body, Each) and body.fan_in is not None:
            names = [each.name for each in graph.nodes if each is not node]
            if body.fan_in not in names:
                message = f"the fan_in of node {quoted(node.name)} is {quoted(body.fan_in)}, which is no other node"
                yield found(node, message, meant(body.fan_in, names, "fan_in"), "fan_in")


def _mistakes(body: Body) -> Iterator[tuple[str, str]]:
    if isinstance(body, Loop):
        if not _is_count(body.max_iterations) or body.max_iterations > MAX_ITERATIONS:
            yield "max_iterations", f"a whole number from 1 to {MAX_ITERATIONS}"
    elif isinstance(body, Each):
        if body.max_concurrency is not None and not _is_count(body.max_concurrency):
            yield "max_concurrency", "a whole number above 0"
        if body.strategy not in (None, "thread", "process"):
            yield "strategy", "thread or process"
        if body.item_var == body.index_var:
            yield "index_var", "another name than `item_var`"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def interrupts(graph: Graph) -> Iterator[Found]:
    """A run can pause only between the steps of its main line."""
    for node, body in bodies_in(graph):
        for inner in body.graph.nodes:
            wanted = (("interrupt_before", inner.interrupt_before), ("interrupt_after", inner.interrupt_after))
            for key in (key for key, given in wanted if given):
                message = f"node {quoted(inner.name)} has {key} inside node {quoted(node.name)}"
                fix = f"interrupts stand on the main line: write it on {quoted(node.name)}"
                where = inner.positions.get(key, inner.where)
                subject, problem = found(node, message, fix)
                yield subject, type(problem)(problem.message, problem.fix, where or problem.where)


def processes_in_threads(graph: Graph) -> Iterator[Found]:
    """Nothing forks while threads of ours run: a lock that one of them holds would be held in the child for ever."""
    for node, body in bodies_in(graph):
        if isinstance(body, Each) and strategy_of(body) == "thread" and forks_within(body.graph):
            message = f"the items of node {quoted(node.name)} run in threads, but what stands inside it needs processes"
            yield found(node, message, "write `strategy: process` on this node", "strategy", "items")


def processes_in_thread_branches(control: Control) -> Iterator[Found]:
    """A body that forks, in a branch that runs in a thread."""
    for fork in forks_in(unfolded(control)):
        if isinstance(fork, Fork) and fork.strategy == "thread":
            for name in (name for branch in fork.branches for name in nodes_in(branch.steps)):
                if _forks(control.graph.node(name)):
                    message = f"the branches of the parallel edge from {quoted(fork.edge.source)} run in threads"
                    reason = f"but node {quoted(name)} needs processes"
                    yield found(fork.edge, f"{message}, {reason}", "write `parallel_strategy: process`", "to")


def _forks(node: Node) -> bool:
    body = node.body
    if body is None:
        return False
    return (isinstance(body, Each) and strategy_of(body) == "process") or forks_within(body.graph)
