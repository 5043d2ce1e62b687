"""The live view on a terminal: lines that are redrawn in place, and node output above them.

Laws: one frame is one write, each line erased only behind its new text, so nothing flickers; no mode of the terminal is
changed, so there is nothing to put back, not even after SIGKILL; a frame that the terminal does not take now (Ctrl-S,
another job in the foreground) is left out instead of waited for; a terminal that has gone away ends the view and not
the run. What is shown is `layout`'s business.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import Optional, Sequence

from teastreams.cli.board import Board, Snapshot
from teastreams.cli.layout import layout
from teastreams.cli.visible import columns, visible
from teastreams.core.events import Progress

UP, ERASE_LINE, ERASE_BELOW = "\x1b[{}A", "\x1b[K", "\x1b[J"
DEFAULT_SIZE = (80, 24)
PATIENCE_MILLISECONDS = 1000


class LiveView:
    """Draws on the terminal `fd`; takes no lock and no signal, and restores nothing because it changes nothing."""

    def __init__(self, fd: int, colour: bool) -> None:
        self._fd, self._colour = fd, colour
        self._board = Board()
        self._snapshot: Optional[Snapshot] = None
        self._drawn_columns: tuple[int, ...] = ()
        self._gone = False

    def look(self, progress: Progress) -> None:
        """Show where the section is now."""
        self._snapshot = self._board.look(progress)
        if self._takes_frames():
            self._write(self._erased() + self._frame())

    def above(self, text: str) -> None:
        """Write one line that stays, above the view."""
        self._write(self._erased() + visible(text) + ERASE_LINE + "\r\n" + self._frame(), patient=True)

    def clear(self) -> None:
        """Take the view off the screen: a node that runs in this process may write there itself."""
        self._snapshot = None
        if self._drawn_columns:
            self._write(self._erased() + ERASE_BELOW, patient=True)

    def _frame(self) -> str:
        """The lines, each erased behind its end, and everything below them erased."""
        lines: Sequence[str] = ()
        if self._snapshot is not None and self._in_foreground():
            width, height = terminal_size(self._fd)
            # One column and one line less: at the last of either, terminals wrap and scroll.
            self._drawn_columns = tuple(map(columns, layout(self._snapshot, width - 1, height - 1)))
            lines = layout(self._snapshot, width - 1, height - 1, self._colour)
        else:
            self._drawn_columns = ()
        return "".join(f"{line}{ERASE_LINE}\r\n" for line in lines) + ERASE_BELOW

    def _erased(self) -> str:
        """To the first column of the first line of what was drawn, though a narrower terminal has broken its lines."""
        width, height = terminal_size(self._fd)
        up = sum(max(1, -(-drawn // width)) for drawn in self._drawn_columns)
        self._drawn_columns = ()
        return "\r" + (UP.format(min(up, height)) if up else "")

    def _takes_frames(self) -> bool:
        return self._in_foreground() and self._has_room(0)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # a terminal, but not the one that controls us
            return True

    def _has_room(self, milliseconds: int) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(milliseconds))

    def _write(self, text: str, patient: bool = False) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        rest = text.encode("utf-8", "replace")
        while rest and not self._gone:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                self._gone = not self._has_room(PATIENCE_MILLISECONDS if patient else 0)
            except OSError:  # hung up
                self._gone = True


def terminal_size(fd: int) -> tuple[int, int]:
    """Columns and rows; a terminal that does not know them is an old-fashioned one."""
    try:
        width, height = os.get_terminal_size(fd)
    except OSError:
        return DEFAULT_SIZE
    return width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1]
