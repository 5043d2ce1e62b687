"""YAML data to a graph: every key, its default, its place, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from teastreams.core.graph import Delivery, Edge, Graph, Node, NodeStreamsConfig, ParallelConfig, StreamSettings
from teastreams.errors import Problem
from teastreams.workflow.keys import (
    CONFIG,
    DOCUMENT,
    EDGE,
    NODE,
    ON_ERROR,
    OUTPUT,
    PARALLEL,
    PLACES,
    RATE_LIMITER,
    RETRY,
    SECRETS,
    SETTINGS,
    STDIN,
    STREAMS,
    STREAMS_SETTINGS,
)
from teastreams.workflow.load import load_bytes, load_text

ON = "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"
ONE = "nodes: [{name: a, run: pass}]\nedges: [{from: __start__, to: a}, {from: a, to: __end__}]\n"
PAIR = """nodes:
  - {name: a, run: pass, streams: {stdout: bytes}}
  - {name: b, run: pass, streams: {stdin: bytes}}
edges:
  - {from: __start__, to: a}
  - {from: a, to: b}
  - {from: b, to: __end__}
"""
FORK = """nodes: [{name: a, run: pass}, {name: b, run: pass}, {name: c, run: pass}, {name: j, run: pass}]
edges:
  - {from: __start__, to: a}
  - {from: j, to: __end__}
"""


def problems_of(text: str) -> tuple[Problem, ...]:
    graph, problems = load_bytes(text.encode(), "f.yaml")
    assert graph is None
    return problems


def pair(producer: str, consumer: str) -> Graph:
    """A graph of two nodes with these `streams:`."""
    return load_text(ON + PAIR.replace("{stdout: bytes}", producer).replace("{stdin: bytes}", consumer))


def settings(parallel: str) -> ParallelConfig:
    return load_text(f"settings: {{parallel: {{{parallel}}}}}\n{ONE}").parallel


def streams(text: str) -> StreamSettings:
    return settings(f"streams: {{{text}}}").streams


def place(where: object) -> str:
    return str(where)


class TestNodes:
    @pytest.mark.scenario("001.4-UNIT-001", "001.4-UNIT-002")
    def test_stdin_and_stdout_name_channels(self) -> None:
        graph = pair("{stdout: lines}", "{stdin: lines}")

        assert graph.node("a").streams == NodeStreamsConfig(stdout="lines")
        assert graph.node("b").streams == NodeStreamsConfig(stdin="lines")

    @pytest.mark.scenario("001.4-UNIT-003")
    def test_stderr_names_a_channel(self) -> None:
        graph = pair("{stderr: complaints}", "{stdin: complaints}")

        assert graph.node("a").streams == NodeStreamsConfig(stderr="complaints")

    @pytest.mark.scenario("001.4-UNIT-004")
    def test_no_block_means_no_config(self) -> None:
        assert load_text(ON + ONE).nodes[0].streams is None

    @pytest.mark.scenario("QA-001.4-UNIT-005")
    def test_a_node_may_declare_all_three_streams(self) -> None:
        text = """nodes:
  - {name: a, run: pass, streams: {stdout: one}}
  - {name: b, run: pass, streams: {stdin: one, stdout: two, stderr: three}}
  - {name: c, run: pass, streams: {stdin: two}}
  - {name: d, run: pass, streams: {stdin: three}}
edges:
  - {from: __start__, to: a}
  - {from: a, to: b}
  - {from: b, to: [c, d], parallel: true}
