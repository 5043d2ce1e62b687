"""What only the functions of a graph can tell: is there something to run, and can it be called?

Everything else that may be wrong with a graph is the business of `core.rules`. Nothing is called here.
"""

from __future__ import annotations

from teastreams.core.graph import Graph
from teastreams.engine.calling import GIVEN, unknown_parameters
from teastreams.errors import Problem


def nothing_to_run(graph: Graph) -> list[Problem]:
    """Nodes without a function, a program or nodes inside."""
    return [
        Problem(
            f"node {node.name!r} has nothing to run", "give it a function: add_node(name, run=function)", node.where
        )
        for node in graph.nodes
        if not callable(node.run) and ((node.command is None and node.body is None) or node.run is not None)
    ]


def unknown_names(graph: Graph) -> list[Problem]:
    """Functions that ask for what nobody can give."""
    return [
        Problem(
            f"the function of node {node.name!r} asks for {', '.join(map(repr, unknown_parameters(node.run)))}",
            f"a node's function can name {', '.join(GIVEN)}",
            node.where,
        )
        for node in graph.nodes
        if callable(node.run) and unknown_parameters(node.run)
    ]
