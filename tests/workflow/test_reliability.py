"""`retry`, `on_error`, `circuit_breaker` and `rate_limiters` of a document: forms, defaults, mistakes."""

from __future__ import annotations

import pytest

from teastreams.core.graph import Edge, Graph, Node
from teastreams.core.limits import RateLimit
from teastreams.core.policies import CircuitBreakerConfig, OnError, RetryPolicy
from teastreams.engine.declaring.reactions import reaction_value
from teastreams.errors import WorkflowError
from teastreams.workflow.load import load_bytes, load_text


def node(keys: str) -> Node:
    """The first of three nodes, with these keys."""
    others = "{name: b, run: pass}, {name: c, run: pass}"
    return load_text(f"nodes: [{{name: a, run: pass, {keys}}}, {others}]").nodes[0]


def edge(keys: str) -> Edge:
    return load_text(
        "nodes: [{name: s, run: pass}, {name: a, run: pass}, {name: b, run: pass}, {name: j, run: pass}]\n"
        f"edges: [{{from: s, to: [a, b], parallel: true, fan_in: j, {keys}}}, {{from: __start__, to: s}}]"
    ).edges[0]


def graph(settings: str) -> Graph:
    return load_text(f"settings: {{{settings}}}\nnodes: [{{name: a, run: pass}}]")


def problems(text: str) -> list[str]:
    return [str(problem) for problem in load_bytes(text.encode(), "f")[1]]


TIMES = "base_delay: 0, max_delay: 5, backoff_multiplier: 1.5, jitter: true"
FULL = f"max_retries: 2, {TIMES}, retry_on: [OSError, KeyError]"
POLICY = RetryPolicy(2, 0.0, 5.0, 1.5, True, ("OSError", "KeyError"))


@pytest.mark.parametrize(
    ("keys", "retry", "on_error"),
    [
        ("description: plain", None, OnError()),
        ("retry: 2", RetryPolicy(max_retries=2), OnError()),
        ("retry: 0", RetryPolicy(max_retries=0), OnError()),
        ("retry: {}", RetryPolicy(), OnError()),
        ("retry: {retry_on: OSError}", RetryPolicy(retry_on=("OSError",)), OnError()),
        (f"retry: {{{FULL}}}", POLICY, OnError()),
        ("on_error: graceful", None, OnError("graceful")),
        ("on_error: retry", RetryPolicy(), OnError("retry")),
        ("on_error: {mode: retry, max_retries: 5, retry_delay: 2}", RetryPolicy(5, 2.0), OnError("retry")),
        (f"on_error: {{mode: graceful, {FULL}}}", POLICY, OnError("graceful")),
        ("on_error: {fallback: b}", None, OnError(fallback="b")),
        ("retry: 1, on_error: {mode: graceful, fallback: b}", RetryPolicy(1), OnError("graceful", "b")),
        ("retry: 1, on_error: retry", RetryPolicy(1), OnError("retry")),
    ],
)
def test_a_node_says_how_it_is_retried_and_what_then(keys: str, retry: RetryPolicy, on_error: OnError) -> None:
    found = node(keys)
    assert (found.retry, found.on_error) == (retry, on_error)


def test_a_parallel_edge_has_settings_of_its_own() -> None:
    found = edge("max_workers: 2, timeout_seconds: 1.5, fail_fast: false, retry: 3, on_error: graceful")
    assert (found.max_workers, found.timeout_seconds, found.fail_fast) == (2, 1.5, False)
    assert (found.retry, found.on_error) == (RetryPolicy(3), OnError("graceful"))
    assert edge("type: parallel").fail_fast is None


def test_edges_of_one_target_each_say_it_together() -> None:
    """What one of them says holds for all; two that differ are a problem with both values."""
    head = "nodes: [{name: s, run: pass}, {name: a, run: pass}, {name: b, run: pass}, {name: j, run: pass}]\nedges:\n"
    ends = "  - {from: __start__, to: s}\n"
    one = "  - {from: s, to: a, type: parallel, fan_in: j, retry: 2, on_error: graceful}\n"
    two = "  - {from: s, to: b, type: parallel, max_workers: 3, fail_fast: true, timeout_seconds: 4}\n"
    found = load_text(head + one + two + ends).edges[0]
    assert (found.targets, found.retry, found.on_error) == (("a", "b"), RetryPolicy(2), OnError("graceful"))
    assert (found.max_workers, found.fail_fast, found.timeout_seconds) == (3, True, 4.0)
    (problem,) = problems(head + one + two.replace("max_workers: 3", "retry: 1") + ends)
    assert "`retry` is '1 retries' here and '2 retries' in line 3" in problem


