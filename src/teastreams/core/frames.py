"""Length-prefixed messages, taken apart incrementally, each with a maximum.

A frame is one kind byte, eight bytes of length (big endian), and the payload. The reader is fed whatever a
non-blocking read gave; a sender that was stopped in the middle of a frame costs a buffer, never a wait. Knows no
descriptor and no meaning of a payload.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Iterator, Mapping

_HEADER = struct.Struct(">BQ")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    """What a frame is. The first group goes from a worker up, the second from the supervisor down."""

    READY = 1  # wired and waiting: no user code has run
    CLOSED = 2  # the node itself closed this standard stream: its stream ends here, cleanly
    SINK = 3  # the fan-out worker is done with one consumer
    EVENT = 4  # something to tell the caller, as text
    REPORT = 5  # how the worker ended, plain data
    UPDATE = 6  # what the node returned, cloudpickle

    GO = 16  # everybody is ready: run
    VERDICT = 17  # how everything upstream of stdin ended
    SOURCE_ENDED = 18  # to a fan-out worker: its producer has exited


class FrameError(Exception):
    """The bytes are no frame of ours, or a frame is longer than its kind may be."""


def header(kind: Kind, length: int) -> bytes:
    """The bytes that go before a payload of `length` bytes."""
    return _HEADER.pack(kind, length)


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """One whole message."""
    return header(kind, len(payload)) + payload


class FrameReader:
    """Collects bytes, hands out whole frames. `limits` maps a kind to the longest payload it may carry."""

    def __init__(self, limits: Mapping[Kind, int], default_limit: int) -> None:
        self._limits, self._default = limits, default_limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Take `data`, yield every frame that is complete now; FrameError when one cannot be."""
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            kind, length = self._head()
            if len(self._buffer) < HEADER_BYTES + length:
                return
            payload = bytes(memoryview(self._buffer)[HEADER_BYTES : HEADER_BYTES + length])
            del self._buffer[: HEADER_BYTES + length]
            yield kind, payload

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun and is not complete."""
        return len(self._buffer)

    def _head(self) -> tuple[Kind, int]:
        number, length = _HEADER.unpack_from(self._buffer)
        try:
            kind = Kind(number)
        except ValueError:
            raise FrameError(f"unknown message kind {number}") from None
        limit = self._limits.get(kind, self._default)
        if length > limit:
            raise FrameError(f"{kind.name.lower()} of {length} bytes is over its limit of {limit} bytes")
        return kind, length
