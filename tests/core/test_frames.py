"""core/frames.py: whole messages out of whatever pieces a pipe hands over."""

from __future__ import annotations

import random

import pytest

from teastreams.core.frames import HEADER_BYTES, LONG_BYTES, FrameError, FrameReader, Kind, frame, header

MESSAGES = [(Kind.READY, b""), (Kind.UPDATE, bytes(range(256)) * 5), (Kind.CLOSED, b"\x01"), (Kind.REPORT, b"{}")]
WIRE = b"".join(frame(kind, payload) for kind, payload in MESSAGES)


def reader(limit: int = 1 << 20) -> FrameReader:
    return FrameReader({}, limit)


def fed(frames: FrameReader, pieces: list[bytes]) -> list[tuple[Kind, bytes]]:
    return [message for piece in pieces for message in frames.feed(piece)]


def test_a_frame_is_kind_length_payload():
    """One byte, eight bytes big endian, the bytes themselves."""
    assert frame(Kind.CLOSED, b"abc") == b"\x02" + b"\0\0\0\0\0\0\0\x03" + b"abc"
    assert header(Kind.CLOSED, 3) + b"abc" == frame(Kind.CLOSED, b"abc")
    assert len(frame(Kind.GO)) == HEADER_BYTES == 9


def test_every_kind_has_its_own_number():
    """Aliases would make two messages one."""
    assert len({int(kind) for kind in Kind.__members__.values()}) == len(Kind.__members__)


@pytest.mark.parametrize("step", [1, 2, 8, 9, 10, 11, 1000, len(WIRE)])
def test_messages_come_out_whole_however_they_are_cut(step: int):
    """In order, byte for byte, and nothing is left over."""
    frames = reader()

    assert fed(frames, [WIRE[at : at + step] for at in range(0, len(WIRE), step)]) == MESSAGES
    assert frames.pending == 0


@pytest.mark.parametrize("seed", range(20))
def test_random_cuts(seed: int):
    """The same with cuts at random places, two and more of them in one place (an empty read)."""
    dice = random.Random(seed)
    cuts = sorted(dice.choices(range(len(WIRE) + 1), k=dice.randrange(12)))
    places = [0, *cuts, len(WIRE)]

    assert fed(reader(), [WIRE[a:b] for a, b in zip(places, places[1:])]) == MESSAGES


def test_a_message_waits_for_its_last_byte():
    """What has begun is counted as pending, header included."""
    frames = reader()
    whole = frame(Kind.REPORT, b"payload")

    assert fed(frames, [whole[:-1]]) == []
    assert frames.pending == len(whole) - 1
    assert fed(frames, [whole[-1:]]) == [(Kind.REPORT, b"payload")]


def test_a_payload_is_a_copy():
    """It stays what it was when more is fed."""
    frames = reader()
    [(_kind, payload)] = frames.feed(frame(Kind.EVENT, b"first"))
    fed(frames, [frame(Kind.EVENT, b"other")])

    assert payload == b"first"
    assert type(payload) is bytes


def test_an_unknown_kind_is_refused_with_its_number():
    """A stranger writes to our pipe."""
    with pytest.raises(FrameError, match="unknown message kind 99"):
        fed(reader(), [b"\x63" + bytes(8)])


def test_too_long_a_message_is_refused_by_its_header():
    """Before a byte of its payload has come: a lie about the length costs no memory."""
    with pytest.raises(FrameError, match="event of 11 bytes is over its limit of 10 bytes"):
        fed(reader(10), [header(Kind.EVENT, 11)])
    with pytest.raises(FrameError):
        fed(reader(), [header(Kind.EVENT, 2**64 - 1)])


def test_a_message_at_its_limit_passes():
    """The limit is the longest that is allowed."""
    assert fed(reader(10), [frame(Kind.EVENT, bytes(10))]) == [(Kind.EVENT, bytes(10))]


def test_a_kind_may_have_a_limit_of_its_own():
    """It goes before the general one, in both directions."""
    frames = FrameReader({Kind.UPDATE: 100, Kind.READY: 0}, 10)

    assert fed(frames, [frame(Kind.UPDATE, bytes(100))]) == [(Kind.UPDATE, bytes(100))]
    with pytest.raises(FrameError, match="ready of 1 bytes is over its limit of 0"):
        fed(frames, [frame(Kind.READY, b"x")])


def test_messages_before_a_bad_one_are_handed_out():
    """The worker said them, whatever came after."""
    frames = reader()
    messages = frames.feed(frame(Kind.READY) + b"\xff" * HEADER_BYTES)

    assert next(messages) == (Kind.READY, b"")
    with pytest.raises(FrameError):
        next(messages)


def test_a_long_payload_is_received_where_it_stays():
    """Its room is made once, can be filled from outside, and is handed out itself, without a copy."""
    frames = reader()
    body = bytes(range(256)) * (LONG_BYTES // 256)
    assert frames.room is None
    assert fed(frames, [header(Kind.UPDATE, len(body)) + body[:100]]) == []
    room = frames.room
    assert room is not None
    assert len(room) == len(body) - 100

    room[:50] = body[100:150]
    assert list(frames.filled(50)) == []
    room = frames.room
    assert room is not None
    room[:] = body[150:]
    [(kind, payload)] = frames.filled(len(room))

    assert (kind, payload) == (Kind.UPDATE, body)
    assert payload is room.obj
    assert frames.room is None
    assert fed(frames, [frame(Kind.READY)]) == [(Kind.READY, b"")]


@pytest.mark.parametrize("step", [1, 4096, LONG_BYTES, 10 * LONG_BYTES])
def test_long_and_short_messages_in_one_stream(step: int):
    """However the bytes are cut, and whoever fills the room."""
    messages = [(Kind.BUFFER, bytes(LONG_BYTES)), (Kind.UPDATE, b"x"), (Kind.BUFFER, b"y" * 3 * LONG_BYTES)]
    wire = b"".join(frame(kind, payload) for kind, payload in messages)
    frames = reader()

    assert fed(frames, [wire[at : at + step] for at in range(0, len(wire), step)]) == messages


def test_a_short_payload_has_no_room():
    """It is collected with whatever else the read brought."""
    frames = reader()
    fed(frames, [header(Kind.UPDATE, LONG_BYTES - 1) + b"x"])

    assert frames.room is None
    assert frames.pending == HEADER_BYTES + 1


def test_a_limit_that_shrinks_holds_for_the_next_message():
    """What has come is taken off what may still come."""
    limits = {Kind.BUFFER: 10}
    frames = FrameReader(limits, 0)
    assert fed(frames, [frame(Kind.BUFFER, b"x" * 6)]) == [(Kind.BUFFER, b"x" * 6)]
    limits[Kind.BUFFER] -= 6

    with pytest.raises(FrameError):
        fed(frames, [header(Kind.BUFFER, 5)])
