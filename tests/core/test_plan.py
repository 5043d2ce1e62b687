"""core/plan.py: who is forked, who holds which end of which pipe, and where somebody stands in between."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from dataclasses import replace
from typing import Any, Optional

import pytest

from teastreams.core.graph import Binding, Delivery, NodeStreamsConfig, StreamSettings
from teastreams.core.plan import OUTSIDE, Consumer, Pipe, SectionPlan, Wire, Worker, fanout_name, plan_section

PLAIN = Delivery()
SIGNS = {"<": "stdin", ">": "stdout", "!": "stderr"}


def member(word: str, delivery: Delivery = PLAIN) -> tuple[str, Optional[NodeStreamsConfig]]:
    """`a<in>out!err`; a bare name has no streams at all."""
    for sign in SIGNS:
        word = word.replace(sign, f" {sign}")
    name, *ends = word.split(" ")
    streams: dict[str, Any] = {SIGNS[end[0]]: end[1:] for end in ends}
    return name, NodeStreamsConfig(**streams, delivery=delivery) if ends else None


def planned(text: str, external: str = "", **settings: Any) -> SectionPlan:
    members = [member(word) for word in text.split()]
    return plan_section(members, StreamSettings(**settings), frozenset(external.split()))


def pipes(plan: SectionPlan) -> list[tuple[str, str, str]]:
    return [(pipe.name, pipe.writer, pipe.reader) for pipe in plan.pipes.values()]


def names(plan: SectionPlan) -> list[str]:
    return [worker.name for worker in plan.workers]


class TestDirect:
    def test_one_producer_and_one_consumer_share_one_bare_pipe(self) -> None:
        """And nothing else (L10)."""
        plan = planned("p>x c<x")

        assert plan.pipes == {"x": Pipe("x", "p", "c")}
        assert plan.workers == (Worker("p", (Wire(1, "x", "x"),)), Worker("c", (Wire(0, "x", "x"),)))
        assert plan.channels["x"].fanout is None

    def test_a_node_may_have_all_three_streams(self) -> None:
        plan = planned("p>x f<x>y!e c<y d<e")

        assert plan.workers[1].wires == (Wire(0, "x", "x"), Wire(1, "y", "y"), Wire(2, "e", "e"))
        assert plan.outputs == {"p": ("x",), "f": ("y", "e"), "c": (), "d": ()}
        assert plan.inputs == {"f": "x", "c": "y", "d": "e"}
        assert [(name, channel.producer, channel.fd) for name, channel in plan.channels.items()] == [
            ("x", "p", 1), ("y", "f", 1), ("e", "f", 2)
        ]  # fmt: skip

    def test_a_wire_is_found_by_its_descriptor(self) -> None:
        worker = planned("p>x f<x!e c<e").workers[1]

        assert (worker.wire(0), worker.wire(1), worker.wire(2)) == (Wire(0, "x", "x"), None, Wire(2, "e", "e"))

    def test_nodes_without_streams_are_workers_without_wires(self) -> None:
        """A batch."""
        plan = planned("a b")

        assert plan.workers == (Worker("a"), Worker("b"))
        assert (plan.channels, plan.pipes, plan.inputs) == ({}, {}, {})
        assert plan.outputs == {"a": (), "b": ()}


class TestFanout:
    @pytest.mark.parametrize(
        ("delivery", "settings", "stands_between"),
        [
            (Delivery(), {}, False),
            (Delivery(overflow="block"), {}, False),
            (Delivery(overflow="block"), {"overflow": "spill"}, False),
            (Delivery(spill_limit=10), {}, False),
            (Delivery(), {"buffer_limit": 10}, False),
            (Delivery(buffer_limit=10), {}, True),
            (Delivery(), {"overflow": "drop_oldest"}, True),
            *[(Delivery(overflow=policy), {}, True) for policy in ("spill", "drop_oldest", "drop_newest", "fail")],
        ],
    )
    def test_one_consumer_has_one_only_for_what_a_bare_pipe_cannot_keep(
        self, delivery: Delivery, settings: dict[str, Any], stands_between: bool
    ) -> None:
        """A policy other than block, or a limit of its own (L10)."""
        plan = plan_section([member("p>x"), member("c<x", delivery)], StreamSettings(**settings))

        assert names(plan) == (["p", fanout_name("x"), "c"] if stands_between else ["p", "c"])
        assert bool(plan.channels["x"].fanout) is stands_between

    def test_several_consumers_have_one_and_a_pipe_each(self) -> None:
        plan = planned("p>x c<x d<x")
        between = fanout_name("x")

        assert pipes(plan) == [("x", "p", between), ("x>c", between, "c"), ("x>d", between, "d")]
        assert plan.workers == (
            Worker("p", (Wire(1, "x", "x"),)),
            Worker(between, (), "x"),
            Worker("c", (Wire(0, "x>c", "x"),)),
            Worker("d", (Wire(0, "x>d", "x"),)),
        )

    def test_a_consumer_has_its_own_terms_or_those_of_the_settings(self) -> None:
        plan = plan_section(
            [member("p>x"), member("c<x", Delivery("spill", 1, 2)), member("d<x")],
            StreamSettings(overflow="fail", buffer_limit=10, spill_limit=20),
        )

        assert plan.channels["x"].consumers == (
            Consumer("c", "x>c", "spill", 1, 2),
            Consumer("d", "x>d", "fail", 10, 20),
        )

    def test_a_consumer_is_found_by_its_node(self) -> None:
        channel = planned("p>x c<x d<x").channels["x"]

        assert channel.consumer("d").pipe == "x>d"
        with pytest.raises(KeyError, match="p"):
            channel.consumer("p")

    def test_nobody_is_mistaken_for_it_or_for_its_pipes(self) -> None:
        """Nodes and channels may be called anything, also what we would call ours."""
        streams = {
            "p": NodeStreamsConfig(stdout="x", stderr="x>c"),
            "c": NodeStreamsConfig(stdin="x"),
            "d": NodeStreamsConfig(stdin="x"),
            "fan-out of 'x'": NodeStreamsConfig(stdin="x>c", stdout="a"),
            "b>c": NodeStreamsConfig(stdin="a", stdout="a>b"),
            "e": NodeStreamsConfig(stdin="a"),
            "f": NodeStreamsConfig(stdin="a>b"),
        }
        plan = plan_section(list(streams.items()), StreamSettings(overflow="spill"))

        assert len(plan.workers) == len(set(names(plan))) == 7 + 4
        assert len(plan.pipes) == 4 + 6
        assert len({(pipe.writer, pipe.reader) for pipe in plan.pipes.values()}) == 10

    def test_its_name_names_the_channel(self) -> None:
        assert fanout_name("lines") == "fan-out of 'lines'"


class TestOutside:
    def test_the_caller_writes_what_nobody_writes(self) -> None:
        plan = planned("c<x", external="x")

        assert pipes(plan) == [("x", OUTSIDE, "c")]
        assert plan.upstream == {"c": ()}
        assert plan.producer_of("c") == OUTSIDE

    def test_the_caller_reads_what_nobody_reads_if_it_says_so(self) -> None:
        assert pipes(planned("p>x", external="x")) == [("x", "p", OUTSIDE)]
        assert pipes(planned("p>x")) == []

    def test_a_broadcast_of_the_callers_bytes_is_forked_first(self) -> None:
        plan = planned("c<x d<x", external="x")

        assert names(plan) == [fanout_name("x"), "c", "d"]
        assert pipes(plan)[0] == ("x", OUTSIDE, fanout_name("x"))

    def test_a_channel_with_both_ends_inside_stays_inside(self) -> None:
        assert pipes(planned("p>x c<x", external="x")) == [("x", "p", "c")]


class TestBound:
    def test_a_bound_stream_is_a_channel_of_which_the_caller_holds_the_other_end(self) -> None:
        streams = NodeStreamsConfig(stdout="x", bindings={"stdin": Binding("in"), "stderr": Binding()})
        plan = plan_section([("a", streams), member("b<x")], StreamSettings())

        assert pipes(plan) == [("stdin of 'a'", OUTSIDE, "a"), ("x", "a", "b"), ("stderr of 'a'", "a", OUTSIDE)]
        assert plan.bound == {"stdin of 'a'": Binding("in"), "stderr of 'a'": Binding()}
        assert plan.workers[0] == Worker(
            "a", (Wire(0, "stdin of 'a'", "stdin of 'a'"), Wire(1, "x", "x"), Wire(2, "stderr of 'a'", "stderr of 'a'"))
        )

    def test_nobody_stands_in_it_whatever_the_settings_say(self) -> None:
        """A file needs no buffer."""
        plan = plan_section([("a", NodeStreamsConfig(bindings={"stdin": Binding()}))], StreamSettings(overflow="spill"))

        assert names(plan) == ["a"]

    def test_its_name_makes_room_for_a_channel_that_was_called_so_before(self) -> None:
        taken = NodeStreamsConfig(stdout="stdin of 'a'", bindings={"stdin": Binding()})
        plan = plan_section([("a", taken), member("b")], StreamSettings(), frozenset(["stdin of 'a'"]))

        assert list(plan.bound) == ["stdin of 'a''"]


class TestOrder:
    @pytest.mark.parametrize(
        ("text", "order"),
        [
            ("c<y b<x>y a>x", "a b c"),
            ("z c<x a>x", "z a c"),
            ("c<x a>x z", "a c z"),
            ("b>y a>x d<y c<x", "b a d c"),
            ("d<x c<x a>x", "a d c"),
        ],
    )
    def test_producers_before_consumers_ties_as_declared(self, text: str, order: str) -> None:
        assert planned(text).nodes == tuple(order.split())

    def test_upstream_is_all_that_is_above_the_topmost_first(self) -> None:
        plan = planned("d<z c<y>z b<x>y a>x")

        assert plan.upstream == {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("a", "b", "c")}
        assert plan.upstream is plan.upstream

    def test_a_fanout_stands_right_after_its_producer(self) -> None:
        """The supervisor then holds few ends at a time."""
        plan = planned("p>x!e a<x b<x c<e d<e")

        assert names(plan) == ["p", fanout_name("x"), fanout_name("e"), "a", "b", "c", "d"]


class TestEnds:
    def test_every_end_has_exactly_one_holder_and_every_holder_is_a_worker(self) -> None:
        """Over random forests with broadcasts and policies; a second holder: an end of file that never comes."""
        for seed in range(300):
            plan = self._forest(random.Random(seed))
            held = Counter(end for worker in plan.workers for end in plan.ends_of(worker.name))
            every = {(pipe, side) for pipe in plan.pipes for side in "rw"}

            assert held == Counter(every), f"seed {seed}"
            for worker in plan.workers:
                wired = {(wire.pipe, "r" if wire.fd == 0 else "w") for wire in worker.wires}
                assert worker.fanout_of or wired == set(plan.ends_of(worker.name)), f"seed {seed}"

    def test_a_fanout_exists_for_a_reason_only(self) -> None:
        for seed in range(300):
            plan = self._forest(random.Random(seed))
            for channel in plan.channels.values():
                reason = len(channel.consumers) > 1 or channel.consumers[0].overflow != "block"
                assert bool(channel.fanout) == reason, f"seed {seed}"
                assert len([p for p in plan.pipes.values() if p.name.split(">")[0] == channel.name]) == (
                    1 + len(channel.consumers) if reason else 1
                ), f"seed {seed}"

    def test_the_order_is_topological(self) -> None:
        for seed in range(300):
            plan = self._forest(random.Random(seed))
            for node in plan.nodes:
                before = plan.nodes[: plan.nodes.index(node)]
                assert set(plan.upstream[node]) <= set(before), f"seed {seed}"
            assert sorted(plan.nodes) == sorted(worker.name for worker in plan.workers if not worker.fanout_of)

    def test_a_plan_is_plain_data(self) -> None:
        plan = self._forest(random.Random(1))

        assert pickle.loads(pickle.dumps(plan)) == plan

    @staticmethod
    def _forest(dice: random.Random) -> SectionPlan:
        streams: dict[str, dict[str, Any]] = {}
        for index in range(dice.randint(1, 12)):
            own: dict[str, Any] = {}
            parent = dice.choice([*streams, ""])
            if parent:
                end = dice.choice(["stdout", "stderr"])
                own["stdin"] = streams[parent].setdefault(end, f"{parent}.{end}")
                own["delivery"] = Delivery(dice.choice([None, None, "spill", "fail"]))
            streams[f"n{index}"] = own
        members = [(name, NodeStreamsConfig(**own)) for name, own in streams.items()]
        dice.shuffle(members)
        return plan_section(members, StreamSettings())


class TestTheCallerReads:
    def opened(self, text: str, channels: str, external: str = "") -> SectionPlan:
        members = [member(word) for word in text.split()]
        return plan_section(members, StreamSettings(), frozenset(external.split()), frozenset(channels.split()))

    def test_alone_it_shares_a_bare_pipe_with_the_producer(self) -> None:
        """And nothing else (L10)."""
        plan = self.opened("p>x", "x")

        assert pipes(plan) == [("x", "p", OUTSIDE)]
        assert names(plan) == ["p"]

    def test_beside_a_node_it_is_one_more_reader_behind_a_fan_out(self) -> None:
        plan = self.opened("p>x c<x", "x")

        assert [consumer.node for consumer in plan.channels["x"].consumers] == ["c", OUTSIDE]
        assert names(plan) == ["p", fanout_name("x"), "c"]
        assert plan.ends_of(OUTSIDE) == (("x>", "r"),)

    def test_two_channels_get_a_pipe_each(self) -> None:
        plan = self.opened("p>x!e c<x d<e", "x e")

        assert plan.ends_of(OUTSIDE) == (("x>", "r"), ("e>", "r"))

    def test_it_may_write_and_read_the_same_channel(self) -> None:
        plan = self.opened("c<x", "x", external="x")

        assert sorted(plan.ends_of(OUTSIDE)) == [("x", "w"), ("x>", "r")]


class _Counting(dict):  # type: ignore[type-arg]
    """A dict that counts how often all of it was looked through."""

    looks = 0

    def values(self) -> Any:
        self.looks += 1
        return super().values()


def test_the_ends_of_all_workers_cost_one_look_at_the_pipes():
    """Every worker asks for its ends: a look at all pipes for each of them would be quadratic."""
    names = [f"n{index}" for index in range(50)]
    streams = [NodeStreamsConfig(stdin=f"c{i}" if i else None, stdout=f"c{i + 1}") for i in range(50)]
    plan = plan_section(list(zip(names, streams)), StreamSettings(), frozenset({"c50"}))
    pipes = _Counting(plan.pipes)
    counted = replace(plan, pipes=pipes)
    assert [counted.ends_of(name) for name in names] == [plan.ends_of(name) for name in names]
    assert counted.ends_of("n7") == (("c7", "r"), ("c8", "w"))
    assert counted.ends_of("nobody") == ()
    assert pipes.looks == 1
