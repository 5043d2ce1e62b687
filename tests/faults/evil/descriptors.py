"""Deeds with descriptors: closed, put elsewhere, shared, filled with rubbish, made non-blocking.

The node's own 0, 1 and 2 are its own business; ours (result, control, lifeline) are not, and a node that takes them
away from itself ends without a result.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from evil.catalogue import BOUNDED, SKIP, WELL, Attempt, evil, failed, is_consumer, rest_of_stdin, write


@evil()
def closes_descriptor_0(state: dict[str, Any]) -> None:
    os.close(0)


@evil()
def closes_descriptor_1(state: dict[str, Any]) -> None:
    os.close(1)


@evil()
def closes_descriptor_2(state: dict[str, Any]) -> None:
    os.close(2)


@evil()
def closes_descriptors_0_1_and_2(state: dict[str, Any]) -> None:
    for number in (0, 1, 2):
        os.close(number)


@evil(failed("run", "ended without a result"))
def closes_every_descriptor(state: dict[str, Any]) -> None:
    os.closerange(0, 4096)


@evil(failed("run", "ended without a result"))
def closes_our_descriptors(state: dict[str, Any]) -> None:
    os.closerange(3, 1024)


@evil(producer=failed("run", "ended without a result"), consumer=failed())
def closes_our_descriptors_and_reads_on(state: dict[str, Any]) -> Any:
    os.closerange(3, 1024)
    return rest_of_stdin()


@evil(failed("run", "ended without a result"))
def writes_rubbish_into_every_descriptor(state: dict[str, Any]) -> None:
    for number in _numbers():
        with suppress(OSError):
            os.write(number, os.urandom(64))


@evil(failed("run", "ended without a result"))
def announces_a_frame_of_an_exbibyte(state: dict[str, Any]) -> None:
    """The header of an update (kind 6) that nobody could keep."""
    for number in _numbers():
        with suppress(OSError):
            os.write(number, struct.pack(">BQ", 6, 1 << 60))


@evil(failed("run", "ended without a result"))
def announces_a_frame_and_sends_half(state: dict[str, Any]) -> None:
    for number in _numbers():
        with suppress(OSError):
            os.write(number, struct.pack(">BQ", 6, 1000) + b"half")
    os._exit(0)


@evil(failed("run"))
def forges_reports_that_are_none(state: dict[str, Any]) -> None:
    """Reports (kind 5) with every kind of JSON in them, then no true one."""
    for text in (b"[]", b"{}", b"7", b'{"how": "returned"}', b'{"how": {}, "error": [], "broken": 1}', b"\xff", b""):
        for number in _numbers():
            with suppress(OSError):
                os.write(number, struct.pack(">BQ", 5, len(text)) + text)
    os._exit(0)


@evil(failed("run"))
def forges_frames_of_every_kind(state: dict[str, Any]) -> None:
    """Sinks, figures, verdicts, unknown kinds: from a node they mean nothing. (2 is what closing sys.stdout says.)"""
    for kind in (1, 3, 4, 7, 8, 9, 16, 17, 18):
        for payload in (b"", b"\x00", b"\x01\xff", b"rubbish" * 10):
            for number in _numbers():
                with suppress(OSError):
                    os.write(number, struct.pack(">BQ", kind, len(payload)) + payload)
    os._exit(0)


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/dev/fd") if int(name) > 2]


@evil()
def puts_a_file_over_its_stdout(state: dict[str, Any]) -> None:
    """What it writes afterwards goes where it sent it; its stream ends there."""
    number = os.open(os.devnull, os.O_WRONLY)
    os.dup2(number, 1)
    os.close(number)
    sys.stdout.buffer.write(b"elsewhere\n")


@evil(failed("run", "No space left"), possible=lambda: os.path.exists("/dev/full"))
def puts_a_full_disk_over_its_stdout(state: dict[str, Any]) -> None:
    """The node's own flush fails; the error is the node's."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.stdout.write("lost\n")


@evil()
def keeps_a_copy_of_its_stdout_in_a_thread(state: dict[str, Any]) -> None:
    copy = os.dup(1)
    threading.Thread(target=lambda: (time.sleep(1000), os.close(copy))).start()


@evil()
def keeps_a_copy_of_its_stdin(state: dict[str, Any]) -> Any:
    state["copy"] = os.dup(0)
    return {"copy": 1} if not is_consumer() else rest_of_stdin()


@evil(consumer=SKIP)
def makes_its_stdout_non_blocking(state: dict[str, Any]) -> None:
    os.set_blocking(1, False)
    for _ in range(40):
        write(b"n" * 65536)


