"""The worker's end of the pipe on which the supervisor speaks: GO, then the verdict on stdin.

Everything here blocks on that one pipe and nothing else. Its end of file means that the supervisor has gone: the
worker leaves at once, with its group. The verdict is loaded from a pickle that the process which forked us wrote into
an anonymous pipe; nobody else can write there.
"""

from __future__ import annotations

import pickle
import signal
from typing import Callable, Optional

from teastreams.core.frames import HEADER_BYTES, FrameReader, Kind
from teastreams.core.merge import Update
from teastreams.core.outcome import Verdict
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd
from teastreams.runtime.node.pickles import Parcel, load_update

READ_BYTES = 65536
MESSAGE_LIMIT = 1 << 40
"""The supervisor is our own parent: its messages need no tight limit, the state's own limit holds."""


class Control:
    """Receives what the supervisor says. `on_update` is called once per upstream update when the verdict is taken."""

    def __init__(self, fd: Fd, on_update: Callable[[Update], None]) -> None:
        self._fd, self._on_update = fd, on_update
        self._frames = FrameReader({}, MESSAGE_LIMIT)
        self._go = False
        self._verdict: Optional[Verdict] = None
        self._updates: tuple[Parcel, ...] = ()
        self.told = False  # a read was answered with the verdict
        self.held = False

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd.number

    @property
    def has_go(self) -> bool:
        """May the node run? Before that, nothing that happens here is its doing."""
        return self._go

    @property
    def has_verdict(self) -> bool:
        """Has the verdict arrived?"""
        return self._verdict is not None

    def wait_go(self) -> None:
        """Block until every worker of the section is ready.

        Reads no byte past GO: what follows it is for whoever listens then (a fan-out worker's pump).
        """
        while not self._go:
            self.receive(HEADER_BYTES)

    def verdict(self) -> Verdict:
        """Block until the verdict on stdin is there."""
        while self._verdict is None:
            self.receive()
        return self._verdict

    def take_updates(self) -> None:
        """Merge what the upstream nodes returned, once."""
        updates, self._updates = self._updates, ()
        for update in updates:
            self._on_update(load_update(update))

    def receive(self, most_bytes: int = READ_BYTES) -> None:
        """Block for one read of the pipe and take in what it brings."""
        data = calls.table.read(self._fd.number, most_bytes)
        if not data:
            calls.table.killpg(calls.table.getpid(), signal.SIGKILL)
        for kind, payload in self._frames.feed(data):
            if kind is Kind.GO:
                self._go = True
            elif kind is Kind.VERDICT:
                self._verdict, self._updates = pickle.loads(payload)
