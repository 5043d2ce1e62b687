"""A terminal for tests: a pty with a program on it, and a screen that understands what the live view writes.

The screen knows carriage return, line feed, cursor up, the two erasures and colours, and refuses every other control:
what it does not refuse cannot surprise a real terminal. It scrolls and wraps as one does.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import Callable, Mapping, Optional

HERE = Path(__file__).resolve().parent
PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|(\x1b.?)")


class Screen:
    """What a terminal of this size shows after everything that was fed; `history` holds what scrolled out."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows: list[str] = [""] * height
        self.history: list[str] = []
        self.x = self.y = 0

    def feed(self, text: str) -> None:
        for number, command, control, plain, stray in PIECES.findall(text):
            if stray:
                raise AssertionError(f"an escape that is none of ours: {stray!r}")
            if plain:
                self._print(plain)
            elif control == "\r":
                self.x = 0
            elif control == "\n":
                self._down()
            else:
                self._obey(command, number)

    def text(self) -> list[str]:
        """Everything, scrolled out or not, without blank ends."""
        rows = [row.rstrip() for row in (*self.history, *self.rows)]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _obey(self, command: str, number: str) -> None:
        if command == "A":
            self.y = max(0, self.y - int(number or 1))
        elif command == "K":
            self.rows[self.y] = self.rows[self.y][: self.x]
        elif command == "J":
            self.rows[self.y] = self.rows[self.y][: self.x]
            self.rows[self.y + 1 :] = [""] * (self.height - self.y - 1)
        elif command != "m":
            raise AssertionError(f"a command that is none of ours: {command}")

    def _print(self, text: str) -> None:
        for character in text:
            assert character.isprintable(), f"a control reached the terminal: {character!r}"
            if self.x == self.width:
                self.x = 0
                self._down()
            row = self.rows[self.y].ljust(self.x)
            self.rows[self.y] = row[: self.x] + character + row[self.x + 1 :]
            self.x += 1

    def _down(self) -> None:
        if self.y == self.height - 1:
            self.history.append(self.rows.pop(0))
            self.rows.append("")
        else:
            self.y += 1


class Bare:
    """A pty without a program: `fd` is the side that a view draws on."""

    def __init__(self, width: int, height: int) -> None:
        self.ours, self.fd = os.openpty()
        self.screen, self.said = Screen(width, height), ""
        self.resize(width, height)
        os.set_blocking(self.ours, False)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def drawn(self) -> str:
        """What came since this was asked last; the screen shows it."""
        text = ""
        while select.select([self.ours], [], [], 0)[0]:
            text += os.read(self.ours, 65536).decode()
        self.screen.feed(text)
        return text

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.fd)


class Terminal:
    """A program on a pty. `said` is all it wrote to it, `settings` the terminal's modes before and after."""

    def __init__(
        self, words: list[str], size: tuple[int, int] = (80, 24), environment: Optional[Mapping[str, str]] = None
    ):
        self.screen, self.said = Screen(*size), ""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self._ours, self._theirs = ours, theirs
        self.before = termios.tcgetattr(theirs)
        source = HERE.parents[1] / "src"
        clean = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR")}
        self._environment = {**clean, "TERM": "xterm", "PYTHONPATH": str(source), **(environment or {})}
        self.pid = self._spawn(words)
        os.set_blocking(ours, False)

    def _spawn(self, words: list[str]) -> int:
        """A fresh interpreter makes the session and takes the terminal: nothing is forked in the test's process."""
        program = (
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
            "os.execvp(sys.argv[1], sys.argv[1:])"
        )
        actions = [(os.POSIX_SPAWN_DUP2, self._theirs, fd) for fd in (0, 1, 2)]
        command = [sys.executable, "-c", program, *words]
        return os.posix_spawn(sys.executable, command, self._environment, file_actions=actions)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read_until(self, holds: Callable[[str], bool], deadline_seconds: float = 40.0) -> None:
        """Read on until what was said so far satisfies `holds`; fails at the deadline."""
        deadline = time.monotonic() + deadline_seconds
        while not holds(self.said):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._ours], [], [], max(0.0, left))
            assert ready, f"it did not come in time; so far: {self.said[-2000:]!r}"
            self._take()

    def _take(self) -> None:
        text = os.read(self._ours, 65536).decode()
        self.said += text
        self.screen.feed(text)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def end(self, deadline_seconds: float = 40.0) -> int:
        """Read everything up to the program's end; its exit code."""
        deadline = time.monotonic() + deadline_seconds
        status: Optional[int] = None
        while status is None:
            if select.select([self._ours], [], [], 0.02)[0]:
                self._take()
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            status = code if pid else None
            assert time.monotonic() < deadline, f"it did not end; so far: {self.said[-2000:]!r}"
        while select.select([self._ours], [], [], 0)[0]:
            self._take()
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    @property
    def settings_are_as_before(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._ours)
        os.close(self._theirs)