"""
        assert load_text(ON + text).node("b").streams == NodeStreamsConfig("one", "two", "three")

    def test_the_long_forms_say_the_same_and_more(self) -> None:
        long = "{stdin: {from: lines, overflow: spill, buffer_limit: 64MiB, spill_limit: 1000}}"
        graph = pair("{stdout: {to: lines}}", long)
        reader = graph.node("b").streams

        assert graph.node("a").streams == NodeStreamsConfig(stdout="lines")
        assert reader is not None
        assert reader.stdin == "lines"
        assert reader.delivery == Delivery("spill", 64 * 1024 * 1024, 1000)

    def test_the_long_form_leaves_out_what_it_does_not_say(self) -> None:
        reader = pair("{stdout: lines}", "{stdin: {from: lines}}").node("b").streams

        assert reader == NodeStreamsConfig(stdin="lines")

    def test_the_other_keys_become_fields(self) -> None:
        text = ON + PAIR.replace("name: b, ", "name: b, timeout: 2, description: words, fan_in: false, ")
        node = load_text(text).node("b")

        assert (node.timeout_seconds, node.interrupt_before, node.interrupt_after) == (2.0, False, False)

    def test_interrupts_are_flags(self) -> None:
        text = ONE.replace("name: a", "name: a, interrupt_before: true, interrupt_after: true")
        node = load_text(text).nodes[0]

        assert (node.interrupt_before, node.interrupt_after) == (True, True)

    def test_every_key_has_its_place(self) -> None:
        text = """nodes:
  - name: a
    timeout: 5
    streams:
      stdout: x
      stderr: {to: y}
    run: |
      pass
  - {name: b, run: pass, streams: {stdin: {from: x, overflow: block}}}
  - {name: c, run: pass, streams: {stdin: y}}
edges:
  - {from: __start__, to: a}
  - {from: a, to: [b, c], parallel: true}
"""
        nodes = load_text(ON + text, "f").nodes

        assert place(nodes[0].where) == "f:3:5"
        assert {key: place(where) for key, where in nodes[0].positions.items()} == {
            "name": "f:3:11",
            "timeout": "f:4:14",
            "streams": "f:5:5",
            "streams.stdout": "f:6:15",
            "streams.stderr": "f:7:20",
            "run": "f:8:10",
        }
        assert place(nodes[1].positions["streams.stdin"]) == "f:10:50"
        assert place(nodes[1].positions["streams.stdin.overflow"]) == "f:10:63"
        assert place(nodes[2].positions["streams.stdin"]) == "f:11:43"


class TestEdges:
    def fork(self, edges: str) -> Edge:
        (edge,) = [edge for edge in load_text(FORK + edges).edges if edge.source == "a"]
        return edge

    @pytest.mark.scenario("001.4-UNIT-005")
    def test_direct_is_a_stream_mode(self) -> None:
        text = ON + PAIR.replace("to: b}", "to: b, stream_mode: direct}")

        assert load_text(text).edges[1].stream_mode == "direct"

    @pytest.mark.scenario("001.4-UNIT-006")
    def test_broadcast_is_a_stream_mode(self) -> None:
        text = """nodes:
  - {name: a, run: pass, streams: {stdout: x}}
  - {name: b, run: pass, streams: {stdin: x}}
  - {name: c, run: pass, streams: {stdin: x}}
edges:
  - {from: __start__, to: a}
  - {from: a, to: [b, c], parallel: true, stream_mode: broadcast}
