"""What `StateGraph` takes for nodes that hold other nodes -> the frozen values of `core.control.bodies`.

A graph inside may be a builder, a compiled workflow or a plain `Graph`. Expressions are texts, compiled here and never
evaluated, or functions of the state. What the values may be is the business of `core.rules`.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Protocol, Union

from teastreams.core.control.bodies import Asked, Loop, Subgraph
from teastreams.core.graph import Graph, Node, ParallelConfig
from teastreams.core.language.expressions import ExpressionError, parsed
from teastreams.errors import Problem, WorkflowError


class HasGraph(Protocol):
    """`StateGraph` and `CompiledGraph` are such."""

    graph: Graph


Inner = Union[Graph, HasGraph]
Value = Union[str, Callable[..., Any]]


def graph_within(inner: Any) -> Graph:
    """The graph that is meant. TypeError for anything else."""
    graph = inner if isinstance(inner, Graph) else getattr(inner, "graph", None)
    if not isinstance(graph, Graph):
        raise TypeError(f"a graph is needed here, not {type(inner).__name__}; pass a StateGraph or what it compiles to")
    return graph


def each_graph(body: Union[Inner, Callable[..., Any]], name: str, parallel: ParallelConfig) -> Graph:
    """The graph that runs for every item; a function becomes the only node of one."""
    return Graph((Node(name, body),), parallel=parallel) if callable(body) else graph_within(body)


def asked(value: Value) -> Asked:
    """An expression or a function. WorkflowError for text that is no expression."""
    if callable(value):
        return value
    try:
        return parsed(value)
    except ExpressionError as error:
        raise WorkflowError([Problem(str(error), error.fix)]) from None


def loop_of(body: Inner, condition: Value, max_iterations: int) -> Loop:
    """The body of `add_loop`."""
    return Loop(graph_within(body), asked(condition), max_iterations)


def subgraph_of(inner: Inner, taken: Optional[Mapping[str, Value]], given: Optional[Mapping[str, Value]]) -> Subgraph:
    """The body of `add_node(subgraph=...)`."""
    return Subgraph(graph_within(inner), _all(taken), _all(given))


def _all(values: Optional[Mapping[str, Value]]) -> Optional[Mapping[str, Asked]]:
    return None if values is None else {key: asked(value) for key, value in values.items()}
