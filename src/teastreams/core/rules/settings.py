"""Rules about values and features: strategies, modes, sizes, times, interrupts and timeouts of single nodes.

A document is checked for types and spelling before it becomes a graph; a graph built in Python comes here straight,
and the same values have to be refused.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional, Sequence

from teastreams.core.control.units import sections_of
from teastreams.core.graph import ON_THREADS, OVERFLOWS, STRATEGIES, STREAM_MODES, Edge, Graph, Node, ParallelConfig
from teastreams.core.policies import ERROR_MODES, RetryPolicy
from teastreams.core.rules.wording import Found, Subject, found, place, quoted

PROCESS_YAML = "\nsettings:\n  parallel:\n    strategy: process"


class Value(NamedTuple):
    """A setting: its key, its value, and what it has to be: one of `words`, or a number of a kind."""

    key: str
    value: object
    kind: str = ""
    words: Sequence[str] = ()


NUMBERS = {
    "count": "a whole number above 0",
    "retries": "a whole number, 0 or more",
    "seconds": "a number of seconds above 0",
    "delay": "a number of seconds, 0 or more",
    "factor": "a number from 1 on",
}


def bad_values(graph: Graph) -> Iterator[Found]:
    for value in _settings_values(graph.parallel):
        yield from _refused(graph, "settings.parallel.", value)
    for node in graph.nodes:
        for value in _node_values(node):
            yield from _refused(node, f"node {quoted(node.name)}: ", value)
    for name, limit in graph.services.limits.items():
        if not limit.sound:
            fix = "give one of `rpm` and `rps`, above 0, and a `burst` from 1 on"
            yield found(graph, f"the rate limiter {quoted(name)} has no usable rate", fix, "settings.rate_limiters")
    for edge in graph.edges:
        for value in _edge_values(edge):
            yield from _refused(edge, f"the edge from {quoted(edge.source)}: ", value)


def remote(graph: Graph) -> Iterator[Found]:
    message = "strategy 'remote' is not there yet"
    if graph.parallel.strategy == "remote":
        yield found(graph, message, f"write{PROCESS_YAML}", "settings.parallel.strategy")
    for edge in graph.edges:
        if edge.strategy == "remote":
            fix = "write `parallel_strategy: process`"
            yield found(edge, f"the edge from {quoted(edge.source)}: {message}", fix, "parallel_strategy")


def streams_in_threads(graph: Graph) -> Iterator[Found]:
    # Giving `streams=` is the opt-in in Python: there a strategy that nobody named is process.
    implied = graph.streams_optional and not graph.strategy_given
    if graph.parallel.strategy != "thread" or implied:
        return
    for members in sections_of(graph):
        if not _stands_alone(graph, members) and not _has_process_edge(graph, members):
            key, first = "settings.parallel.strategy", graph.node(members[0])
            reason = "has streams, which need processes" if first.streams else "is a program, which needs a process"
            message = f"node {quoted(members[0])} {reason}, but the strategy is thread"
            yield found(graph if place(graph, key) else first, message, f"write{PROCESS_YAML}", key, "streams")
            return  # one line mends them all


def _stands_alone(graph: Graph, members: Sequence[str]) -> bool:
    """A program without streams and outside every fan-out: no strategy has a say in how it runs."""
    in_fan_outs = {target for edge in graph.edges if edge.parallel for target in edge.targets}
    return graph.node(members[0]).streams is None and members[0] not in in_fan_outs


def _has_process_edge(graph: Graph, members: Sequence[str]) -> bool:
    """An edge that says `parallel_strategy: process` speaks for the whole section it touches."""
    return any(
        edge.strategy == "process" and not set(members).isdisjoint((edge.source, *edge.targets)) for edge in graph.edges
    )


def stream_branches_in_threads(graph: Graph) -> Iterator[Found]:
    streaming = {node.name for node in graph.nodes if node.streaming}
    for edge in graph.edges:
        if edge.strategy == "thread" and edge.parallel and not streaming.isdisjoint(edge.targets):
            name = next(target for target in edge.targets if target in streaming)
            message = f"the parallel edge from {quoted(edge.source)} has the strategy thread"
            kind = "stream node" if graph.node(name).streams else "program"
            fix = "write `parallel_strategy: process`"
            yield found(edge, f"{message}, but {quoted(name)} is a {kind}", fix, "parallel_strategy")


def interrupts_in_sections(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        for key, wanted, instead, beside in (
            ("interrupt_before", node.interrupt_before, "interrupt_after", "before"),
            ("interrupt_after", node.interrupt_after, "interrupt_before", "after"),
        ):
            if node.streaming and wanted:
                message = f"cannot checkpoint a stream node: {quoted(node.name)} has {key}"
                fix = f"delete it and write `{instead}: true` on the node {beside} the stream section"
                yield found(node, message, fix, key)


def timeouts_without_worker(graph: Graph) -> Iterator[Found]:
    for node in graph.nodes:
        if node.timeout_seconds is not None and not node.streaming:
            message = "only a node in a worker of its own can be ended"
            fix = "delete `timeout`, or limit the whole run with `--timeout SECONDS`"
            yield found(node, f"{message}: {quoted(node.name)} has a timeout but is not a stream node", fix, "timeout")


def _settings_values(parallel: ParallelConfig) -> Iterator[Value]:
    streams = parallel.streams
    yield Value("strategy", parallel.strategy, words=STRATEGIES)
    yield Value("on_threads", parallel.on_threads, words=ON_THREADS)
    yield Value("max_workers", parallel.max_workers, "count")
    yield Value("timeout_seconds", parallel.timeout_seconds, "seconds")
    yield Value("result_limit", parallel.result_limit, "count")
    yield Value("streams.buffer_size", streams.buffer_size, "count")
    yield Value("streams.buffer_limit", streams.buffer_limit, "count")
    yield Value("streams.overflow", streams.overflow, words=OVERFLOWS)
    yield Value("streams.spill_limit", streams.spill_limit, "count")
    yield Value("streams.timeout", streams.timeout, "seconds")
    yield Value("streams.stall_timeout", streams.stall_timeout, "seconds")
    yield Value("streams.grace_seconds", streams.grace_seconds, "delay")
    yield Value("streams.drain_seconds", streams.drain_seconds, "delay")
    yield from _policy_values("retry_policy", parallel.retry_policy)
    if parallel.circuit_breaker is not None:
        yield Value("circuit_breaker.failure_threshold", parallel.circuit_breaker.failure_threshold, "count")
        yield Value("circuit_breaker.reset_timeout", parallel.circuit_breaker.reset_timeout, "delay")
        yield Value("circuit_breaker.half_open_max_calls", parallel.circuit_breaker.half_open_max_calls, "count")


def _policy_values(key: str, policy: Optional[RetryPolicy]) -> Iterator[Value]:
    if policy is not None:
        yield Value(f"{key}.max_retries", policy.max_retries, "retries")
        yield Value(f"{key}.base_delay", policy.base_delay, "delay")
        yield Value(f"{key}.max_delay", policy.max_delay, "delay")
        yield Value(f"{key}.backoff_multiplier", policy.backoff_multiplier, "factor")


def _node_values(node: Node) -> Iterator[Value]:
    yield Value("timeout", node.timeout_seconds, "seconds")
    yield from _policy_values("retry", node.retry)
    yield Value("on_error.mode", node.on_error.mode, words=ERROR_MODES)
    if node.streams is not None:
        delivery = node.streams.delivery
        yield Value("streams.stdin.overflow", delivery.overflow, words=OVERFLOWS)
        yield Value("streams.stdin.buffer_limit", delivery.buffer_limit, "count")
        yield Value("streams.stdin.spill_limit", delivery.spill_limit, "count")


def _edge_values(edge: Edge) -> Iterator[Value]:
    yield Value("parallel_strategy", edge.strategy, words=STRATEGIES)
    yield Value("stream_mode", edge.stream_mode, words=STREAM_MODES)
    yield Value("max_workers", edge.max_workers, "count")
    yield Value("timeout_seconds", edge.timeout_seconds, "seconds")
    yield from _policy_values("retry", edge.retry)
    yield Value("on_error.mode", edge.on_error.mode, words=ERROR_MODES)


def _refused(subject: Subject, whose: str, value: Value) -> Iterator[Found]:
    wanted = _wanted(value)
    if wanted is not None:
        keys = (whose + value.key, value.key) if isinstance(subject, Graph) else (value.key,)
        yield found(subject, f"{whose}{value.key} is {quoted_value(value.value)}", f"write {wanted}", *keys)


def _wanted(value: Value) -> Optional[str]:
    """What should stand there, or None if the value is right. None as a value means the default everywhere."""
    if value.value is None:
        return None
    if value.words:
        key = value.key.rpartition(".")[2]
        return None if value.value in value.words else " or ".join(f"`{key}: {word}`" for word in value.words)
    return None if _fits(value.value, value.kind) else NUMBERS[value.kind]


def _fits(value: object, kind: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if kind in ("count", "retries") and not isinstance(value, int):
        return False
    least = 1 if kind == "factor" else 0
    least_reached = value >= least if kind in ("retries", "delay", "factor") else value > 0
    return least_reached and value < float("inf")


def quoted_value(value: object) -> str:
    """The value as Python writes it, cut."""
    return quoted(value) if isinstance(value, str) else repr(value)[:100]
