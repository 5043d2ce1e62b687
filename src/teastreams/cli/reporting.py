"""What the command line says on stderr while a workflow runs, and at its end.

Three ways with one face: `Live` redraws a view on a terminal, `Lines` writes lines, `Quiet` says nothing. A terminal
gets no escape sequence that a node wrote; a file or a pipe gets the text as it is.
"""

from __future__ import annotations

import os
from typing import Mapping, Optional, Protocol, Union

from teastreams.cli.board import Board, Snapshot
from teastreams.cli.live import LiveView
from teastreams.cli.outlet import say
from teastreams.cli.visible import visible
from teastreams.core.events import (
    NodeFinished,
    NodeOutput,
    NodeRetried,
    NodeStarted,
    Progress,
    RunEvent,
    SectionFinished,
    Warned,
)
from teastreams.engine.reporting.quantities import duration, size
from teastreams.engine.results import RunFinished, RunResult

LIVE_SECONDS = 0.2
PLAIN_SECONDS = 10.0
STDERR = 2
AnyEvent = Union[RunEvent, RunFinished]


class Reporter(Protocol):
    """Tells a person what happens. `progress_seconds` says how often it wants to know, None: not at all."""

    progress_seconds: Optional[float]

    def show(self, event: AnyEvent) -> None:
        """Tell of one event."""
        ...

    def close(self) -> None:
        """Leave the terminal as it should be; again is harmless."""
        ...


class Quiet:
    """Says nothing."""

    progress_seconds: Optional[float] = None

    def show(self, event: AnyEvent) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Output of nodes and warnings, one line each; with `progress`, also what starts, ends, and moves meanwhile."""

    def __init__(self, progress: bool, terminal: bool) -> None:
        self.progress_seconds = PLAIN_SECONDS if progress else None
        self._progress, self._terminal = progress, terminal
        self._board, self._shown_at = Board(), 0.0

    def show(self, event: AnyEvent) -> None:
        """One line, or none."""
        if isinstance(event, Progress):
            self._show_progress(event)
            return
        line = talk_of(event) or (life_of(event) if self._progress else "")
        if line:
            self._say(line)

    def close(self) -> None:
        """Nothing was opened."""

    def _show_progress(self, progress: Progress) -> None:
        """Now and then: somebody else may have asked for more of it."""
        snapshot = self._board.look(progress)
        passed = progress.seconds - self._shown_at
        if self._progress and not 0 <= passed < 0.9 * PLAIN_SECONDS:
            self._shown_at = progress.seconds
            for line in progress_lines(snapshot):
                self._say(line)

    def _say(self, line: str) -> None:
        say(visible(line) if self._terminal else line)


class Live:
    """The live view while workers run; plain lines while a node runs in this process, which may write there, too."""

    progress_seconds: Optional[float] = LIVE_SECONDS

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._here: set[str] = set()

    def show(self, event: AnyEvent) -> None:
        """Redraw, or write above the view."""
        if isinstance(event, Progress):
            self._view.look(event)
        elif isinstance(event, (SectionFinished, RunFinished)):
            self._view.clear()
        elif isinstance(event, NodeStarted) and event.pid is None:
            self._here.add(event.node)
            self._view.clear()
            self._view.above(life_of(event))
        elif isinstance(event, NodeFinished) and event.node in self._here:
            self._here.discard(event.node)
            self._view.above(life_of(event))
        elif talk_of(event):
            self._view.above(talk_of(event))

    def close(self) -> None:
        """Take the view off the screen."""
        self._view.clear()


def reporter(choice: str, quiet: bool, environment: Mapping[str, str], alone: bool = True) -> Reporter:
    """The reporter for `--progress choice`: `auto` is live on a terminal that can, and silent where nobody watches.

    Not `alone` on the terminal (`teastreams run filter.yaml | head`), a view would write over what others have written.
    """
    if quiet:
        return Quiet()
    terminal = os.isatty(STDERR)
    if choice == "auto" and not alone:
        return Lines(False, terminal)
    if choice == "auto" and terminal and can_redraw(environment):
        return Live(LiveView(STDERR, colour=not environment.get("NO_COLOR")))
    return Lines(choice == "plain" or (choice == "auto" and terminal), terminal)


def can_redraw(environment: Mapping[str, str]) -> bool:
    """A terminal that moves its cursor, and a person in front of it instead of a build machine."""
    return environment.get("TERM", "dumb") not in ("", "dumb") and not environment.get("CI")


def talk_of(event: AnyEvent) -> str:
    """The line of a node's output, of a warning or of an attempt that failed; "" for every other event."""
    if isinstance(event, NodeOutput):
        return f"[{event.node}] {event.text}"
    return f"teastreams: {event}" if isinstance(event, (Warned, NodeRetried)) else ""


def life_of(event: AnyEvent) -> str:
    """The line of a node's beginning or end; "" for every other event."""
    if isinstance(event, NodeStarted):
        return f"{event.node}: started" + (f" (pid {event.pid})" if event.pid else "")
    if isinstance(event, NodeFinished):
        return f"{event.node}: {event.status} after {event.seconds:.2f} s"
    return ""


def progress_lines(snapshot: Snapshot) -> list[str]:
    """One line for each channel that still moves: how much, how fast, who is behind."""
    lines = []
    for channel in snapshot.progress.channels:
        if all(consumer.done for consumer in channel.consumers):
            continue
        rate = snapshot.rates.get((channel.channel, ""))
        pace = f", {size(rate)}/s" if rate is not None and channel.counted != "unknown" else ""
        behind = [
            f"; {each.node} {size(each.buffered_bytes)} behind" for each in channel.consumers if each.buffered_bytes
        ]
        at = duration(snapshot.progress.seconds)
        lines.append(f"{channel.channel}: {size(channel.bytes, channel.counted)} after {at}{pace}{''.join(behind)}")
    return lines


def show_summary(result: RunResult) -> None:
    """The figures of all nodes and channels; names of users cannot act on the terminal."""
    for line in result.summary().splitlines():
        say(visible(line) if os.isatty(STDERR) else line)
