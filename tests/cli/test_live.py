"""The live view on a real pty: drawn in place, node output above it, nothing left at any end."""

from __future__ import annotations

import os
import re
import sys
import termios
import textwrap
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from screen import Bare, Screen, Terminal

from teastreams.cli.live import LiveView, terminal_size
from teastreams.core.events import ChannelProgress, ConsumerProgress, NodeProgress, Progress


def look(seconds: float, *names: str) -> Progress:
    return Progress(seconds, tuple(NodeProgress(name, "running", seconds) for name in names), ())


@pytest.fixture
def bare() -> Iterator[Bare]:
    made = Bare(40, 10)
    yield made
    made.close()


class TestDrawing:
    def test_a_look_is_drawn_over_the_last_one(self, bare: Bare) -> None:
        """In place, in one write, and what is shorter now leaves nothing of what was longer."""
        view = LiveView(bare.fd, colour=False)
        view.look(look(1.0, "a-long-name", "b"))
        bare.drawn()
        assert bare.screen.text()[1:] == ["a-long-name  running       1.00 s", "b            running       1.00 s"]
        view.look(look(2.0, "a"))
        assert "\x1b[3A" in bare.drawn()
        assert bare.screen.text() == ["2.00 s  1 nodes: 1 running", "a  running       2.00 s"]

    def test_no_line_is_erased_before_its_new_text_is_there(self, bare: Bare) -> None:
        """Erasing first is what flickers: every erasure stands behind the text of its line."""
        view = LiveView(bare.fd, colour=False)
        view.look(look(1.0, "a"))
        view.look(look(2.0, "a"))
        frame = bare.drawn().split("\x1b[2A")[1]
        assert re.fullmatch(r"(?:[ -~]+\x1b\[K\r+\n)+\x1b\[J", frame)

    def test_output_goes_above_the_view(self, bare: Bare) -> None:
        """The view moves down, and further lines come in order."""
        view = LiveView(bare.fd, colour=False)
        view.look(look(1.0, "a"))
        view.above("[a] one")
        view.above("[a] two\x1b[2J")
        bare.drawn()
        assert bare.screen.text() == [
            "[a] one",
            "[a] two\\x1b[2J",
            "1.00 s  1 nodes: 1 running",
            "a  running       1.00 s",
        ]

    def test_a_screen_full_of_output_scrolls_and_the_view_stays_below(self, bare: Bare) -> None:
        """Nothing of the view is left in what scrolled out."""
        view = LiveView(bare.fd, colour=False)
        view.look(look(1.0, "a", "b", "c"))
        for number in range(25):
            view.above(f"line {number}")
            bare.drawn()
        text = bare.screen.text()
        assert text[:25] == [f"line {number}" for number in range(25)]
        assert [line.split()[0] for line in text[25:]] == ["1.00", "a", "b", "c"]

    def test_clearing_takes_it_off_and_again_does_nothing(self, bare: Bare) -> None:
        view = LiveView(bare.fd, colour=False)
        view.above("stays")
        view.look(look(1.0, "a", "b"))
        view.clear()
        bare.drawn()
        assert bare.screen.text() == ["stays"]
        view.clear()
        assert bare.drawn() == ""

    def test_it_is_never_higher_or_wider_than_the_terminal(self, bare: Bare) -> None:
        """Not even when somebody makes the terminal smaller, where its old lines are broken by the terminal."""
        view = LiveView(bare.fd, colour=True)
        names = [f"node-with-a-name-{number}" for number in range(30)]
        view.look(look(1.0, *names))
        assert bare.drawn().count("\n") == 9
        bare.resize(12, 4)
        view.look(look(2.0, *names))
        up, lines = re.fullmatch(r"\r\x1b\[(\d+)A(.*)\x1b\[J", bare.drawn(), re.DOTALL).groups()  # type: ignore[union-attr]
        assert int(up) == 4
        shown = re.sub(r"\x1b\[\d*[mK]|\r", "", lines).splitlines()
        assert len(shown) == 3
        assert max(map(len, shown)) <= 11

    def test_a_terminal_that_is_stopped_is_not_waited_for(self, bare: Bare) -> None:
        """Ctrl-S: looks are left out, the run goes on, and the next one after Ctrl-Q is drawn."""
        view = LiveView(bare.fd, colour=False)
        termios.tcflow(bare.fd, termios.TCOOFF)
        view.look(look(1.0, "a"))
        termios.tcflow(bare.fd, termios.TCOON)
        assert bare.drawn() == ""
        view.look(look(2.0, "a"))
        bare.drawn()
        assert bare.screen.text()[0] == "2.00 s  1 nodes: 1 running"

    def test_a_terminal_that_has_gone_hurts_nobody(self) -> None:
        gone = Bare(40, 10)
        view = LiveView(gone.fd, colour=False)
        os.close(gone.ours)
        view.look(look(1.0, "a"))
        view.above("x")
        view.clear()
        os.close(gone.fd)

    def test_a_terminal_without_a_size_has_the_usual_one(self, bare: Bare) -> None:
        bare.resize(0, 0)
        assert terminal_size(bare.fd) == (80, 24)

    def test_wide_names_do_not_confuse_the_way_up(self, bare: Bare) -> None:
        """A line of 39 columns is one line, though its name has half as many characters."""
        consumer = ConsumerProgress("日本語日本語", 1, "node", 0)
        view = LiveView(bare.fd, colour=False)
        progress = Progress(1.0, (), (ChannelProgress("x", "p", 1, "node", (consumer,)),))
        view.look(progress)
        bare.drawn()
        view.look(Progress(2.0, (), progress.channels))
        assert bare.drawn().startswith("\r\x1b[3A")


