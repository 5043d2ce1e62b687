"""Lines and records of a node's standard streams, many at a time: what `context.lines()` and its like do.

    sys.stdin.buffer ─ read1 ─▶ core/framing ─▶ records          records ─▶ batches ─▶ sys.stdout.buffer

Laws: they stand on the same buffers as `sys.stdin` and `sys.stdout`, so an end of file is a verdict here as well (L2),
and what `print` wrote before comes first; a record that the end cuts short is an error, never left out. A record is
handed out when it is there, without waiting for more; what is written is gathered only while gathering is quick.

They go round the text layer: handing on a line of 100 bytes costs a third of a `print`, reading one three quarters of
the text of it.
"""

from __future__ import annotations

import json
import pickle
import sys
from itertools import chain, islice
from typing import Any, Callable, Iterable, Iterator, Protocol, Union

from teastreams.core.framing import BATCH_SECONDS, LENGTH, MAX_FRAME_BYTES, Frames, Lines, framed, next_batch
from teastreams.errors import RecordError
from teastreams.runtime import calls

READ_BYTES = 256 * 1024
CODECS = ("jsonl", "pickle", "bytes")


class Splitter(Protocol):
    """Finds records in a stream: see `core/framing.py`."""

    @property
    def offset(self) -> int: ...

    def feed(self, data: bytes) -> list[bytes]: ...

    def end(self) -> list[bytes]: ...


def lines(limit_bytes: int) -> Iterator[bytes]:
    """The lines of stdin, without their newlines."""
    return _gone_on_with("lines", lambda: _batches_of(Lines(limit_bytes)))


def records(codec: str, limit_bytes: int) -> Iterator[Any]:
    """The records of stdin. ValueError for an unknown codec."""
    known: dict[str, Callable[[int], Iterator[Iterable[Any]]]] = {
        "jsonl": _json_batches,
        "pickle": _pickled_batches,
        "bytes": lambda limit: _batches_of(Frames(limit)),
    }
    read = known[_checked(codec)]
    return _gone_on_with(codec, lambda: read(limit_bytes))


def write_lines(texts: Iterable[Union[bytes, str]]) -> int:
    """Write each as a line; how many there were."""
    return _written(texts, _as_lines)  # text and bytes cannot change while they wait


def write_records(values: Iterable[Any], codec: str) -> int:
    """Write each as a record; how many there were. ValueError for an unknown codec."""
    # Each is encoded when it comes: who yields one dict again and again, changed, means what it was each time.
    known: dict[str, tuple[Callable[[Any], Any], Callable[[list[Any]], bytes]]] = {
        "jsonl": (_ENCODE, _as_text),
        "pickle": (_pickled, _as_frames),
        "bytes": (_record, _as_frames),
    }
    encode, join = known[_checked(codec)]
    return _written(map(encode, values), join)


def _checked(codec: str) -> str:
    if codec not in CODECS:
        raise ValueError(f"there is no codec {codec!r}; use one of {', '.join(CODECS)}")
    return codec


# -- reading ----------------------------------------------------------------------------------------------------------


def _gone_on_with(codec: str, batches: Callable[[], Iterator[Iterable[Any]]]) -> Iterator[Any]:
    """The iterator that reads stdin: the one that was begun, for what it has read ahead belongs to the stream.

    So who takes a first line and then asks for the rest loses nothing between the two.
    """
    stream: Any = sys.stdin
    # Chained by C: a generator that hands out each record costs more than finding it.
    begun: tuple[str, Iterator[Any]] = getattr(stream, _BEGUN, None) or (codec, chain.from_iterable(batches()))
    if begun[0] != codec:
        raise RecordError(f"stdin is read as {begun[0]} and cannot become {codec} in the middle; read it in one way")
    setattr(stream, _BEGUN, begun)
    return begun[1]


_BEGUN = "_teastreams_records"


def _batches_of(splitter: Splitter) -> Iterator[list[bytes]]:
    source: Any = sys.stdin.buffer
    read, feed = source.read1, splitter.feed
    while True:
        data = read(READ_BYTES)
        if not data:
            break
        yield feed(data)
    yield splitter.end()