"""
        assert load_text(ON + text).edges[1].stream_mode == "broadcast"

    @pytest.mark.scenario("001.4-UNIT-007")
    def test_any_other_mode_is_refused_with_the_words_there_are(self) -> None:
        (problem,) = problems_of(ON + PAIR.replace("to: b}", "to: b, stream_mode: multicast}"))

        wrong = "not the text 'multicast'"
        assert problem.message == f"`stream_mode` of edge 2 must be one of `direct`, `broadcast`, {wrong}"
        assert problem.fix.startswith("write `stream_mode: ")
        assert place(problem.where) == "f.yaml:7:35"

    @pytest.mark.scenario("QA-001.4-UNIT-008")
    def test_the_mode_is_direct_unless_given(self) -> None:
        assert {edge.stream_mode for edge in load_text(ON + PAIR).edges} == {"direct"}

    def test_a_parallel_edge_has_targets_in_order(self) -> None:
        edge = self.fork("  - {from: a, to: [c, b], parallel: true, fan_in: j, parallel_strategy: process}\n")

        assert (edge.targets, edge.parallel, edge.fan_in, edge.strategy) == (("c", "b"), True, "j", "process")

    @pytest.mark.parametrize("word", ["type: parallel", "parallel: true", "type: parallel, parallel: true"])
    def test_edges_of_one_target_each_are_joined_in_their_order(self, word: str) -> None:
        edge = self.fork(
            f"  - {{from: a, to: c, {word}, fan_in: j, parallel_strategy: process}}\n"
            f"  - {{from: a, to: b, {word}, fan_in: j}}\n"
        )

        assert (edge.targets, edge.parallel, edge.fan_in, edge.strategy) == (("c", "b"), True, "j", "process")

    def test_what_only_a_later_one_says_holds_for_all(self) -> None:
        edge = self.fork(
            "  - {from: a, to: b, type: parallel}\n"
            "  - {from: a, to: c, type: parallel, fan_in: j, parallel_strategy: thread, stream_mode: direct}\n"
        )

        assert (edge.targets, edge.fan_in, edge.strategy, edge.stream_mode) == (("b", "c"), "j", "thread", "direct")
        assert place(edge.positions["fan_in"]) == "<string>:6:46"

    def test_the_joined_edge_stands_at_the_first_and_knows_the_place_of_every_target(self) -> None:
        edge = self.fork(
            "  - {from: a, to: b, type: parallel, fan_in: j}\n  - {from: a, to: c, type: parallel, fan_in: j}\n"
        )

        assert place(edge.where) == "<string>:5:5"
        assert [place(edge.positions[key]) for key in ("to.0", "to.1", "fan_in")] == [
            "<string>:5:19",
            "<string>:6:19",
            "<string>:5:46",
        ]

    def test_edges_of_different_sources_are_not_joined(self) -> None:
        edges = "  - {from: a, to: b, type: parallel, fan_in: j}\n  - {from: b, to: c, type: parallel, fan_in: j}\n"
        text = FORK + edges
        _, problems = load_bytes(text.encode(), "f")

        assert [str(problem.where) for problem in problems] == ["f:5:19", "f:6:19"]

    def test_broadcast_in_one_of_the_joined_edges_is_enough(self) -> None:
        text = """nodes:
  - {name: a, run: pass, streams: {stdout: x}}
  - {name: b, run: pass, streams: {stdin: x}}
  - {name: c, run: pass, streams: {stdin: x}}
edges:
  - {from: __start__, to: a}
  - {from: a, to: b, type: parallel}
  - {from: a, to: c, type: parallel, stream_mode: broadcast}
