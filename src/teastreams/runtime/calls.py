"""Every system call we make, in one replaceable table: the fault seam.

The runtime calls nothing of the operating system but what stands here (a test over the syntax trees enforces
it). A test replaces entries of `table` before the fork, so that children inherit the fault: "the third write of
the fan-out worker fails with ENOSPC" is one assignment. The table is the only mutable module state we have.
It decides nothing and retries nothing: Python itself retries EINTR (PEP 475).
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import select
import signal
import sys
import time
import warnings
from functools import cache
from typing import Any, Callable, Optional

from teastreams.errors import UNIX_ONLY, PlatformError
from teastreams.values import dataclass

try:
    import fcntl
    import resource
except ImportError as missing:
    # Windows has neither; this is the first file of the runtime that anything imports.
    raise PlatformError(f"teastreams needs a Unix-like system, this is {sys.platform}: {UNIX_ONLY}") from missing

PORTABLE = "TEASTREAMS_PORTABLE"
PIPE_SIZE = "TEASTREAMS_PIPE_SIZE"
# fcntl.F_SETPIPE_SZ and F_GETPIPE_SZ appeared in Python 3.10; the numbers are Linux's own.
F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032


class Poll:
    """poll(2) with seconds. Not epoll: a poll set is no descriptor, so no child can inherit and spoil it."""

    def __init__(self) -> None:
        self._set = select.poll()

    def register(self, fd: int, mask: int) -> None:
        """Watch `fd`; mask 0 still reports POLLERR, POLLHUP and POLLNVAL. Registering again replaces the mask."""
        self._set.register(fd, mask)

    def unregister(self, fd: int) -> None:
        """Stop watching `fd`; KeyError if it was not watched."""
        self._set.unregister(fd)

    def poll(self, timeout_seconds: Optional[float] = None) -> list[tuple[int, int]]:
        """Wait for events, at most `timeout_seconds` (None: for ever); returns (fd, mask) pairs."""
        # Rounded up: rounding down would wake just before the deadline and spin through the last millisecond.
        milliseconds = None if timeout_seconds is None else max(0, math.ceil(timeout_seconds * 1000))
        return self._set.poll(milliseconds)


def _fork() -> int:
    # Python 3.12+ warns about threads at every fork; preflight has said so already, once and with names.
    if sys.version_info < (3, 12):
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _pidfd_open(pid: int) -> int:
    return os.pidfd_open(pid) if sys.platform == "linux" else -1


def _has_exited(pid: int) -> bool:
    """Has this child ended? Leaves its status uncollected (not on macOS before Python 3.13, which has kqueue)."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _group_lives(group: int) -> bool:
    """Would a KILL for this group meet anybody? Its leader has ended, and its status is not collected.

    macOS passes over zombies, and says EPERM when nobody else is left whom we may signal. Linux counts them as met, so
    there the list of processes is read in its place.
    """
    try:
        if sys.platform == "linux":
            return any(_runs_in(group, name) for name in os.listdir("/proc") if name.isdigit())
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def _runs_in(group: int, name: str) -> bool:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            state, _parent, its_group = file.read().rpartition(b")")[2].split()[:3]
    except (OSError, ValueError):  # it went while we looked
        return False
    return int(its_group) == group and state not in (b"Z", b"X")


def _exit_queue(pid: int) -> Any:  # pragma: no cover - macOS
    """A kqueue that has an event once this child has ended; ProcessLookupError when it has already."""
    module: Any = select
    queue = module.kqueue()
    flags = module.KQ_EV_ADD | module.KQ_EV_ONESHOT
    queue.control([module.kevent(pid, module.KQ_FILTER_PROC, flags, module.KQ_NOTE_EXIT)], 0, 0)
    return queue


def _temporary_file(directory: Optional[str] = None) -> int:
    """A file that has no name, mode 0600: it vanishes with its last descriptor, even after SIGKILL."""
    import tempfile  # 4 ms: shutil and the compressors; only who spills pays

    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 32)