def _pickled_batches(limit_bytes: int) -> Iterator[Iterable[Any]]:
    """Each frame is a pickle, written by a node of the same run, which is trusted as we are."""
    splitter = Frames(limit_bytes)
    for batch in _batches_of(splitter):
        yield _unpickled(batch, splitter)


def _unpickled(batch: list[bytes], splitter: Splitter) -> Iterator[Any]:
    for data in batch:
        try:
            value = pickle.loads(data)
        except Exception as error:
            raise _unreadable(f"record before byte {splitter.offset}", "pickle", error) from error
        yield value


def _json_batches(limit_bytes: int) -> Iterator[Iterable[Any]]:
    splitter = Lines(limit_bytes)
    begin = 0
    for batch in _batches_of(splitter):
        values = _scanned(batch)
        yield _one_by_one(batch, begin) if values is None else values
        begin = splitter.offset


def _scanned(batch: list[bytes]) -> Union[list[Any], None]:
    """All lines at once: one decoding, one text that the parser walks along. None where a line is not just a value."""
    try:
        text = b"\n".join(batch).decode()
    except UnicodeDecodeError:
        return None
    values, at, size, scan = [], 0, len(text), _SCAN
    try:
        while at < size:
            value, at = scan(text, at)
            if at < size and text[at] != "\n":
                return None
            at += 1
            values.append(value)
    except (StopIteration, ValueError, RecursionError):
        return None
    return values if len(values) == len(batch) else None


_SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def _one_by_one(batch: list[bytes], offset: int) -> Iterator[Any]:
    """The slow way, which knows the line that is wrong; empty lines are no records."""
    for line in batch:
        if line.strip():
            try:
                value = json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise _unreadable(f"line at byte {offset}", "JSON", error) from error
            yield value
        offset += len(line) + 1


def _unreadable(place: str, kind: str, error: Exception) -> RecordError:
    reason = f"{type(error).__name__}: {str(error)[:200]}"
    return RecordError(f"the {place} is no {kind} ({reason}); see whether its producer writes the same codec")


# -- writing ----------------------------------------------------------------------------------------------------------


def _written(values: Iterable[Any], encoded: Callable[[list[Any]], bytes]) -> int:
    sys.stdout.flush()  # what was printed before comes before
    write, clock = sys.stdout.buffer.write, calls.table.monotonic
    rest, count, size = iter(values), 0, 1
    while True:
        began = clock()
        batch = list(islice(rest, size))
        if not batch:
            break
        write(encoded(batch))
        seconds = clock() - began
        if seconds >= BATCH_SECONDS:  # the next one may take as long: nobody shall wait for it to see this one
            sys.stdout.buffer.flush()
        count += len(batch)
        size = next_batch(size, seconds)
    sys.stdout.buffer.flush()
    return count


def _as_lines(batch: list[Any]) -> bytes:
    block = _joined(batch)
    if block.count(b"\n") != len(batch):
        wrong = next(each for each in batch if (b"\n" if isinstance(each, bytes) else "\n") in each)
        raise RecordError(f"the line {wrong[:100]!r} has a newline in it; write lines without their newlines")
    return block


def _joined(batch: list[Any]) -> bytes:
    kinds = {*map(type, batch)}
    if kinds == {str}:
        return "\n".join((*batch, "")).encode()
    strange = kinds - {str, bytes}
    if strange:  # what can change, too: it is written later than it came
        raise TypeError(f"a line is str or bytes, not {strange.pop().__name__}")
    return b"\n".join([*(each.encode() if isinstance(each, str) else each for each in batch), b""])


_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def _as_text(batch: list[str]) -> bytes:
    return "\n".join((*batch, "")).encode()


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, protocol=5)


def _record(record: Any) -> bytes:
    return record if type(record) is bytes else bytes(memoryview(record).cast("B"))


def _as_frames(batch: list[bytes]) -> bytes:
    if max(map(len, batch)) > MAX_FRAME_BYTES:
        return b"".join(map(framed, batch))  # which says what is wrong
    pack = LENGTH.pack
    return b"".join([part for record in batch for part in (pack(len(record)), record)])