@evil(producer=SKIP)
def makes_its_stdin_non_blocking(state: dict[str, Any]) -> Any:
    os.set_blocking(0, False)
    return rest_of_stdin()


@evil(producer=SKIP)
def reads_descriptor_0_and_sys_stdin(state: dict[str, Any]) -> Any:
    first = os.read(0, 1000)
    return {"first": len(first), **rest_of_stdin()}


@evil(producer=SKIP)
def reads_descriptor_0_to_its_end(state: dict[str, Any]) -> Any:
    return {"n": sum(len(block) for block in iter(lambda: os.read(0, 65536), b""))}


@evil(producer=SKIP)
def reads_on_after_its_end(state: dict[str, Any]) -> Any:
    rest_of_stdin()
    return {"again": [len(sys.stdin.buffer.read()), len(sys.stdin.read()), len(os.read(0, 10))]}


@evil()
def closes_sys_stdin(state: dict[str, Any]) -> None:
    sys.stdin.close()


@evil(producer=failed("run", "ValueError"), consumer=failed("run", "ValueError"))
def reads_a_closed_sys_stdin(state: dict[str, Any]) -> None:
    sys.stdin.close()
    sys.stdin.read()


@evil(ends_stream=True)
def closes_sys_stdout(state: dict[str, Any]) -> None:
    sys.stdout.close()


@evil(failed("run", "closed file"), ends_stream=True)
def prints_to_a_closed_sys_stdout(state: dict[str, Any]) -> None:
    sys.stdout.close()
    print("nobody hears")


@evil()
def replaces_sys_stdout(state: dict[str, Any]) -> None:
    sys.stdout = io.StringIO()
    print("kept by the node")


@evil()
def deletes_sys_stdout(state: dict[str, Any]) -> None:
    del sys.stdout


@evil()
def sets_all_standard_objects_to_none(state: dict[str, Any]) -> None:
    sys.stdin = sys.stdout = sys.stderr = sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc, assignment]


@evil()
def detaches_sys_stdout(state: dict[str, Any]) -> None:
    sys.stdout.detach()


@evil()
def wraps_its_stdout_anew(state: dict[str, Any]) -> None:
    """As programs do that want another encoding."""
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-16-le", write_through=True)
    if not is_consumer():
        print("wide", end="")
        Attempt.sent.update("wide".encode("utf-16-le"))
        Attempt.sent_bytes += 8


@evil(consumer=SKIP)
def keeps_the_buffer_of_its_stdout(state: dict[str, Any]) -> None:
    """What is written into it is flushed, though no text layer leads there any more."""
    state["kept"] = None
    buffer = sys.stdout.detach()
    buffer.write(b"behind the text")
    Attempt.sent.update(b"behind the text")
    Attempt.sent_bytes += len(b"behind the text")


@evil()
def detaches_the_raw_stdout(state: dict[str, Any]) -> None:
    sys.stdout.detach().detach()


@evil(producer=WELL, consumer=WELL)
def detaches_sys_stdin(state: dict[str, Any]) -> None:
    sys.stdin.detach()


class _Unflushable(io.StringIO):
    def flush(self) -> None:
        raise RuntimeError("this stream does not flush")


@evil(failed("run", "does not flush"))
def replaces_sys_stdout_by_one_that_raises(state: dict[str, Any]) -> None:
    sys.stdout = _Unflushable()


class _Exiting(io.StringIO):
    def flush(self) -> None:
        raise SystemExit("flushing leaves")


@evil(failed("run", "flushing leaves"))
def replaces_sys_stdout_by_one_that_exits(state: dict[str, Any]) -> None:
    """Ours is flushed all the same: nothing that it wrote before is lost."""
    sys.stdout = _Exiting()


class _Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)


@evil(failed("run", "KeyError"))
def replaces_sys_stdout_by_no_stream_at_all(state: dict[str, Any]) -> None:
    sys.stdout = _Hostile()  # type: ignore[assignment]


@evil()
def reopens_its_own_stdout(state: dict[str, Any]) -> None:
    with open("/dev/fd/1", "ab", buffering=0):
        pass


@evil(consumer=SKIP, possible=lambda: sys.platform == "linux")
def shrinks_its_pipe_to_a_page(state: dict[str, Any]) -> None:
    with suppress(OSError):  # not while more than a page is in it
        fcntl.fcntl(1, 1031, 4096)
    write(b"s" * 300_000)


@evil()
def seeks_in_its_streams(state: dict[str, Any]) -> None:
    for number in (0, 1):
        try:
            os.lseek(number, 0, os.SEEK_SET)
        except OSError:
            continue


@evil(BOUNDED)
def uses_up_its_descriptors(state: dict[str, Any]) -> None:
    with suppress(OSError):
        while True:
            os.dup(2)
