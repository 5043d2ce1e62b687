"""cli/board.py: rates out of successive looks."""

from __future__ import annotations

from teastreams.cli.board import Board
from teastreams.core.events import ChannelProgress, ConsumerProgress, Progress


def at(seconds: float, written: int, read: int = 0) -> Progress:
    consumer = ConsumerProgress("c", read, "node")
    return Progress(seconds, (), (ChannelProgress("x", "p", written, "node", (consumer,)),))


def test_a_single_look_has_no_rate() -> None:
    assert Board().look(at(1.0, 100)).rates == {}


def test_a_rate_is_the_mean_over_two_seconds() -> None:
    """What was before them is forgotten; what is known of less is used."""
    board = Board()
    board.look(at(0.0, 0))
    assert board.look(at(1.0, 1000, 500)).rates == {("x", ""): 1000.0, ("x", "c"): 500.0}
    assert board.look(at(2.0, 1000, 1000)).rates == {("x", ""): 500.0, ("x", "c"): 500.0}
    assert board.look(at(3.0, 1000, 1000)).rates == {("x", ""): 0.0, ("x", "c"): 250.0}


def test_the_next_section_starts_anew() -> None:
    """Its clock begins again, and its first look has no rate."""
    board = Board()
    board.look(at(5.0, 1 << 30))
    assert board.look(at(0.2, 10)).rates == {}
    assert board.look(at(1.2, 20)).rates[("x", "")] == 10.0


def test_a_reader_that_is_the_caller_has_a_rate() -> None:
    channel = ChannelProgress("x", "p", 1, "fan-out", (ConsumerProgress("", 4, "fan-out"),))
    board = Board()
    board.look(Progress(0.0, (), ()))
    assert board.look(Progress(2.0, (), (channel,))).rates == {("x", ""): 0.5, ("x", "(outside)"): 2.0}
