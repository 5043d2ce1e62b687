"""`TeeOrchestrator`: one stream for several programs outside, each reading a FIFO of its own.

Inside a workflow anonymous pipes join the nodes; this is for programs that can only be given a path.

    create_broadcast: FIFOs in a private directory ──▶ readers open them, start_broadcast: bytes flow ──▶ wait or stop
    cleanup: workers stopped and collected, waiting readers let go, FIFOs and directory gone

Laws: no thread, no shell, no external program; what was made is removed, however the block ends, by the process that
made it and by no other. How a broadcast is served is `runtime/fanout/broadcast.py`'s business, how FIFOs are kept
that of `runtime/fanout/fifos.py`.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
import re
import resource
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Optional, Sequence, Union

from teastreams.core.fanout.arithmetic import Terms
from teastreams.core.graph import DEFAULT_LIMIT_BYTES, DEFAULT_SPILL_BYTES, MAX_CONSUMERS
from teastreams.errors import LimitError, Problem, WorkflowError
from teastreams.runtime import calls
from teastreams.runtime.channels import validate_platform
from teastreams.runtime.fanout.broadcast import GRACE_SECONDS, Broadcast, BroadcastReport, Policy
from teastreams.runtime.fanout.fifos import FifoFolder
from teastreams.runtime.fds import LOWEST, Fd, ledger
from teastreams.runtime.preflight import SPARE_DESCRIPTORS

LONGEST_PART = 80
"""Of a name within a file name: two of them and a number stay below the 255 bytes that a file system allows."""


class TeeOrchestrator:
    """Feeds named FIFOs, so that programs outside the workflow can attach to a stream. Use it as a context manager.

    The FIFOs stand in a private directory (0700), `directory`, made in `work_dir`; without one, in the system's
    temporary directory. A `work_dir` that was there is kept. FIFOs can be opened by programs of the same user only;
    each is for one reader. Bytes are read from the source once every endpoint has its reader.

    `overflow` is block, spill, drop_oldest, drop_newest or fail and holds for every consumer. The default is spill: a
    program outside may be slow or stopped for reasons of its own, and should hold up neither the producer nor the
    other readers; what it has not read beyond `buffer_limit_bytes` of memory waits on disk, on the file system of
    `directory`, up to `spill_limit_bytes`. Nothing survives `cleanup`, which also runs when the object or the
    interpreter ends; after a SIGKILL of this process the workers are gone, but the directory stays.

    Raises:
        WorkflowError: a limit or policy makes no sense.
        PermissionError: anybody may rename files in `work_dir`.
        PlatformError: this platform has no FIFOs.
    """

    def __init__(
        self,
        work_dir: Union[str, os.PathLike[str], None] = None,
        *,
        max_consumers: int = MAX_CONSUMERS,
        overflow: str = "spill",
        buffer_limit_bytes: int = DEFAULT_LIMIT_BYTES,
        spill_limit_bytes: int = DEFAULT_SPILL_BYTES,
    ) -> None:
        validate_platform()
        _check_settings(max_consumers, overflow, buffer_limit_bytes)
        self.max_consumers = max_consumers
        self._policy = Policy(overflow, buffer_limit_bytes, spill_limit_bytes)
        self._folder = FifoFolder(None if work_dir is None else os.path.abspath(os.fspath(work_dir)))
        self._broadcasts: dict[str, Broadcast] = {}
        self._numbers = itertools.count(1)
        self._dismantle = weakref.finalize(self, _dismantle, calls.table.getpid(), self._folder, self._broadcasts)
        # finalize's own hook may come after multiprocessing's, which waits for children that wait for readers.
        self._dismantle.atexit = False
        atexit.register(self._dismantle)

    def __enter__(self) -> TeeOrchestrator:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cleanup()

    def __repr__(self) -> str:
        return f"<TeeOrchestrator in {self.directory}: {', '.join(self._broadcasts) or 'no broadcasts'}>"

    @property
    def directory(self) -> Path:
        """The private directory in which the FIFOs stand; it is gone after `cleanup`."""
        return Path(self._folder.path)

    def create_broadcast(self, name: str, consumers: Union[int, Sequence[str]]) -> list[Path]:
        """Make one FIFO per consumer and return their paths, in the order of the consumers.

        `consumers` is their names, or their number: they are then called "0", "1" and so on. A file name contains the
        names of both, as far as they are ASCII letters, digits, "_" and "-", and a number that makes it unique.

        Raises:
            WorkflowError: fewer than two consumers, more than `max_consumers`, or a name that is empty or taken.
            LimitError: this process may not open that many files.
            OSError: the file system makes no FIFO; none is left behind.
        """
        self._refuse_closed()
        names = _names(consumers)
        self._check(name, names, isinstance(consumers, str))
        _check_descriptors(name, len(names))
        fifos = {consumer: self._file_name(name, consumer) for consumer in names}
        self._make(list(fifos.values()))
        self._broadcasts[name] = Broadcast(name, self._folder, fifos, self._policy)
        return self.endpoints(name)

    def endpoint(self, name: str, consumer: Union[str, int]) -> Path:
        """The path for one consumer, by its name or its position from 0. KeyError when there is no such endpoint."""
        fifos = self._known(name).fifos
        names = list(fifos)
        if isinstance(consumer, int) and 0 <= consumer < len(names):
            consumer = names[consumer]
        if consumer not in fifos:
            raise KeyError(f"broadcast {name!r} has no consumer {consumer!r}; it has {', '.join(map(repr, names))}")
        return self.directory / fifos[str(consumer)]

    def endpoints(self, name: str) -> list[Path]:
        """The paths of all its consumers, in their order. KeyError when there is no such broadcast."""
        return [self.directory / fifo for fifo in self._known(name).fifos.values()]

    def start_broadcast(self, name: str, source_fd: int) -> None:
        """Start the worker that feeds the broadcast from `source_fd`, and return at once.

        The worker reads when every endpoint has been opened by its reader, and ends when all are served. It has a
        descriptor of its own: close yours, so that the producer notices when all readers have left. Nobody else may
        read the source meanwhile.

        Raises:
            KeyError: there is no such broadcast.
            RuntimeError: it was started before.
            WorkflowError: the source cannot be read, or is a terminal.
            LimitError: this machine has no room for another process now; it can be started again later.
        """
        broadcast = self._known(name)
        self._refuse_closed()
        if broadcast.started:
            raise RuntimeError(f"broadcast {name!r} was started before; create another one for another source")
        _check_source(name, source_fd)
        with ledger.guard:
            source = Fd(calls.table.fcntl(source_fd, fcntl.F_DUPFD_CLOEXEC, LOWEST), f"source of {name}")
        broadcast.start(source)

    def wait(self, name: str, timeout: Optional[float] = None) -> BroadcastReport:
        """Wait, at most `timeout` seconds, until every consumer is served, and return what each of them got.

        The report tells of a broadcast that did not end well, too: look at its `well`. The endpoints are gone then.

        Raises:
            KeyError: there is no such broadcast.
            RuntimeError: it was never started.
            TimeoutError: it goes on; wait again, or stop it.
        """
        broadcast = self._known(name)
        if not broadcast.started:
            raise RuntimeError(f"broadcast {name!r} was never started: call start_broadcast first")
        if not broadcast.finish(timeout):
            raise TimeoutError(f"broadcast {name!r} goes on after {timeout:g} s; wait again, or stop it")
        return self.stop_broadcast(name)

    def stop_broadcast(self, name: str, grace_seconds: float = GRACE_SECONDS) -> BroadcastReport:
        """End it if it goes on: SIGTERM, after the grace SIGKILL; its worker is collected and its endpoints are gone.

        Returns what each consumer got until then. Again is harmless. KeyError when there is no such broadcast.
        """
        broadcast = self._known(name)
        if self._dismantle.alive:
            broadcast.stop(grace_seconds)
        return broadcast.report()

    def cleanup(self) -> None:
        """Stop every broadcast, let go every reader that still waits, remove FIFOs and directory. Again is harmless.

        A directory into which others have put something stays.
        """
        self._dismantle()
        atexit.unregister(self._dismantle)

    # -- inside ---------------------------------------------------------------------------------------------

    def _known(self, name: str) -> Broadcast:
        try:
            return self._broadcasts[name]
        except KeyError:
            known = ", ".join(map(repr, self._broadcasts)) or "none; call create_broadcast first"
            raise KeyError(f"there is no broadcast {name!r}; there is {known}") from None

    def _refuse_closed(self) -> None:
        if not self._dismantle.alive:
            raise RuntimeError("this orchestrator was cleaned up; make another one")

    def _check(self, name: str, names: Sequence[str], one_text: bool) -> None:
        problems = []
        if not name or name in self._broadcasts:
            problems.append(Problem(f"the name {name!r} is {'taken' if name else 'empty'}", "choose another"))
        if one_text:
            problems.append(Problem(f"the consumers of {name!r} are one text", "give a list of names, or a number"))
        elif len(names) < 2:
            message = f"broadcast {name!r} needs two or more consumers and has {len(names)}"
            problems.append(Problem(message, "let a single consumer read the source itself"))
        elif len(names) > self.max_consumers:
            message = f"broadcast {name!r} has {len(names)} consumers, and at most {self.max_consumers} are possible"
            problems.append(Problem(message, "let one of them pass the stream on, or raise max_consumers"))
        elif len(set(names)) < len(names) or not all(names):
            given = ", ".join(map(repr, names))
            problems.append(Problem(f"the consumers of {name!r} are {given}", "give each a name of its own"))
        if problems:
            raise WorkflowError(problems)

    def _file_name(self, name: str, consumer: str) -> str:
        return f"{_harmless(name)}.{next(self._numbers)}.{_harmless(consumer)}.fifo"

    def _make(self, fifos: Sequence[str]) -> None:
        with ExitStack() as undo:
            for fifo in fifos:
                self._folder.make(fifo)
                undo.callback(self._folder.remove, fifo)
            undo.pop_all()


def _dismantle(owner_pid: int, folder: FifoFolder, broadcasts: dict[str, Broadcast]) -> None:
    """Everything back, even when a step fails; in a fork of the owner nothing, for nothing there is its own."""
    if calls.table.getpid() != owner_pid:
        return
    with ExitStack() as steps:
        steps.callback(folder.close)
        for broadcast in broadcasts.values():
            steps.callback(broadcast.stop, GRACE_SECONDS)


def _names(consumers: Union[int, Sequence[str]]) -> list[str]:
    return [str(number) for number in range(consumers)] if isinstance(consumers, int) else list(consumers)


def _harmless(name: str) -> str:
    """What of a name may stand in a file name: no separators, no dots, nothing a file system would change."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_PART]


