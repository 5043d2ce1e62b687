"""Keys of a node that hold other nodes -> `core.control.bodies`: loops, fan-outs over items, sub-workflows, steps.

Every key is read whatever the node's `type` is, so that all its mistakes are told at once; then it is asked whether
the keys go together. Inner nodes are read as all nodes are. A sub-workflow's file is read by the report's `subgraph`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Mapping, Optional

from teastreams.core.control.bodies import MAX_ITERATIONS, Body, Each, Loop, Subgraph, bodies_in
from teastreams.core.graph import Edge, Graph, Node
from teastreams.core.language.expressions import Expression, ExpressionError, parsed
from teastreams.workflow.document import YamlMapping, YamlScalar, YamlSequence, YamlValue
from teastreams.workflow.readers.conditions import meant
from teastreams.workflow.readers.runblock import RunBlock
from teastreams.workflow.values import Block, Report, kind, name_of, place_of
from teastreams.workflow.wording import escaped, listed

ReadNode = Callable[[YamlValue, int, Report], Optional[tuple[Node, tuple[Edge, ...]]]]

LOOP, EACH = "while_loop", "dynamic_parallel"
BRANCH_STRATEGIES = ("thread", "process")
# Which keys go with which `type`; "" is a node without one.
TOGETHER: Mapping[str, tuple[str, ...]] = {
    "": ("steps", "subgraph", "input", "output"),
    LOOP: ("condition", "max_iterations", "body"),
    EACH: (
        "items",
        "item_var",
        "index_var",
        "max_concurrency",
        "fail_fast",
        "strategy",
        "parallel_strategy",
        "steps",
        "subgraph",
        "output",
    ),
}
BODY_KEYS = tuple(dict.fromkeys(key for keys in TOGETHER.values() for key in keys))
# Keys that give a node something to do in the place of `run`.
WORK = frozenset(("type", "steps", "subgraph"))


def body_of(block: Block, name: str, run: Optional[RunBlock], read_node: ReadNode) -> Optional[Body]:
    """The body that a node declares; None if it has none. `run` is its code, which a fan-out runs for every item."""
    what = block.choice("type", (LOOP, EACH)) or ""
    inside = {key: _graph(block, key, read_node) for key in ("body", "steps")}
    inside["subgraph"] = _document(block)
    if run is not None and what == EACH:
        inside["run"] = Graph((Node(name, run=run, where=block.where),))
    readings = _loop(block, inside, what), _each(block, inside, what), _subgraph(block, inside, what)
    _strangers(block, what)
    return next((reading for reading in readings if reading is not None), None)


def _loop(block: Block, inside: Mapping[str, Optional[Graph]], what: str) -> Optional[Loop]:
    condition = _expression(block, "condition", '"state.n < 3"', meant)
    turns = block.count("max_iterations")
    if turns is not None and turns > MAX_ITERATIONS:
        block.wrong("max_iterations", f"a whole number from 1 to {MAX_ITERATIONS}", "10")
    if what != LOOP:
        return None
    block.require("condition", f"{block.label} has no `condition`", 'add `condition: "state.n < 3"`')
    block.require("max_iterations", f"{block.label} has no `max_iterations`", "add `max_iterations: 10`")
    block.require("body", f"{block.label} has no `body`", "add `body:` and a list of nodes")
    graph = inside["body"]
    return None if graph is None or condition is None or turns is None else Loop(graph, condition, turns)


def _each(block: Block, inside: Mapping[str, Optional[Graph]], what: str) -> Optional[Each]:
    items = _expression(block, "items", '"{{ state.urls }}"')
    names = {key: _key_name(block, key) for key in ("item_var", "index_var")}
    fail_fast = block.flag("fail_fast") if "fail_fast" in block.entries else None
    strategies = [block.choice(key, BRANCH_STRATEGIES) for key in ("strategy", "parallel_strategy")]
    concurrency = block.count("max_concurrency")
    if what != EACH:
        return None
    block.require("items", f"{block.label} has no `items`", 'add `items: "{{ state.urls }}"`')
    work = [key for key in ("steps", "run", "subgraph") if key in block.entries]
    if len(work) != 1:
        has = f"has {listed(work)}" if work else "has nothing to run"
        block.report.add(block.where, f"{block.label} {has}", "write one of `steps`, `run` and `subgraph`")
    graph = inside.get(work[0]) if work else None
    if graph is None or items is None:
        return None
    return Each(
        graph,
        items,
        item_var=names["item_var"] or "item",
        index_var=names["index_var"] or "index",
        max_concurrency=concurrency,
        fail_fast=fail_fast,
        strategy=strategies[0] or strategies[1],
        output=_key_name(block, "output"),
        fan_in=_fan_in(block),
        single=work == ["run"],
    )


def _subgraph(block: Block, inside: Mapping[str, Optional[Graph]], what: str) -> Optional[Subgraph]:
    if what or block.entries.keys() & {"run", "uses"}:
        maps: Mapping[str, Optional[Mapping[str, Expression]]] = {"input": _expressions(block, "input")}
    else:
        maps = {key: _expressions(block, key) for key in ("input", "output")}
    if what:
        return None
    work = [key for key in ("steps", "subgraph", "run", "command") if key in block.entries]
    if len(work) > 1 and set(work) & {"steps", "subgraph"}:
        fix = "keep one of them, or make two nodes of it"
        block.report.add(block.where, f"{block.label} has both `{work[0]}` and `{work[1]}`", fix)
    graph = inside[work[0]] if work and work[0] in inside else None
    return None if graph is None else Subgraph(graph, maps["input"], maps.get("output"))


def _strangers(block: Block, what: str) -> None:
    """Keys that mean nothing on this kind of node."""
    own = TOGETHER[what] if what or block.entries.keys() & WORK else ()
    own = (*own, "output") if not what and block.entries.keys() & {"run", "uses"} else own
    for key in BODY_KEYS:
        if key in block.entries and key not in own:
            homes = [f"`type: {each}`" if each else "`subgraph`" for each, keys in TOGETHER.items() if key in keys]
            message = f"`{key}` of {block.label} means nothing here"
            block.report.add(block.where, message, f"it belongs to a node with {' or '.join(homes)}")


def _graph(block: Block, key: str, read_node: ReadNode) -> Optional[Graph]:
    """The nodes in a list under a key, as a graph of their own."""
    value = block.get(key)
    if value is None:
        return None
    if not isinstance(value, YamlSequence) or not value.items:
        found = "an empty list" if isinstance(value, YamlSequence) else kind(value)
        message = f"`{key}` of {block.label} must be a list of at least one node, not {found}"
        block.report.lacks(value.where, message, "begin each node with `- `, such as `- {name: some_node`")
        return None
    read = [read_node(item, number, block.report) for number, item in enumerate(value.items, start=1)]
    declared = [each for each in read if each is not None]
    jumps = tuple(edge for _, edges in declared for edge in edges)
    return Graph(tuple(node for node, _ in declared), jumps)


def _document(block: Block) -> Optional[Graph]:
    """The checked graph of the file that `subgraph` names."""
    value = block.get("subgraph")
    if value is None:
        return None
    if not isinstance(value, YamlScalar) or not isinstance(value.value, str) or not value.value:
        block.wrong("subgraph", "the path of a workflow file", "part.yaml")
        return None
    load = block.report.subgraph
    return None if load is None else load(value.value, value.where)


def _expression(block: Block, key: str, example: str, reading: Callable[[str], str] = str) -> Optional[Expression]:
    value = block.get(key)
    if value is None:
        return None
    block.report.takes.setdefault(block.entries[key].where, {"type": "string"})
    if not isinstance(value, YamlScalar) or not isinstance(value.value, str):
        block.wrong(key, "an expression", example)
        return None
    return _parsed(block, key, value, reading)


def _parsed(block: Block, key: str, value: YamlScalar, reading: Callable[[str], str] = str) -> Optional[Expression]:
    try:
        return parsed(reading(str(value.value)))
    except ExpressionError as error:
        block.report.add(value.where, f"`{key}` of {block.label}: {escaped(str(error))}", escaped(error.fix))
        return None


def _expressions(block: Block, key: str) -> Optional[Mapping[str, Expression]]:
    """A mapping of names to expressions; None where the key is absent or no mapping."""
    value = block.get(key)
    if not isinstance(value, YamlMapping):
        if value is not None and (key == "input" or ("subgraph" in block.entries and "type" not in block.entries)):
            block.wrong(key, "a mapping of names to expressions", '{total: "{{ state.total }}"}')
        return None
    found: dict[str, Expression] = {}
    for entry in value.entries:
        if not isinstance(entry.value, YamlScalar) or not isinstance(entry.value.value, str):
            message = f"`{key}.{escaped(entry.key)}` of {block.label} must be an expression, not {kind(entry.value)}"
            block.report.add(place_of(entry), message, f'write `{escaped(entry.key)}: "{{{{ state.some_key }}}}"`')
            continue
        expression = _parsed(block, f"{key}.{escaped(entry.key)}", entry.value)
        if expression is not None:
            found[entry.key] = expression
    return found


def _key_name(block: Block, key: str) -> Optional[str]:
    value = block.get(key)
    return None if value is None else name_of(value, key, block.label, block.report)


def _fan_in(block: Block) -> Optional[str]:
    """The node that gets the results; on other nodes the key is a flag."""
    value = block.get("fan_in")
    if isinstance(value, YamlScalar) and isinstance(value.value, str):
        return value.value
    return None


def adopted(graph: Graph) -> Graph:
    """The graph whose own bodies have its settings; a sub-workflow from a file keeps those of its document."""
    nodes = tuple(_with_settings(node, graph) for node in graph.nodes)
    return replace(graph, nodes=nodes, edges=(*graph.edges, *_to_fan_ins(graph)))


def _with_settings(node: Node, graph: Graph) -> Node:
    if node.body is None or node.body.graph.file:
        return node
    inner = replace(
        node.body.graph,
        parallel=graph.parallel,
        file=graph.file,
        strategy_given=graph.strategy_given,
        streams_optional=graph.streams_optional,
        variables=graph.variables,
    )
    return replace(node, body=replace(node.body, graph=adopted(inner)))


def _to_fan_ins(graph: Graph) -> tuple[Edge, ...]:
    """The edges that nobody has to write: from a fan-out over items to the node that gets its results."""
    sources = {edge.source for edge in graph.edges}
    each = [(node, body) for node, body in bodies_in(graph) if isinstance(body, Each)]
    return tuple(
        Edge(node.name, (body.fan_in,), where=node.where, positions=node.positions)
        for node, body in each
        if body.fan_in is not None and node.name not in sources
    )
