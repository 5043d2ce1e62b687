"""Streams of every shape: nothing, one byte, one gigantic line, no text, floods; and readers that do not read.

L1 holds whatever the bytes are; an error of the text layer belongs to the node that decodes or encodes.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

from evil.catalogue import BOUNDED, SKIP, WELL, Attempt, evil, failed, is_consumer, rest_of_stdin, write


@evil(consumer=SKIP)
def writes_a_gigantic_line(state: dict[str, Any]) -> None:
    for _ in range(20):
        write(b"x" * (1 << 20))


@evil(consumer=SKIP, heavy=True, limit_seconds=60)
def writes_a_line_of_a_gibibyte(state: dict[str, Any]) -> None:
    block = b"x" * (1 << 20)
    for _ in range(1024):
        write(block)


@evil(consumer=SKIP)
def writes_every_byte(state: dict[str, Any]) -> None:
    write(bytes(range(256)) * 300)


@evil(consumer=SKIP)
def writes_zeros(state: dict[str, Any]) -> None:
    write(bytes(1_000_000))


@evil(consumer=SKIP)
def writes_no_newline_at_its_end(state: dict[str, Any]) -> None:
    write(b"no newline")


@evil(consumer=SKIP)
def writes_one_byte_at_a_time(state: dict[str, Any]) -> None:
    for number in range(20_000):
        write(bytes((number & 0xFF,)))
        if number < 500:
            sys.stdout.flush()


@evil(consumer=SKIP)
def writes_past_sys_stdout(state: dict[str, Any]) -> None:
    for _ in range(100):
        write(b"by sys.stdout")
        sys.stdout.flush()
        Attempt.sent_bytes += os.write(1, b"by os.write")
        Attempt.sent.update(b"by os.write")


@evil(failed("run", "UnicodeEncodeError"))
def prints_a_lone_surrogate(state: dict[str, Any]) -> None:
    print("\ud800", flush=True)


@evil(producer=SKIP, consumer=failed("run", "UnicodeDecodeError"))
def reads_bytes_as_text(state: dict[str, Any]) -> Any:
    """The stream is no UTF-8; the error is the reader's, and the other reader has every byte."""
    return {"text": sys.stdin.read()}


@evil(producer=SKIP)
def reads_bytes_as_text_with_its_own_error_handling(state: dict[str, Any]) -> Any:
    sys.stdin.reconfigure(encoding="latin-1", newline="")  # type: ignore[union-attr]
    return {"n": len(sys.stdin.read())}


@evil()
def floods_its_stderr(state: dict[str, Any]) -> None:
    for _ in range(50_000):
        sys.stderr.write("e" * 99 + "\n")


@evil()
def floods_its_stderr_without_a_newline(state: dict[str, Any]) -> None:
    for _ in range(80):
        os.write(2, b"\xff\x00\x1b[31m" * 20_000)


@evil(heavy=True, limit_seconds=60)
def floods_its_stderr_with_100_megabytes(state: dict[str, Any]) -> None:
    for _ in range(1000):
        sys.stderr.write(("e" * 99 + "\n") * 1000)


@evil(failed("run", "boom"))
def floods_its_stderr_and_raises(state: dict[str, Any]) -> None:
    for _ in range(20_000):
        sys.stderr.write("e" * 99 + "\n")
    raise ValueError("boom")


@evil(producer=SKIP)
def stops_reading(state: dict[str, Any]) -> None:
    """Leaving early is no error (L7)."""


@evil(producer=SKIP, consumer=failed("timeout"), settings={"timeout": 0.4})
def never_reads_and_never_ends(state: dict[str, Any]) -> None:
    time.sleep(1000)


@evil(producer=SKIP)
def reads_one_byte_at_a_time(state: dict[str, Any]) -> Any:
    count = 0
    while sys.stdin.buffer.read(1):
        count += 1
    return {"n": count}


@evil(producer=SKIP)
def reads_slowly(state: dict[str, Any]) -> Any:
    count = 0
    while True:
        time.sleep(0.002)
        block = os.read(0, 4096)
        if not block:
            return {"n": count}
        count += len(block)


@evil(producer=SKIP)
def reads_with_input(state: dict[str, Any]) -> Any:
    sys.stdin.reconfigure(encoding="latin-1")  # type: ignore[union-attr]
    count = 0
    with suppress(EOFError):
        while True:
            input()
            count += 1
    return {"lines": count}


@evil(producer=SKIP)
def writes_into_its_stdin(state: dict[str, Any]) -> Any:
    with suppress(OSError):
        os.write(0, b"against the stream")
    return rest_of_stdin()


@evil(consumer=SKIP)
def reads_from_its_stdout(state: dict[str, Any]) -> None:
    with suppress(OSError):
        os.read(1, 100)


@evil(consumer=SKIP, producer=BOUNDED)
def truncates_its_stdout(state: dict[str, Any]) -> None:
    with suppress(OSError):
        os.ftruncate(1, 0)


@evil(WELL, limit_seconds=5)
def dawdles(state: dict[str, Any]) -> Any:
    """Slow is not stalled."""
    time.sleep(0.1)
    return rest_of_stdin() if is_consumer() else None
