"""What this machine allows, found by trying what a run would do: for `doctor`.

A child is started and ended, a pipe made and grown, a file put where streams spill to. Nothing is left behind, and no
try raises: what the system refused is told in its own words. Whether that is good is judged in `core/machine`.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import tempfile
from contextlib import suppress
from typing import Iterator, Optional

from teastreams.core.machine.facts import Files, Machine, Pipes, Processes, Spill
from teastreams.core.machine.findings import KNOWN_VARIABLES
from teastreams.core.security.redaction import MASK
from teastreams.runtime import calls, preflight
from teastreams.runtime.fds import LOWEST, Fd, adopt, make_pipe, resize
from teastreams.runtime.masking import signals_blocked

PREFIX = "TEASTREAMS_"
PIPE_MAX = "/proc/sys/fs/pipe-max-size"
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}
DESCRIPTORS_PER_NODE = preflight.NODE_DESCRIPTORS + 2 * 2
"""A node with one input or output of its own, and the pipe between it and a fan-out worker."""


def probed() -> Machine:
    """This machine, here and now."""
    return Machine(
        platform=sys.platform,
        python=".".join(map(str, sys.version_info[:3])),
        fork_refused=_fork_refused(),
        pipes=_pipes(),
        files=_files(),
        processes=_processes(),
        spill=_spill(),
        exits=_exits(),
        lifeline_refused=_lifeline_refused(),
        splice=hasattr(os, "splice"),
        portable=calls.portable(),
        variables=_variables(),
    )


def _variables() -> dict[str, str]:
    """Values of names that we do not know are not shown: a secret may have our prefix, and reports are passed on."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIX)}
    return {name: value if name in KNOWN_VARIABLES else MASK for name, value in found.items()}


def _fork_refused() -> str:
    with signals_blocked():
        try:
            pid = calls.table.fork()
        except OSError as error:
            return _words(error)
        if pid == 0:
            calls.table.exit(0)
        with suppress(ChildProcessError):  # a host that ignores SIGCHLD has no status to collect
            calls.table.waitpid(pid, 0)
    return ""


def _pipes() -> Pipes:
    if calls.portable():
        return Pipes(0, 0, None, 0)
    new = grown = 0
    with suppress(OSError):
        reader, writer = make_pipe("a try")
        try:
            new = int(calls.table.fcntl(writer.number, calls.F_GETPIPE_SZ))
            grown = resize(writer, preflight.LARGEST_PIPE_BYTES)
        finally:
            reader.close()
            writer.close()
    largest = _number(_text(PIPE_MAX))
    wished = None if largest is None else min(largest, preflight.LARGEST_PIPE_BYTES)
    return Pipes(new, grown, wished, preflight.pipe_quota_bytes())


def _files() -> Files:
    soft, hard = map(_limit, calls.table.getrlimit(resource.RLIMIT_NOFILE))
    if soft is None:
        return Files(None, hard, None)
    room = soft - LOWEST - preflight.open_descriptors() - preflight.SPARE_DESCRIPTORS
    return Files(soft, hard, room // DESCRIPTORS_PER_NODE)


def _processes() -> Processes:
    soft, _hard = map(_limit, calls.table.getrlimit(resource.RLIMIT_NPROC))
    return Processes(None if calls.table.geteuid() == 0 else soft, _group_left())


def _group_left() -> Optional[int]:
    """How many more processes the control group allows; None where it does not limit them."""
    for folder in _group_folders(_text("/proc/self/cgroup")):
        most, now = (_number(_text(f"{folder}/pids.{name}")) for name in ("max", "current"))
        if most is not None and now is not None:
            return most - now
    return None


def _group_folders(memberships: str) -> Iterator[str]:
    """Where the limit may stand: version 2 of control groups, version 1, and what a container sees of either."""
    for line in memberships.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            yield f"/sys/fs/cgroup{path.rstrip('/')}"
        elif "pids" in controllers.split(","):
            yield f"/sys/fs/cgroup/pids{path.rstrip('/')}"
    yield from ("/sys/fs/cgroup", "/sys/fs/cgroup/pids")


def _spill() -> Spill:
    """One byte is written, as a full disk may still take files."""
    directory = os.environ.get("TMPDIR", "the temporary directory")
    try:
        directory = tempfile.gettempdir()
        file = Fd(calls.table.temporary_file(directory), "a try")
    except OSError as error:
        return Spill(directory, _words(error), 0)
    try:
        calls.table.pwrite(file.number, b"\0", 0)
        room = calls.table.fstatvfs(file.number)
    except OSError as error:
        return Spill(directory, _words(error), 0)
    finally:
        file.close()
    return Spill(directory, "", room.f_bavail * room.f_frsize, _in_memory(os.path.realpath(directory)))


def _in_memory(directory: str) -> bool:
    """Is the file system below it, the one with the longest mount point, one that lies in memory?"""
    best, kind = "", ""
    for line in _text("/proc/self/mounts").splitlines():
        point, name = [*line.split(" "), "", "", ""][1:3]
        if len(point) >= len(best) and f"{directory}/".startswith(f"{point.rstrip('/')}/"):
            best, kind = point, name
    return kind in MEMORY_FILE_SYSTEMS


def _exits() -> str:
    if sys.platform == "darwin":  # pragma: no cover - macOS
        return "kqueue"
    if not calls.portable():
        with suppress(OSError):
            adopt(calls.table.pidfd_open(calls.table.getpid()), "a try").close()
            return "pidfd"
    return "looking"


def _lifeline_refused() -> str:
    """The one call of `lifeline.arm` that only Linux has. Without an owner the descriptor signals nobody."""
    if calls.portable():
        return ""
    try:
        reader, writer = make_pipe("a try")
    except OSError as error:
        return _words(error)
    try:
        calls.table.fcntl(reader.number, fcntl.F_SETSIG, signal.SIGKILL)
    except OSError as error:
        return _words(error)
    finally:
        reader.close()
        writer.close()
    return ""


def _limit(number: int) -> Optional[int]:
    return None if number == resource.RLIM_INFINITY else number


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _number(text: str) -> Optional[int]:
    return int(text) if text.strip().isdigit() else None


def _text(path: str) -> str:
    """The beginning of a small file of the kernel's; "" where there is none."""
    with suppress(OSError):
        file = adopt(calls.table.open(path, os.O_RDONLY), path)
        try:
            return calls.table.read(file.number, 65536).decode("utf-8", "replace")
        finally:
            file.close()
    return ""
