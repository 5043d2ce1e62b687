"""Length-prefixed messages, taken apart incrementally, each with a maximum.

A frame is one kind byte, eight bytes of length (big endian), and the payload. The reader is fed whatever a
non-blocking read gave; a sender that was stopped in the middle of a frame costs a buffer, never a wait. The room of a
long payload is made once, when its length is known and allowed, and can be read into directly. Knows no descriptor and
no meaning of a payload.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Iterator, Mapping, Optional, Union

_HEADER = struct.Struct(">BQ")
HEADER_BYTES = _HEADER.size
LONG_BYTES = 65536
"""From this length on a payload is handed out as the bytearray that it was received in, without a copy."""

Payload = Union[bytes, bytearray]
Memory = Union[bytes, bytearray, memoryview]


class Kind(IntEnum):
    """What a frame is. The first group goes from a worker up, the second from the supervisor down."""

    READY = 1  # wired and waiting: no user code has run
    CLOSED = 2  # the node itself closed this standard stream: its stream ends here, cleanly
    SINK = 3  # the fan-out worker is done with one consumer
    EVENT = 4  # something to tell the caller, as text
    REPORT = 5  # how the worker ended, plain data
    UPDATE = 6  # what the node returned, cloudpickle
    BUFFER = 7  # a large value of the update that follows, outside of its pickle
    FIGURES = 8  # how the nodes of a branch ended

    GO = 16  # everybody is ready: run
    VERDICT = 17  # how everything upstream of stdin ended
    SOURCE_ENDED = 18  # to a fan-out worker: its producer has exited
    READER_ENDED = 19  # to a fan-out worker: this reader has exited, whoever may hold its pipe


class FrameError(Exception):
    """The bytes are no frame of ours, or a frame is longer than its kind may be."""


def header(kind: Kind, length: int) -> bytes:
    """The bytes that go before a payload of `length` bytes."""
    return _HEADER.pack(kind, length)


def frame(kind: Kind, payload: Memory = b"") -> bytes:
    """One whole message."""
    return header(kind, len(payload)) + payload


class FrameReader:
    """Collects bytes, hands out whole frames. `limits` maps a kind to the longest payload it may carry now."""

    def __init__(self, limits: Mapping[Kind, int], default_limit: int) -> None:
        self._limits, self._default = limits, default_limit
        self._header = bytearray()
        self._kind: Optional[Kind] = None
        self._payload = bytearray()
        self._filled = 0

    def feed(self, data: Payload) -> Iterator[tuple[Kind, Payload]]:
        """Take `data`, yield every frame that is complete now; FrameError when one cannot be."""
        rest = memoryview(data)
        while rest:
            if self._kind is None:
                missing = HEADER_BYTES - len(self._header)
                self._header += rest[:missing]
                rest = rest[missing:]
                if len(self._header) < HEADER_BYTES:
                    return
                self._begin()
            count = min(len(rest), len(self._payload) - self._filled)
            self._payload[self._filled : self._filled + count] = rest[:count]
            rest = rest[count:]
            yield from self.filled(count)

    @property
    def room(self) -> Optional[memoryview]:
        """What a long payload still lacks, to be read into and told by `filled`; None when none is under way."""
        is_long = self._kind is not None and len(self._payload) >= LONG_BYTES
        return memoryview(self._payload)[self._filled :] if is_long else None

    def filled(self, count: int) -> Iterator[tuple[Kind, Payload]]:
        """So many bytes more stand in the payload; yields its frame when it is whole."""
        self._filled += count
        if self._kind is not None and self._filled == len(self._payload):
            kind, payload = self._kind, self._payload
            self._kind, self._payload, self._filled = None, bytearray(), 0
            yield kind, payload if len(payload) >= LONG_BYTES else bytes(payload)

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun and is not complete."""
        return len(self._header) + (HEADER_BYTES + self._filled if self._kind is not None else 0)

    def _begin(self) -> None:
        number, length = _HEADER.unpack_from(self._header)
        try:
            kind = Kind(number)
        except ValueError:
            raise FrameError(f"unknown message kind {number}") from None
        limit = self._limits.get(kind, self._default)
        if length > limit:
            raise FrameError(f"{kind.name.lower()} of {length} bytes is over its limit of {limit} bytes")
        self._kind, self._payload, self._filled = kind, bytearray(length), 0
        self._header.clear()
