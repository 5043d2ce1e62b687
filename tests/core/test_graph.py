"""core/graph.py: declarations are frozen values with the defaults that the documents promise."""

from __future__ import annotations

import dataclasses

import pytest

from teastreams.core.graph import Delivery, Edge, Graph, Node, NodeStreamsConfig, ParallelConfig, StreamSettings


class TestStreams:
    @pytest.mark.parametrize(
        ("config", "channels"),
        [
            (NodeStreamsConfig(), ()),
            (NodeStreamsConfig(stdout="b"), ("b",)),
            (NodeStreamsConfig(stderr="c", stdout="b", stdin="a"), ("a", "b", "c")),
        ],
    )
    def test_channels_stand_in_the_order_of_the_descriptors(
        self, config: NodeStreamsConfig, channels: tuple[str, ...]
    ) -> None:
        assert config.channels == channels

    @pytest.mark.parametrize(
        ("streams", "streaming"),
        [(None, False), (NodeStreamsConfig(), False), (NodeStreamsConfig(delivery=Delivery("spill")), False),
         (NodeStreamsConfig(stderr="log"), True)],
    )  # fmt: skip
    def test_a_node_streams_when_it_touches_a_channel(self, streams: NodeStreamsConfig, streaming: bool) -> None:
        assert Node("n", streams=streams).streaming is streaming

    @pytest.mark.scenario("001.4-UNIT-013", "001.4-UNIT-014", "001.4-UNIT-015")
    def test_streams_are_off_with_64_kib_and_no_timeout_unless_said_otherwise(self) -> None:
        settings = ParallelConfig().streams

        assert (settings.enabled, settings.buffer_size, settings.timeout, settings.stall_timeout) == (
            False,
            65536,
            None,
            None,
        )
        assert (settings.overflow, settings.buffer_limit, settings.spill_limit) == ("block", 8 << 20, 1 << 30)

    @pytest.mark.scenario("QA-001.4-UNIT-008")
    def test_an_edge_is_direct_unless_said_otherwise(self) -> None:
        assert Edge("a", ("b",)).stream_mode == "direct"


class TestGraph:
    GRAPH = Graph(nodes=(Node("a"), Node("b"), Node("b", timeout_seconds=1.0)))

    def test_nodes_are_found_by_name(self) -> None:
        """Of two with one name, which rules refuse, the first."""
        assert self.GRAPH.node("b") is self.GRAPH.nodes[1]

    def test_an_unknown_name_is_a_key_error(self) -> None:
        with pytest.raises(KeyError, match="c"):
            self.GRAPH.node("c")

    @pytest.mark.parametrize(
        "value", [Graph(), Node("a"), Edge("a", ()), ParallelConfig(), StreamSettings(), Delivery()]
    )
    def test_declarations_are_frozen(self, value: object) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.name = "other"  # type: ignore[attr-defined]


def test_a_buffer_size_that_was_named_is_not_replaced_by_the_largest() -> None:
    """Only settings that name none let the runtime choose."""
    assert StreamSettings().buffer_grows
    assert not StreamSettings(buffer_size=4096).buffer_grows
    assert not dataclasses.replace(StreamSettings(), buffer_size=2**20).buffer_grows
