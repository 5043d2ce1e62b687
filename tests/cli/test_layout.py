"""cli/layout.py: the view, line by line, and its limits. Everything is a value here."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from teastreams.cli.board import Snapshot
from teastreams.cli.layout import layout
from teastreams.cli.visible import columns
from teastreams.core.events import ChannelProgress, ConsumerProgress, NodeProgress, Progress

MIB = 1 << 20
NODES = (
    NodeProgress("reader", "writing", 72.0, ("archive",), "lines"),
    NodeProgress("errors", "reading", 72.0, ("reader",), "lines"),
    NodeProgress("archive", "running", 71.5),
    NodeProgress("head", "stopped", 0.5),
)
LINES = ChannelProgress(
    "lines",
    "reader",
    1200 * MIB,
    "fan-out",
    (
        ConsumerProgress("errors", 1200 * MIB, "fan-out", 0, 8 * MIB),
        ConsumerProgress("archive", 800 * MIB, "fan-out", 400 * MIB, 8 * MIB, "spill"),
        ConsumerProgress("head", 65536, "fan-out", 0, 8 * MIB, done=True),
    ),
)
RATES = {("lines", ""): 102.0 * MIB, ("lines", "errors"): 102.0 * MIB, ("lines", "archive"): 0.0}
SNAPSHOT = Snapshot(Progress(72.25, NODES, (LINES,)), RATES)


def test_the_whole_view() -> None:
    """Nodes with their states and whom they wait for; channels with bytes, rates and how full their buffers are."""
    assert layout(SNAPSHOT, 100, 30) == [
        "1:12  4 nodes: 1 writing, 1 reading, 1 running, 1 stopped",
        "reader     writing         1:12  waits for archive (lines)",
        "errors     reading         1:12  waits for reader (lines)",
        "archive    running         1:12",
        "head       stopped       0.50 s",
        "lines       1.17 GiB    102 MiB/s  from reader",
        "  errors    1.17 GiB    102 MiB/s  [..........]  0 B behind",
        "  archive    800 MiB        0 B/s  [##########]  400 MiB behind (spilling)",
        "  head      64.0 KiB",
    ]


def test_a_bare_pipe_has_no_bar_and_says_who_counted() -> None:
    """Sampled figures are marked, unknown ones are no numbers; the caller has a name, too."""
    channels = (
        ChannelProgress("x", "p", 2048, "node", (ConsumerProgress("c", 1024, "node", 1024),)),
        ChannelProgress("y", "", 0, "unknown", (ConsumerProgress("z", 5000, "sampled"),)),
        ChannelProgress("w", "p", 10, "node", (ConsumerProgress("", 0, "unknown"),)),
    )
    snapshot = Snapshot(Progress(1.0, (NodeProgress("z", "reading", 1.0, (), "y"),), channels), {("y", ""): 0.0})
    assert layout(snapshot, 80, 30)[1:] == [
        "z            reading       1.00 s  waits for outside (y)",
        "x             2.00 KiB               from p",
        "  c           1.00 KiB               1.00 KiB behind",
        "y                    ?               from (outside)",
        "  z          ~4.88 KiB",
        "w                 10 B               from p",
        "  (outside)          ?",
    ]


def test_what_was_dropped_is_told() -> None:
    lossy = ConsumerProgress("c", 10, "fan-out", 3, 100, "drop_oldest", 2048)
    channel = ChannelProgress("x", "p", 2058, "fan-out", (lossy,))
    assert layout(Snapshot(Progress(1.0, (), (channel,))), 80, 9)[-1].endswith(
        "[#.........]  3 B behind, 2.00 KiB dropped"
    )


@pytest.mark.parametrize(
    ("held", "bar"), [(0, ".........."), (1, "#........."), (50, "#####....."), (999, "##########")]
)
def test_the_bar_shows_how_full_a_buffer_is(held: int, bar: str) -> None:
    """One mark for the first byte; a bar that is full means that the limit was reached."""
    channel = ChannelProgress("x", "p", 1, "fan-out", (ConsumerProgress("c", 1, "fan-out", held, 100),))
    assert f"[{bar}]" in layout(Snapshot(Progress(1.0, (), (channel,))), 80, 9)[-1]


@pytest.mark.parametrize("height", range(12))
@pytest.mark.parametrize("width", [1, 2, 10, 33, 79, 200])
@pytest.mark.parametrize("colour", [False, True])
def test_the_view_is_never_larger_than_asked(width: int, height: int, colour: bool) -> None:
    """Lines and columns; colours take no room."""
    lines = layout(SNAPSHOT, width, height, colour)
    assert len(lines) <= height
    assert max((columns(re.sub(r"\x1b\[\d+m", "", line)) for line in lines), default=0) <= width


def test_too_low_a_terminal_loses_first_what_has_ended() -> None:
    """And says how much is missing."""
    lines = layout(SNAPSHOT, 100, 8)
    assert [line.split()[0] for line in lines] == [
        "1:12",
        "reader",
        "errors",
        "archive",
        "lines",
        "errors",
        "archive",
        "...",
    ]
    assert lines[-1] == "... 2 more lines"
    assert layout(SNAPSHOT, 100, 3)[1:] == [
        "reader     writing         1:12  waits for archive (lines)",
        "... 7 more lines",
    ]
    assert layout(SNAPSHOT, 100, 1) == ["... 9 more lines"]
    assert layout(SNAPSHOT, 100, 0) == []


def test_colour_changes_nothing_but_colour() -> None:
    """A failed node is red, one that has ended well green, one that waits yellow; every colour is switched off."""
    failed = replace(SNAPSHOT.progress, nodes=(*NODES, NodeProgress("bad", "failed", 1.0)))
    plain, coloured = (layout(Snapshot(failed, RATES), 100, 30, colour) for colour in (False, True))
    assert [re.sub(r"\x1b\[\d+m", "", line).rstrip() for line in coloured] == plain
    assert "\x1b[31m  failed" in coloured[5]
    assert "\x1b[32m  stopped" in coloured[4]
    assert "\x1b[33m  waits for archive (lines)\x1b[0m" in coloured[1]
    assert all(line.count("\x1b[0m") * 2 == line.count("\x1b[") for line in coloured)


def test_names_cannot_act_on_the_terminal() -> None:
    """Wherever a name stands, and long ones are cut."""
    name = "\x1b[2J" + "n" * 60
    channel = ChannelProgress(name, name, 1, "node", (ConsumerProgress(name, 1, "node", 0),))
    lines = layout(Snapshot(Progress(1.0, (NodeProgress(name, "reading", 1.0, (name,), name),), (channel,))), 400, 9)
    assert not any("\x1b" in line for line in lines)
    assert lines[1].startswith("\\x1b[2Jnnnnnnnnnnnnnnnn~  reading")
