"""A stage for the pump: one fresh process runs it, forked ones produce and read.

A scene is a function of a test file that is run by `play` in an interpreter of its own (a test that forks must not
do so inside pytest) and returns plain data, on which the test then judges. Streams are keyed: every block depends on
its place, so that loss, doubling and swapping all show. Gates stand where others would sleep: a reader that waits for
its gate moves when the scene says so, not when a clock does.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Iterator, Optional

from teastreams.runtime import calls
from teastreams.runtime.fanout.pump import pump
from teastreams.runtime.fanout.reports import PumpReport, Sink, SinkReport
from teastreams.runtime.fds import Fd, make_pipe

BLOCK = 65536
DEADLINE_SECONDS = 60


def play(scene: Callable[[], Any]) -> Any:
    """Run `scene` in a fresh interpreter and return what it returned."""
    file = sys.modules[scene.__module__].__file__
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error", str(file), scene.__name__],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return json.loads(done.stdout)


def perform(scenes: dict[str, Any]) -> None:
    """The other side of `play`: what a test file does when it is run as a program."""
    sys.stdout.write(json.dumps(scenes[sys.argv[1]]()))


def stream(total: int) -> Iterator[bytes]:
    """The keyed stream in blocks."""
    for place in range(0, total, BLOCK):
        yield hashlib.shake_128(b"%d" % place).digest(min(BLOCK, total - place))


def fingerprint(total: int) -> str:
    """Of the first `total` bytes of the keyed stream."""
    digest = hashlib.sha256()
    for block in stream(total):
        digest.update(block)
    return digest.hexdigest()


def whole(total: int) -> list[Any]:
    """What `take_all` returns when everything came."""
    return [total, fingerprint(total)]


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def produce(total: int) -> Callable[[int], Any]:
    """A producer of the keyed stream; returns "EPIPE" when nobody reads any more."""

    def keyed(fd: int) -> str:
        try:
            for block in stream(total):
                write_all(fd, block)
        except BrokenPipeError:
            return "EPIPE"
        return "all written"

    return keyed


def read_to_end(fd: int) -> Iterator[bytes]:
    while True:
        data = os.read(fd, BLOCK)
        if not data:
            return
        yield data


def take_all(fd: int) -> Any:
    """A reader of everything: [length, fingerprint]."""
    digest, length = hashlib.sha256(), 0
    for data in read_to_end(fd):
        digest.update(data)
        length += len(data)
    return [length, digest.hexdigest()]


def take_text(fd: int) -> str:
    return b"".join(read_to_end(fd)).decode()


class Gate:
    """Shut until `open`: whoever waits goes on then."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def open(self) -> None:
        os.write(self._write, b"!")

    def wait(self) -> None:
        select.select([self._read], [], [])

    def before(self, reader: Callable[[int], Any]) -> Callable[[int], Any]:
        """That reader, which begins when the gate is opened."""

        def waiting(fd: int) -> Any:
            self.wait()
            return reader(fd)

        return waiting


def resized(write: Fd, size_bytes: int) -> None:
    """A pipe of that size also where the library itself must do without: the stage is about its size."""
    if sys.platform == "linux":
        fcntl.fcntl(write.number, calls.F_SETPIPE_SZ, size_bytes)


@dataclass
class Stage:
    """Pipes and actors round one pump. `pipe_bytes` is the size of every pipe, None what the kernel gives."""

    pipe_bytes: Optional[int] = None
    reports: list[SinkReport] = field(default_factory=list)
    still_open: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source: Optional[Fd] = None
        self.sinks: list[Sink] = []
        self._ours: list[Fd] = []
        self._results: dict[str, int] = {}
        self.on_report: Callable[[SinkReport], None] = lambda report: None

    def producer(self, act: Callable[[int], Any], name: str = "producer") -> None:
        """Fork a process that writes to the source."""
        self.source, write = self._pipe(name)
        self._fork(name, act, write)

    def reader(self, name: str, act: Callable[[int], Any], overflow: str = "block", limit: int = 2**20) -> None:
        """Fork a process that reads what the pump delivers."""
        read, write = self._pipe(name)
        self.sinks.append(Sink(name, write, overflow, limit))
        self._fork(name, act, read)

    def pump(self, **options: Any) -> dict[str, Any]:
        """Run the pump to its end; everything that came of it, as plain data."""
        assert self.source is not None
        totals = pump(self.source, self.sinks, self._report, **options)
        return self.outcome(totals)

    def outcome(self, totals: PumpReport) -> dict[str, Any]:
        sinks = {report.name: {**asdict(report), "end": report.end.value} for report in self.reports}
        return {
            "source": totals.source.name,
            "read_bytes": totals.read_bytes,
            "delivered_bytes": totals.delivered_bytes,
            "spill_errors": totals.spill_errors,
            "spill_error": totals.spill_error,
            "order": [report.name for report in self.reports],
            "still_open": self.still_open,
            "sinks": sinks,
            "ends": {name: sink["end"] for name, sink in sinks.items()},
            "results": {name: json.loads(b"".join(read_to_end(fd))) for name, fd in self._results.items()},
        }

    def _report(self, report: SinkReport) -> None:
        self.reports.append(report)
        self.still_open.append(all(sink.fd.number >= 0 for sink in self.sinks if sink.name == report.name))
        self.on_report(report)

    def _pipe(self, name: str) -> tuple[Fd, Fd]:
        read, write = make_pipe(name)
        if self.pipe_bytes is not None:
            resized(write, self.pipe_bytes)
        self._ours += [read, write]
        return read, write

    def _fork(self, name: str, act: Callable[[int], Any], mine: Fd) -> None:
        """The child keeps its one end only, or nobody would ever see an end of file."""
        read, write = os.pipe()
        if os.fork():
            os.close(write)
            mine.close()
            self._results[name] = read
            return
        for fd in self._ours:
            if fd is not mine:
                fd.close()
        result = act(mine.number)
        mine.close()
        write_all(write, json.dumps(result).encode())
        os._exit(0)


def slow_reader(overflow: str, total: int, limit: int, **options: Any) -> dict[str, Any]:
    """The slow reader begins when the quick one has been finished with: were it held up, this would never end."""
    stage, gate = Stage(), Gate()
    stage.producer(produce(total))
    stage.reader("quick", take_all)
    stage.reader("slow", gate.before(take_all), overflow, limit)
    stage.on_report = lambda report: gate.open() if report.name == "quick" else None
    return stage.pump(**options)