P = """
import os, sys
print("one", flush=True)
sys.stderr.write("talk \\x1b[2J\\n")
with open(state["gate"]) as gate:
    word = gate.read()
if word == "fail":
    raise OSError("bad luck")
return {"word": word}
"""
C = 'import sys\nreturn {"lines": len(sys.stdin.readlines())}'


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts the command line on a terminal; `p` writes one line and waits until the gate is opened."""
    opened: list[Terminal] = []
    os.mkfifo(tmp_path / "gate")
    p, c = (textwrap.indent(code.strip(), " " * 6) for code in (P, C))
    document = tmp_path / "w.yaml"
    document.write_text(
        "settings: {parallel: {strategy: process, streams: {enabled: true}}}\n"
        f"nodes:\n  - name: p\n    streams: {{stdout: x}}\n    run: |\n{p}\n"
        f"  - name: c\n    streams: {{stdin: x}}\n    run: |\n{c}\n"
        '  - name: here\n    run: |\n      print("printed here")\n'
        "edges:\n  - {from: __start__, to: p}\n  - {from: p, to: c}\n  - {from: c, to: here}\n"
        "  - {from: here, to: __end__}\n"
    )

    def start(*words: str, **options: Any) -> Terminal:
        command = [sys.executable, "-m", "teastreams", "run", str(document), "--set", f"gate={tmp_path / 'gate'}"]
        opened.append(Terminal([*command, "--output", str(tmp_path / "out"), *words], **options))
        return opened[-1]

    start.open_gate = (tmp_path / "gate").write_text  # type: ignore[attr-defined]
    yield start
    for each in opened:
        each.close()


WAITS = "waits for p (x)"


class TestRunning:
    def test_it_shows_who_waits_for_whom_and_ends_with_the_figures(self, play: Any) -> None:
        """While it runs: output above, the view below. At the end: no view, output and figures, the modes as before."""
        terminal = play()
        terminal.read_until(lambda said: WAITS in said and "talk" in said)
        text = terminal.screen.text()
        assert text[0] == "[p] talk \\x1b[2J"
        assert re.match(r"\d.* 2 nodes: ", text[1])
        assert [line.split()[:2] for line in text[2:]] == [["p", "running"], ["c", "reading"], ["x", "4"], ["c", "4"]]
        play.open_gate("go")
        assert terminal.end() == 0
        text = terminal.screen.text()
        assert text[1:3] == ["here: started", "printed here"]
        assert re.fullmatch(r"here: done after \d+\.\d\d s", text[3])
        assert text[4].split() == ["node", "end", "time", "cpu", "memory"]
        assert [line.split()[:2] for line in text[5:8]] == [["p", "done"], ["c", "done"], ["here", "done"]]
        assert [line.split()[:5] for line in text[10:12]] == [["x", "from", "p", "4", "B"], ["to", "c", "4", "B", "1"]]
        assert WAITS not in "\n".join(text)
        assert terminal.settings_are_as_before

    def test_ctrl_c_leaves_a_clean_terminal(self, play: Any) -> None:
        """No view, an ordered stop, one word about it."""
        terminal = play()
        terminal.read_until(lambda said: WAITS in said)
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert terminal.screen.text()[-1] == "teastreams: interrupted; every node was ended in order"
        assert WAITS not in "\n".join(terminal.screen.text())
        assert terminal.settings_are_as_before

    def test_a_failure_is_told_under_the_figures(self, play: Any) -> None:
        terminal = play()
        terminal.read_until(lambda said: WAITS in said)
        play.open_gate("fail")
        assert terminal.end() == 1
        text = "\n".join(terminal.screen.text())
        assert WAITS not in text
        assert text.index("p     failed") < text.index("node 'p' failed (run): OSError: bad luck")

    def test_colour_is_a_choice(self, play: Any) -> None:
        """NO_COLOR takes the colours and leaves the view."""
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            terminal = play(environment=environment)
            terminal.read_until(lambda said: WAITS in said)
            play.open_gate("go")
            terminal.end()
            assert bool(re.search(r"\x1b\[\d+m", terminal.said)) is coloured

    @pytest.mark.parametrize(
        ("words", "environment", "lines"),
        [
            ((), {"CI": "true"}, True),
            ((), {"TERM": "dumb"}, True),
            (("--progress", "plain"), {}, True),
            (("--progress", "off"), {}, False),
        ],
    )
    def test_elsewhere_there_are_plain_lines(self, words: Any, environment: Any, lines: bool, play: Any) -> None:
        """No cursor is moved, no colour set, and output is still harmless."""
        terminal = play(*words, environment=environment)
        terminal.read_until(lambda said: "talk" in said)
        play.open_gate("go")
        assert terminal.end() == 0
        assert "\x1b" not in terminal.said
        assert "[p] talk \\x1b[2J" in terminal.screen.text()
        assert ("c: done after" in terminal.said) is lines

    def test_quiet_says_nothing(self, play: Any) -> None:
        """But for what a plain node itself prints, which is its own business."""
        terminal = play("-q")
        play.open_gate("go")
        assert terminal.end() == 0
        assert terminal.screen.text() == ["printed here"]


def test_the_screen_itself_wraps_and_scrolls() -> None:
    """The test's own instrument: what it did not know could pass unseen."""
    screen = Screen(4, 2)
    screen.feed("abcdef\r\nxy\r\x1b[Kz\r\n")
    assert (screen.history, screen.rows) == (["abcd", "ef"], ["z", ""])
    with pytest.raises(AssertionError, match="none of ours"):
        screen.feed("\x1b[?25l")