def _mkdtemp(**options: Any) -> str:
    import tempfile

    return str(tempfile.mkdtemp(**options))


def _mkfifo(name: str, directory_fd: int, directory: str) -> None:
    """A FIFO for its owner alone, made relative to the descriptor where the system can (macOS cannot before 13)."""
    if os.mkfifo in os.supports_dir_fd:
        os.mkfifo(name, 0o600, dir_fd=directory_fd)
    else:  # pragma: no cover - macOS
        os.mkfifo(os.path.join(directory, name), 0o600)


def _shared_memory(size_bytes: int) -> mmap.mmap:
    return mmap.mmap(-1, size_bytes)


# The calls under those of `signal`, which make an enum member of each signal of the old mask: 64 of them whenever a
# mask is lifted, a fifth of the time that the supervisor of two nodes takes; and one of each handler that is asked for.
try:
    from _signal import getsignal as _getsignal  # type: ignore[import-not-found]
    from _signal import pthread_sigmask as _sigmask
except ImportError:  # pragma: no cover - another Python than CPython
    from signal import getsignal as _getsignal
    from signal import pthread_sigmask as _sigmask


def _handled_signals() -> list[int]:
    """The signals that do not have their default action, as far as Python knows."""
    return [number for number in range(1, signal.NSIG) if _getsignal(number) not in (signal.SIG_DFL, None)]


# Not in fcntl or os of every Python that we run on; the numbers are Linux's own.
SPLICE_F_NONBLOCK = 2
Mover = Callable[[int, int, int], int]


@cache
def _from_libc(name: str) -> Any:
    """A function of the C library that returns a count or -1; ENOSYS where there is none of that name.

    Imported late: ctypes takes some milliseconds, and most processes never duplicate in the kernel.
    """
    import ctypes

    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError) as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    function.restype = ctypes.c_ssize_t
    if name == "tee":
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
    else:
        offset = ctypes.POINTER(ctypes.c_int64)
        function.argtypes = [ctypes.c_int, offset, ctypes.c_int, offset, ctypes.c_size_t, ctypes.c_uint]
    return function


def _count(result: int) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _tee(source: int, target: int, count: int) -> int:
    """Duplicate up to `count` bytes from the head of one pipe into another, without waiting; 0 at the end of file."""
    return _count(_from_libc("tee")(source, target, count, SPLICE_F_NONBLOCK))


def _splice_by_libc(source: int, target: int, count: int, offset: Optional[int] = None) -> int:
    import ctypes

    place = None if offset is None else ctypes.byref(ctypes.c_int64(offset))
    return _count(_from_libc("splice")(source, None, target, place, count, SPLICE_F_NONBLOCK))


_os_splice: Any = getattr(os, "splice", None)  # since Python 3.10


def _splice(source: int, target: int, count: int, offset: Optional[int] = None) -> int:
    """Move up to `count` bytes out of a pipe, without waiting, into another or into a file at `offset`."""
    if _os_splice is None:
        return _splice_by_libc(source, target, count, offset)
    return int(_os_splice(source, target, count, None, offset, SPLICE_F_NONBLOCK))


def _no_core_file() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _lock_file(fd: int, operation: int) -> None:
    """The lock of the whole file, for this process: given back at its end, and by no fork inherited."""
    fcntl.lockf(fd, operation)


