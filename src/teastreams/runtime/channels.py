"""Live named channels, for use on their own: `StreamChannel` and `StreamRegistry`.

A channel is declared first and opened later; closing twice is harmless, opening a closed one is an error. Its
descriptors have one owner each (`Fd`), so that closing never hits a stranger's file. Inside a workflow the supervisor
opens pipes by its plan; a registry handed to `ProcessExecutor.execute` lends it the ends that the caller wants to hold.
"""

from __future__ import annotations

import signal
import sys
from enum import Enum
from typing import Iterable, Iterator, Optional

from teastreams.core.graph import DEFAULT_BUFFER_BYTES
from teastreams.errors import UNIX_ONLY, PlatformError
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, make_pipe, resize


class StreamDirection(Enum):
    """Which standard stream of a node a channel was registered for."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"


def validate_platform(platform: Optional[str] = None) -> None:
    """Raise `PlatformError` on a platform without fork and POSIX pipes; `platform` is as in `sys.platform`."""
    name = sys.platform if platform is None else platform
    if name.startswith(("win", "cygwin")):
        raise PlatformError(f"stream channels need a Unix-like system (Linux or macOS), this is {name}: {UNIX_ONLY}")


class StreamChannel:
    """One named stream: its declaration, and its pipe while it is open.

    `buffer_size` is the wished size of the kernel's pipe in bytes, 65536 unless given; a refused wish leaves a
    working pipe.
    """

    def __init__(
        self,
        name: str,
        direction: StreamDirection,
        buffer_size: int = DEFAULT_BUFFER_BYTES,
        consumers: Iterable[str] = (),
    ) -> None:
        self.name, self.direction, self.buffer_size = name, direction, buffer_size
        self.producer: Optional[str] = None
        self._consumers: dict[str, None] = dict.fromkeys(consumers)
        self._reader: Optional[Fd] = None
        self._writer: Optional[Fd] = None
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self.is_open else "declared"
        return f"<StreamChannel {self.name!r} {self.direction.value}, {self.buffer_size} bytes, {state}>"

    @property
    def consumers(self) -> tuple[str, ...]:
        """The names of the nodes that read it, each once, in the order of registration."""
        return tuple(self._consumers)

    @property
    def consumer_count(self) -> int:
        """How many distinct nodes read it."""
        return len(self._consumers)

    @property
    def is_broadcast(self) -> bool:
        """True with two or more consumers."""
        return self.consumer_count > 1

    @property
    def is_open(self) -> bool:
        """Is at least one end of its pipe open here?"""
        return bool(self._reader or self._writer)

    @property
    def read_fd(self) -> Optional[int]:
        """The number of the read end, or None when it is not open here."""
        return self._reader.number if self._reader else None

    @property
    def write_fd(self) -> Optional[int]:
        """The number of the write end, or None when it is not open here."""
        return self._writer.number if self._writer else None

    def add_consumer(self, node_name: str) -> None:
        """Record a node that reads it; again is harmless."""
        self._consumers[node_name] = None

    def create_pipe(self) -> tuple[int, int]:
        """Open the pipe and return (read fd, write fd), both blocking and close-on-exec.

        An open channel gives its two numbers again. RuntimeError when the channel was closed, or gave an end away.
        """
        if self.closed or bool(self._reader) != bool(self._writer):
            raise RuntimeError(f"channel {self.name!r} was closed; register a new one to open it again")
        if not self._reader or not self._writer:
            validate_platform()
            self._reader, self._writer = make_pipe(f"channel {self.name}")
            if self.buffer_size != DEFAULT_BUFFER_BYTES:
                resize(self._writer, self.buffer_size)
        return self._reader.number, self._writer.number

    def take_end(self, side: str) -> Optional[Fd]:
        """Give the end "r" or "w" away to an executor; None when it is not open."""
        end = self._reader if side == "r" else self._writer
        if not end:
            return None
        return Fd(end.take(), end.label)

    def close_read(self) -> None:
        """Close the read end only."""
        if self._reader is not None:
            self._reader.close()

    def close_write(self) -> None:
        """Close the write end only: the reader sees its end of file."""
        if self._writer is not None:
            self._writer.close()

    def close(self) -> None:
        """Close both ends for good; again is harmless."""
        self.close_read()
        self.close_write()
        self.closed = True


class StreamRegistry:
    """The named channels of one workflow. Use it as a context manager, or call `cleanup`."""

    def __init__(self) -> None:
        self.channels: dict[str, StreamChannel] = {}
        self._sigpipe_installed = False

    def __contains__(self, name: object) -> bool:
        return name in self.channels

    def __len__(self) -> int:
        return len(self.channels)

    def __iter__(self) -> Iterator[StreamChannel]:
        return iter(self.channels.values())

    def __enter__(self) -> StreamRegistry:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cleanup()

    def register(
        self,
        name: str,
        direction: StreamDirection,
        *,
        buffer_size: int = DEFAULT_BUFFER_BYTES,
        node_name: Optional[str] = None,
    ) -> StreamChannel:
        """The channel of that name, created with these settings if it is new.

        `node_name` is recorded as a consumer for STDIN and as the producer otherwise. A channel that was known only
        by its readers takes the direction of its producer.
        """
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = StreamChannel(name, direction, buffer_size)
        if direction is not StreamDirection.STDIN:
            channel.direction = direction
            channel.producer = node_name or channel.producer
        elif node_name is not None:
            channel.add_consumer(node_name)
        return channel

    def get(self, name: str) -> Optional[StreamChannel]:
        """The channel of that name, or None."""
        return self.channels.get(name)

    def producers(self) -> tuple[StreamChannel, ...]:
        """The channels that somebody writes: those of direction STDOUT or STDERR."""
        return tuple(each for each in self if each.direction is not StreamDirection.STDIN)

    def validate(self) -> list[str]:
        """What is wrong with the channels as a whole, one sentence each; empty when all is well."""
        return [
            f"channel {channel.name!r} is read by {', '.join(map(repr, channel.consumers))} but nobody writes it; "
            f"add `streams: {{stdout: {channel.name}}}` to the node that produces it"
            for channel in self
            if channel.consumers and channel.direction is StreamDirection.STDIN
        ]

    def install_sigpipe_handler(self) -> bool:
        """Ignore SIGPIPE in this process, so that a write to a reader-less pipe raises; True if this call changed it.

        For programs that use channels on their own. The engine never calls it: a run leaves the caller's signals
        as they are.
        """
        if self._sigpipe_installed or calls.table.get_handler(signal.SIGPIPE) is signal.SIG_IGN:
            self._sigpipe_installed = True
            return False
        calls.table.set_handler(signal.SIGPIPE, signal.SIG_IGN)
        self._sigpipe_installed = True
        return True

    def cleanup(self) -> None:
        """Close every channel and forget it; again is harmless."""
        for channel in self.channels.values():
            channel.close()
        self.channels.clear()