def _check_settings(max_consumers: int, overflow: str, buffer_limit_bytes: int) -> None:
    if max_consumers < 2:
        raise WorkflowError([Problem(f"max_consumers is {max_consumers}, and a broadcast has two", "give 2 or more")])
    try:
        Terms(overflow, buffer_limit_bytes)
    except ValueError as error:
        raise WorkflowError([Problem(str(error))]) from None


def _check_descriptors(name: str, consumers: int) -> None:
    """The worker holds every FIFO at once; a limit that is too low is found before the first byte."""
    soft, _hard = calls.table.getrlimit(resource.RLIMIT_NOFILE)
    need, have = consumers + SPARE_DESCRIPTORS, soft - LOWEST
    if soft != resource.RLIM_INFINITY and have < need:
        text = f"not enough file descriptors for the {consumers} consumers of {name!r}"
        raise LimitError(f"{text}; raise the limit of open files (ulimit -n)", need, max(0, have))


def _check_source(name: str, source_fd: int) -> None:
    """What would never give a byte to a worker in a process group of its own."""
    what = f"descriptor {source_fd}, the source of broadcast {name!r},"
    flags = calls.table.fcntl(source_fd, fcntl.F_GETFL)
    if flags & os.O_ACCMODE == os.O_WRONLY:
        raise WorkflowError([Problem(f"{what} can only be written", "give the read end of the pipe")])
    if calls.table.isatty(source_fd):
        fix = "put a program of the foreground in between, such as cat"
        raise WorkflowError([Problem(f"{what} is a terminal, which stops readers in the background", fix)])
