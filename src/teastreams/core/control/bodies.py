"""Nodes with a body: what stands inside a loop, a fan-out over items, a sub-workflow, a list of steps.

A body holds a whole graph of its own, checked with the graph around it; its positions are its own. Laws: an inner node
is known outside as `outer/inner`; names need to be unique only within one body. Nothing is run here.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Callable, Iterator, Mapping, Optional, Union

from teastreams.core.control.flow import Line, flow_of
from teastreams.core.control.joins import with_joins
from teastreams.core.control.units import sections_of
from teastreams.core.graph import Graph, Node
from teastreams.core.language.expressions import Expression
from teastreams.values import dataclass

Asked = Union[Expression, Callable[..., Any]]  # a text of a document, or a function of the state

MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Loop:
    """`type: while_loop`: the graph again and again as long as `condition` holds before a turn.

    After `max_iterations` turns control goes on, with a warning when the condition still holds.
    """

    graph: Graph
    condition: Asked
    max_iterations: int

    @cached_property
    def flow(self) -> Line:
        """The steps of the graph, unfolded once."""
        return flow_of(with_joins(self.graph).main_line)


@dataclass(frozen=True)
class Each:
    """`type: dynamic_parallel`: the graph once for every item, each on a copy of the state.

    A branch finds its item in the state under `item_var`, its number from 0 under `index_var`. `max_concurrency`,
    `fail_fast` and `strategy` go before the settings where they are given. The list of what the branches yielded goes
    into the state under `output`, their results to the node `fan_in`; `single` says that it is one block of code.
    """

    graph: Graph
    items: Asked
    item_var: str = "item"
    index_var: str = "index"
    max_concurrency: Optional[int] = None
    fail_fast: Optional[bool] = None
    strategy: Optional[str] = None
    output: Optional[str] = None
    fan_in: Optional[str] = None
    single: bool = False

    @cached_property
    def flow(self) -> Line:
        """The steps of the graph, unfolded once."""
        return flow_of(with_joins(self.graph).main_line)


@dataclass(frozen=True)
class Subgraph:
    """Another workflow, or `steps:`, in the place of a node's code.

    With `input`, the inner state is made of these values alone, otherwise it is the state. With `output`, these values
    of the inner state go into the state, otherwise everything that the inner nodes changed.
    """

    graph: Graph
    input: Optional[Mapping[str, Asked]] = None
    output: Optional[Mapping[str, Asked]] = None

    @cached_property
    def flow(self) -> Line:
        """The steps of the graph, unfolded once."""
        return flow_of(with_joins(self.graph).main_line)


Body = Union[Loop, Each, Subgraph]


def inner_name(outer: str, inner: str) -> str:
    """The name by which a node of a body is known outside."""
    return f"{outer}/{inner}"


def bodies_in(graph: Graph) -> Iterator[tuple[Node, Body]]:
    """The nodes of one graph that have a body, without those of the graphs inside."""
    for node in graph.nodes:
        if node.body is not None:
            yield node, node.body


def all_within(graph: Graph) -> Iterator[Graph]:
    """The graphs of all bodies inside this graph, outer before inner; each once."""
    waiting, seen = [graph], {id(graph)}
    for here in waiting:  # grows while it is walked
        for _, body in bodies_in(here):
            if id(body.graph) not in seen:
                seen.add(id(body.graph))
                waiting.append(body.graph)
                yield body.graph


def streams_within(graph: Graph) -> bool:
    """Does a stream section stand in this graph, or in a body inside it?"""
    return any(sections_of(each) for each in (graph, *all_within(graph)))


def forks_within(graph: Graph) -> bool:
    """Does anything in this graph, or in a body inside it, run in a process of its own?"""
    return streams_within(graph) or any(_forks(each) for each in (graph, *all_within(graph)))


def _forks(graph: Graph) -> bool:
    edges = (edge.strategy or graph.parallel.strategy for edge in graph.edges if edge.parallel)
    items = (strategy_of(body) for _, body in bodies_in(graph) if isinstance(body, Each))
    return "process" in (*edges, *items)


def unfold(graph: Graph) -> None:
    """Unfold the flows of all bodies now: a forked branch then finds them done."""
    for _, body in bodies_in(graph):
        if "flow" not in vars(body):
            unfold(body.graph)
            body.flow  # noqa: B018  asking for it unfolds it


def strategy_of(body: Each) -> str:
    """The strategy of a fan-out over items; a section inside implies process where nobody named one."""
    if body.strategy is not None:
        return body.strategy
    implied = not body.graph.strategy_given and streams_within(body.graph)
    return "process" if implied else body.graph.parallel.strategy