"""
        assert load_text(ON + text).edges[1].stream_mode == "broadcast"

    def test_every_key_has_its_place(self) -> None:
        text = "  - from: a\n    to: [b, c]\n    parallel: true\n    parallel_strategy: thread\n    fan_in: j\n"
        edge = self.fork(text)

        assert place(edge.where) == "<string>:5:5"
        assert {key: place(where) for key, where in edge.positions.items()} == {
            "from": "<string>:5:11",
            "to": "<string>:6:5",
            "to.0": "<string>:6:10",
            "to.1": "<string>:6:13",
            "parallel": "<string>:7:15",
            "parallel_strategy": "<string>:8:24",
            "fan_in": "<string>:9:13",
        }


class TestSettings:
    @pytest.mark.scenario("001.4-UNIT-013")
    @pytest.mark.parametrize("text", ["", "settings: {}\n", "settings: {parallel: {}}\n", "settings:\n  parallel:\n"])
    def test_streams_are_off_by_default(self, text: str) -> None:
        graph = load_text(text + ONE)

        assert graph.parallel == ParallelConfig()
        assert graph.parallel.streams.enabled is False
        assert graph.strategy_given is False

    @pytest.mark.scenario("QA-001.4-UNIT-017")
    def test_enabled_true_switches_them_on(self) -> None:
        assert streams("enabled: true").enabled is True
        assert streams("enabled: false").enabled is False

    @pytest.mark.scenario("001.4-UNIT-014")
    def test_the_buffer_size_is_64_kib_unless_given(self) -> None:
        default, given = streams("enabled: true"), streams("buffer_size: 131072")

        assert (default.buffer_size, default.buffer_grows) == (65536, True)
        assert (given.buffer_size, given.buffer_grows) == (131072, False)

    @pytest.mark.scenario("QA-001.4-UNIT-019")
    @pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("128KiB", 131072), ("1MB", 1_000_000)])
    def test_a_custom_buffer_size_is_bytes_or_has_a_unit(self, text: str, size: int) -> None:
        assert streams(f"buffer_size: {text}").buffer_size == size

    @pytest.mark.scenario("001.4-UNIT-015")
    def test_the_timeout_is_seconds_and_none_unless_given(self) -> None:
        assert streams("enabled: true").timeout is None
        assert streams("timeout: null").timeout is None
        assert streams("timeout: 300").timeout == 300.0

    def test_the_other_stream_settings_become_fields(self) -> None:
        text = "buffer_limit: 1MiB, overflow: spill, spill_limit: 2GiB, stall_timeout: 1.5, grace: 0, drain: 0.5"

        assert streams(text) == StreamSettings(
            buffer_limit=1024**2,
            overflow="spill",
            spill_limit=2 * 1024**3,
            stall_timeout=1.5,
            grace_seconds=0.0,
            drain_seconds=0.5,
        )

    def test_the_parallel_settings_become_fields(self) -> None:
        text = "strategy: process, max_workers: 3, timeout_seconds: 9, fail_fast: true, include_traceback: false"

        assert settings(text) == ParallelConfig("process", 3, 9.0, True, False)

    def test_the_limit_of_a_result_is_a_size(self) -> None:
        assert settings("result_limit: 256MiB").result_limit == 256 << 20
        assert settings("strategy: process").result_limit == 1 << 30

    def test_the_timeout_has_a_short_name(self) -> None:
        assert settings("timeout: 9").timeout_seconds == 9.0

    def test_a_year_is_the_longest_time(self) -> None:
        assert streams("timeout: 31622400").timeout == 31622400.0
        assert problems_of(f"settings: {{parallel: {{timeout: 31622401}}}}\n{ONE}")

    def test_settings_know_their_places(self) -> None:
        graph = load_text(ON + PAIR, "f")

        assert graph.strategy_given is True
        assert graph.streams_optional is False
        assert place(graph.positions["settings.parallel"]) == "f:1:12"
        assert place(graph.positions["settings.parallel.strategy"]) == "f:1:33"
        assert place(graph.positions["settings.parallel.streams.enabled"]) == "f:1:61"
        assert place(graph.positions["nodes"]) == "f:2:1"


class TestStreamsNeedTheirSwitch:
    @pytest.mark.parametrize(
        ("before", "text"),
        [
            ("", "settings: {parallel: {strategy: process, streams: {enabled: true}}}"),
            ("settings: {}\n", "parallel: {strategy: process, streams: {enabled: true}}"),
            ("settings: {parallel: {strategy: process}}\n", "streams: {enabled: true}"),
            ("settings: {parallel: {strategy: process, streams: {enabled: false}}}\n", "enabled: true"),
            ("settings: {parallel: {strategy: process, streams: {timeout: 5}}}\n", "enabled: true"),
        ],
    )
    def test_the_problem_gives_the_exact_text_to_add(self, before: str, text: str) -> None:
        (problem,) = problems_of(before + PAIR)

        assert problem.message == ("node 'a' (and 1 more) has `streams:`, but streams are not enabled in this document")
        assert f"`{text}`" in problem.fix

    def test_the_text_to_add_is_right(self) -> None:
        (problem,) = problems_of(PAIR)
        line = problem.fix.split("`")[1]

        assert load_text(f"{line}\n{PAIR}").parallel.streams.enabled is True

    def test_one_node_is_named_alone(self) -> None:
        problems = problems_of(ONE.replace("run: pass", "run: pass, streams: {stdout: x}"))
        (problem,) = [problem for problem in problems if "enabled" in problem.message]

        assert problem.message == "node 'a' has `streams:`, but streams are not enabled in this document"

    @pytest.mark.scenario("QA-001.4-UNIT-015")
    def test_a_thread_strategy_that_was_asked_for_is_a_problem_of_its_own(self) -> None:
        first, second = problems_of("settings: {parallel: {strategy: thread}}\n" + PAIR)

        assert "thread" in first.message
        assert "strategy: process" in first.fix
        assert "enabled" in second.message


class TestTop:
    def test_the_graph_knows_its_name_file_and_variables(self) -> None:
        text = "name: n\nvariables: {a: 1, b: [x, {c: null}], d: no}\n" + ONE
        graph = load_text(text, "f.yaml")

        assert (graph.name, graph.file) == ("n", "f.yaml")
        assert graph.variables == {"a": 1, "b": ["x", {"c": None}], "d": "no"}

    def test_a_document_without_them_has_none(self) -> None:
        assert (load_text(ONE).name, load_text(ONE).variables) == ("", {})
        assert load_text("variables:\n" + ONE).variables == {}

    def test_interrupts_under_config_are_flags_of_the_nodes(self) -> None:
        graph = load_text("config: {interrupt_before: [a], interrupt_after: [a]}\n" + ONE, "f")
        node = graph.nodes[0]

        assert (node.interrupt_before, node.interrupt_after) == (True, True)
        assert place(node.positions["interrupt_before"]) == "f:1:29"
        assert place(node.positions["interrupt_after"]) == "f:1:51"

    def test_an_unknown_node_under_config_is_not_reported_when_nodes_are_missing(self) -> None:
        text = "config: {interrupt_before: [b]}\nnodes: [{run: pass}]\nedges: [{from: __start__, to: b}]\n"

        assert [problem.message for problem in problems_of(text)] == ["node 1 has no name"]

    def test_suggestions_end_when_the_report_is_full(self) -> None:
        names = ", ".join(f"aa{number}" for number in range(300))
        problems = problems_of(f"config: {{interrupt_before: [{names}]}}\n{ONE}")

        assert len(problems) == 101
        assert problems[0].fix.startswith("name a node")


def _streams(producer: str, consumer: str) -> str:
    return ON + PAIR.replace("{stdout: bytes}", producer).replace("{stdin: bytes}", consumer)


WITH_KEY = {
    DOCUMENT.name: "@: 1\n" + ONE,
    SETTINGS.name: "settings: {@: 1}\n" + ONE,
    PARALLEL.name: "settings: {parallel: {@: 1}}\n" + ONE,
    STREAMS_SETTINGS.name: "settings: {parallel: {streams: {@: 1}}}\n" + ONE,
    CONFIG.name: "config: {@: 1}\n" + ONE,
    NODE.name: ONE.replace("run: pass", "run: pass, @: 1"),
    EDGE.name: ONE.replace("to: a}", "to: a, @: 1}"),
    STREAMS.name: _streams("{stdout: bytes, @: 1}", "{stdin: bytes}"),
    OUTPUT.name: _streams("{stdout: {to: bytes, @: 1}}", "{stdin: bytes}"),
    STDIN.name: _streams("{stdout: bytes}", "{stdin: {from: bytes, @: 1}}"),
    RETRY.name: ONE.replace("run: pass", "run: pass, retry: {@: 1}"),
    RATE_LIMITER.name: "settings: {rate_limiters: {x: {rpm: 1, @: 1}}}\n" + ONE,
    SECRETS.name: "settings: {secrets: {env: A, @: 1}}\n" + ONE,
    ON_ERROR.name: ONE.replace("run: pass", "run: pass, on_error: {@: 1}"),
}
"""A document for each place, with an @ where another key goes."""


LATER = [(place.name, key) for place in PLACES for key in place.later]


@pytest.mark.parametrize(("where", "key"), LATER, ids=[f"{name}-{key}" for name, key in LATER])
def test_every_key_of_a_later_version_is_refused_by_name(where: str, key: str) -> None:
    (problem,) = problems_of(WITH_KEY[where].replace("@", key))

    assert problem.message.startswith(f"`{key}` in ")
    assert problem.message.endswith(" is not supported in this version")
    assert problem.fix


def test_no_key_is_both_known_and_of_a_later_version() -> None:
    assert [set(place.keys) & set(place.later) for place in PLACES] == [set()] * len(PLACES)


def test_a_graph_from_yaml_is_plain_frozen_data() -> None:
    graph: Any = load_text(ONE)

    assert isinstance(graph.nodes[0], Node)
    with pytest.raises(AttributeError):
        graph.name = "x"