@dataclass
class Calls:
    """The table. Assign to a field to replace a call; `calls.table = Calls()` puts everything back."""

    pipe: Callable[[], tuple[int, int]] = os.pipe
    read: Callable[[int, int], bytes] = os.read
    readv: Callable[[int, Any], int] = os.readv
    write: Callable[[int, Any], int] = os.write
    pread: Callable[[int, int, int], bytes] = os.pread
    pwrite: Callable[[int, Any, int], int] = os.pwrite
    tee: Mover = _tee
    splice: Callable[..., int] = _splice
    ftruncate: Callable[[int, int], None] = os.ftruncate
    close: Callable[[int], None] = os.close
    dup2: Callable[..., int] = os.dup2
    fcntl: Callable[..., Any] = fcntl.fcntl
    lock_file: Callable[[int, int], None] = _lock_file
    set_blocking: Callable[[int, bool], None] = os.set_blocking
    open: Callable[..., int] = os.open
    stat: Callable[..., os.stat_result] = os.stat
    lstat: Callable[[str], os.stat_result] = os.lstat
    readlink: Callable[[str], str] = os.readlink
    access: Callable[..., bool] = os.access
    fchmod: Callable[[int, int], None] = os.fchmod
    fchown: Callable[[int, int, int], None] = os.fchown
    link: Callable[..., None] = os.link
    rename: Callable[..., None] = os.replace
    chdir: Callable[[str], None] = os.chdir
    execvpe: Callable[..., Any] = os.execvpe
    closerange: Callable[[int, int], None] = os.closerange
    set_inheritable: Callable[[int, bool], None] = os.set_inheritable
    unlink: Callable[..., None] = os.unlink
    mkfifo: Callable[[str, int, str], None] = _mkfifo
    mkdir: Callable[[str, int], None] = os.mkdir
    mkdtemp: Callable[..., str] = _mkdtemp
    rmdir: Callable[..., None] = os.rmdir
    tcgetpgrp: Callable[[int], int] = os.tcgetpgrp
    isatty: Callable[[int], bool] = os.isatty
    fstat: Callable[[int], os.stat_result] = os.fstat
    fstatvfs: Callable[[int], os.statvfs_result] = os.fstatvfs
    listdir: Callable[[str], list[str]] = os.listdir
    temporary_file: Callable[..., int] = _temporary_file
    shared_memory: Callable[[int], mmap.mmap] = _shared_memory
    poll: Callable[[], Poll] = Poll
    fork: Callable[[], int] = _fork
    exit: Callable[[int], Any] = os._exit
    waitpid: Callable[[int, int], tuple[int, int]] = os.waitpid
    wait4: Callable[[int, int], tuple[int, int, Any]] = os.wait4
    exit_queue: Callable[[int], Any] = _exit_queue
    has_exited: Callable[[int], bool] = _has_exited
    pidfd_open: Callable[[int], int] = _pidfd_open
    kill: Callable[[int, int], None] = os.kill
    killpg: Callable[[int, int], None] = os.killpg
    group_lives: Callable[[int], bool] = _group_lives
    setpgid: Callable[[int, int], None] = os.setpgid
    getpgid: Callable[[int], int] = os.getpgid
    geteuid: Callable[[], int] = os.geteuid
    getpid: Callable[[], int] = os.getpid
    set_handler: Callable[..., Any] = signal.signal
    get_handler: Callable[..., Any] = signal.getsignal
    handled_signals: Callable[[], list[int]] = _handled_signals
    raise_signal: Callable[[int], None] = signal.raise_signal
    set_wakeup_fd: Callable[..., int] = signal.set_wakeup_fd
    sigmask: Callable[..., Any] = _sigmask
    getrlimit: Callable[[int], tuple[int, int]] = resource.getrlimit
    set_core_limit: Callable[[], None] = _no_core_file
    urandom: Callable[[int], bytes] = os.urandom
    monotonic: Callable[[], float] = time.monotonic
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], None] = time.sleep
    sched_yield: Callable[[], None] = getattr(os, "sched_yield", lambda: None)


table = Calls()


def portable() -> bool:
    """True when only the portable path may be used: not Linux, or TEASTREAMS_PORTABLE=1."""
    return sys.platform != "linux" or os.environ.get(PORTABLE) == "1"


def forced_pipe_bytes() -> Optional[int]:
    """The size that TEASTREAMS_PIPE_SIZE forces on every pipe of a channel, for tests; None when unset."""
    text = os.environ.get(PIPE_SIZE, "")
    return int(text) if text.isdigit() else None