def test_the_settings_have_a_policy_a_circuit_and_limiters() -> None:
    parallel = graph(f"parallel: {{retry_policy: {{{FULL}}}, circuit_breaker: {{name: x, reset_timeout: 0}}}}").parallel
    assert parallel.retry_policy == POLICY
    assert parallel.circuit_breaker == CircuitBreakerConfig(reset_timeout=0.0, name="x")
    assert graph("parallel: {retry: 4}").parallel.retry_policy == RetryPolicy(4)
    assert graph("rate_limiters: {a b: {rpm: 60}, c: {rps: 0.5, burst: 3}}").services.limits == {
        "a b": RateLimit(rpm=60),
        "c": RateLimit(rps=0.5, burst=3),
    }
    assert graph("rate_limiters:").services.limits == {}


ONE = "nodes: [{name: a, run: pass}]"
WRONG = [
    ("nodes: [{name: a, run: pass, retry: -1}]", "`retry` of node 'a' must be a whole number from 0 to 1000000, not"),
    ("nodes: [{name: a, run: pass, retry: {base_delay: -1}}]", "`base_delay` of `retry` of node 'a' must be a number"),
    ("nodes: [{name: a, run: pass, retry: {retry_on: []}}]", "must be a list of names, not a list; write `retry_on:"),
    ("nodes: [{name: a, run: pass, retry: {retry_on: [3]}}]", "must be a list of names"),
    ("nodes: [{name: a, run: pass, retry: {backoff_multiplier: 0.5}}]", "must be a number from 1 up to 1000000"),
    ("nodes: [{name: a, run: pass, retry: {backoff_multiplier: .nan}}]", "must be a number from 1 up to 1000000"),
    ("nodes: [{name: a, run: pass, on_error: gracefull}]", "write `on_error: graceful`"),
    ("nodes: [{name: a, run: pass, on_error: {mode: skip}}]", "must be one of `raise`, `graceful`, `retry`"),
    ("nodes: [{name: a, run: pass, retry: 1, on_error: {max_retries: 2}}]", "node 'a' says twice how it is retried"),
    (
        "nodes: [{name: a, run: pass, on_error: {base_delay: 1, retry_delay: 2}}]",
        "`retry_delay` and `base_delay` of `on_error` of node 'a' are the same setting; keep one of the two",
    ),
    ("nodes: [{name: a, run: pass, on_error: {fallback: b}}]", "the fallback of node 'a' is 'b', which is no node"),
    (f"settings: {{parallel: {{retry: 1, retry_policy: 2}}}}\n{ONE}", "`retry` and `retry_policy` of settings"),
    (f"settings: {{rate_limiters: {{x: {{}}}}}}\n{ONE}", "the rate limiter 'x' has no rate; write one of them"),
    (f"settings: {{rate_limiters: {{x: {{rpm: 1, rps: 1}}}}}}\n{ONE}", "the rate limiter 'x' has both `rpm` and `rps`"),
    (f"settings: {{rate_limiters: {{x: {{rpm: 0}}}}}}\n{ONE}", "must be a number above 0 and up to 1000000"),
    (f"settings: {{rate_limiters: {{x: {{rmp: 1}}}}}}\n{ONE}", "unknown key 'rmp' in the rate limiter 'x'; did"),
    (f"settings: {{rate_limiters: [x]}}\n{ONE}", "`rate_limiters` of settings must be a mapping of names to rates"),
    (f"settings: {{rate_limiters: {{x: 3}}}}\n{ONE}", "the rate limiter 'x' must be a mapping, not"),
    (f"settings: {{parallel: {{circuit_breaker: {{failure_threshold: 0}}}}}}\n{ONE}", "must be a whole number from 1"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:45] for _, message in WRONG])
def test_a_mistake_is_one_problem_with_its_place(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert message in problem
    assert problem.startswith("f:")


# -- the same values in Python ----------------------------------------------------------------------------------------


def test_python_takes_the_same_forms() -> None:
    """A policy, a count or a mapping; a mode or a mapping."""
    assert reaction_value("x", None, "raise") == (None, OnError())
    assert reaction_value("x", 3, "graceful") == (RetryPolicy(3), OnError("graceful"))
    assert reaction_value("x", {"max_retries": 1, "retry_on": ["OSError"]}, OnError("graceful")) == (
        RetryPolicy(1, retry_on=("OSError",)),
        OnError("graceful"),
    )
    assert reaction_value("x", None, {"mode": "retry"}) == (RetryPolicy(), OnError("retry"))
    fallen = reaction_value("x", None, {"fallback": "f", "base_delay": 0})
    assert fallen == (RetryPolicy(base_delay=0), OnError("raise", "f"))


@pytest.mark.parametrize(
    ("retry", "on_error", "message"),
    [
        ({"retires": 3}, "raise", "`retry` of x has the unknown key 'retires'; the keys are max_retries"),
        (None, {"fall_back": "f"}, "`on_error` of x has the unknown key 'fall_back'; the keys are mode, fallback"),
        (1, {"max_retries": 2}, "x says twice how it is retried"),
    ],
)
def test_python_refuses_keys_that_it_does_not_know(retry: object, on_error: object, message: str) -> None:
    with pytest.raises(WorkflowError) as refused:
        reaction_value("x", retry, on_error)  # type: ignore[arg-type]
    assert message in str(refused.value)
