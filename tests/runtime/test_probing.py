"""What `doctor` finds out, on machines of our own making; on this one, only what is true of every machine."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from teastreams.core.machine.facts import Files, Pipes, Processes
from teastreams.runtime import calls, preflight, probing
from teastreams.runtime.fds import LOWEST, ledger, open_numbers


class System:
    """A kernel whose answers a test chooses; pipes and files are real."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.limits: dict[int, tuple[int, int]] = {}
        self.refused: dict[str, int] = {}
        self.sizes = {calls.F_SETPIPE_SZ: 1 << 20, calls.F_GETPIPE_SZ: 65536}
        self.grown: Optional[int] = 1 << 20
        self.collected: list[int] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = calls.table
        fake: dict[str, Any] = {
            "fork": lambda: self.answer("fork", 4711),
            "waitpid": lambda pid, _flags: self.collected.append(pid) or (pid, 0),
            "open": self.open,
            "getrlimit": lambda which: self.limits.get(which, (1024, 4096)),
            "geteuid": lambda: 1000,
            "fcntl": self.fcntl,
            "pidfd_open": lambda _pid: self.answer("pidfd_open", None) or os.open(os.devnull, os.O_RDONLY),
            "pwrite": lambda *_given: self.answer("pwrite", 1),
            "fstatvfs": lambda _fd: SimpleNamespace(f_bavail=5, f_frsize=4096),
        }
        self.real = real
        monkeypatch.setattr(calls, "table", calls.Calls(**fake))
        monkeypatch.setattr(calls, "portable", lambda: False)

    def answer(self, call: str, value: Any) -> Any:
        if call in self.refused:
            raise OSError(self.refused[call], os.strerror(self.refused[call]))
        return value

    def open(self, path: str, _flags: int) -> int:
        if path not in self.texts:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        reader, writer = os.pipe()
        os.write(writer, self.texts[path].encode())
        os.close(writer)
        return reader

    def fcntl(self, fd: int, command: int, value: int = 0) -> int:
        if command == calls.F_SETPIPE_SZ:
            self.sizes[calls.F_GETPIPE_SZ] = self.grown or self.sizes[calls.F_GETPIPE_SZ]
            return self.answer("F_SETPIPE_SZ", 0)
        if command == calls.F_GETPIPE_SZ:
            return self.sizes[command]
        if command == 10:  # F_SETSIG, Linux only
            return self.answer("F_SETSIG", 0)
        return self.real.fcntl(fd, command, value)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System()
    made.install(monkeypatch)
    monkeypatch.setattr(probing.fcntl, "F_SETSIG", 10, raising=False)
    return made


def test_nothing_is_left_behind(system: System) -> None:
    """Every descriptor is closed again, the child's status is collected."""
    before = sorted(open_numbers()), len(ledger.open)
    machine = probing.probed()
    assert (sorted(open_numbers()), len(ledger.open)) == before
    assert system.collected == [4711]
    assert (machine.fork_refused, machine.lifeline_refused, machine.exits) == ("", "", "pidfd")


def test_no_refusal_raises(system: System) -> None:
    """Each is told in the system's own words."""
    system.refused = dict.fromkeys(("fork", "F_SETSIG", "pidfd_open", "pwrite"), errno.EAGAIN)
    machine = probing.probed()
    words = os.strerror(errno.EAGAIN)
    assert (machine.fork_refused, machine.lifeline_refused, machine.spill.refused) == (words, words, words)
    assert machine.exits == "looking"


def test_a_pipe_is_made_and_grown(system: System) -> None:
    """As far as this user may now, and not beyond what a run would wish for."""
    system.texts = {"/proc/sys/fs/pipe-max-size": "4194304\n", "/proc/sys/fs/pipe-user-pages-soft": "16384\n"}
    assert probing.probed().pipes == Pipes(65536, 1 << 20, preflight.LARGEST_PIPE_BYTES, 64 << 20)
    system.sizes[calls.F_GETPIPE_SZ], system.grown = 4096, None
    assert probing.probed().pipes == Pipes(4096, 4096, preflight.LARGEST_PIPE_BYTES, 64 << 20)


def test_room_for_nodes_is_counted_as_a_run_counts_it(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open already, and what is kept in reserve, is no room."""
    monkeypatch.setattr(preflight, "open_descriptors", lambda: 8)
    system.limits[resource.RLIMIT_NOFILE] = (1024, 4096)
    room = 1024 - LOWEST - 8 - preflight.SPARE_DESCRIPTORS
    assert probing.probed().files == Files(1024, 4096, room // 10)
    system.limits[resource.RLIMIT_NOFILE] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert probing.probed().files == Files(None, None, None)


GROUPS = [
    ({"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/pids.max": "50\n"}, "/sys/fs/cgroup/a/b", 43),
    ({"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/pids.max": "max\n"}, "/sys/fs/cgroup/a/b", None),
    ({"/proc/self/cgroup": "8:pids:/a\n0::/\n", "/sys/fs/cgroup/pids/a/pids.max": "9"}, "/sys/fs/cgroup/pids/a", 2),
    ({"/proc/self/cgroup": "0::/elsewhere\n", "/sys/fs/cgroup/pids.max": "50"}, "/sys/fs/cgroup", 43),
    ({}, "/nowhere", None),
]


@pytest.mark.parametrize(("texts", "folder", "left"), GROUPS)
def test_the_control_group_is_found(system: System, texts: dict[str, str], folder: str, left: Optional[int]) -> None:
    """In both versions, and where a container sees only its own part."""
    system.texts = {**texts, f"{folder}/pids.current": "7\n"}
    system.limits[resource.RLIMIT_NPROC] = (100, resource.RLIM_INFINITY)
    assert probing.probed().processes == Processes(100, left)


def test_root_has_no_limit_of_processes(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does not ask."""
    monkeypatch.setattr(calls.table, "geteuid", lambda: 0)
    assert probing.probed().processes == Processes(None, None)


def test_the_spill_directory_is_that_of_temporary_files(
    system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the room that an ordinary user has; the longest mount point says whether it is in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    disk = "/dev/a / ext4 rw 0 0\n"
    for mounts, in_memory in (
        (disk, False),
        (f"{disk}t {tmp_path} tmpfs rw 0 0\n", True),
        (f"{disk}t {tmp_path.parent} tmpfs rw 0 0\n", True),
        (f"{disk}t {tmp_path}2 tmpfs rw 0 0\n", False),
    ):
        system.texts["/proc/self/mounts"] = mounts
        spill = probing.probed().spill
        assert (spill.directory, spill.refused, spill.free_bytes) == (str(tmp_path), "", 5 * 4096)
        assert spill.in_memory is in_memory


def test_a_directory_that_is_not_there_is_told(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not raised."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    assert probing.probed().spill.refused == os.strerror(errno.ENOENT)


def test_the_portable_path_is_reported_as_it_would_run(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that only Linux has is tried."""
    monkeypatch.setattr(calls, "portable", lambda: True)
    monkeypatch.setattr(probing.sys, "platform", "linux")
    machine = probing.probed()
    assert (machine.portable, machine.exits, machine.pipes) == (True, "looking", Pipes(0, 0, None, 0))


def test_only_our_variables_are_listed(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their names."""
    for name in [name for name in os.environ if name.startswith("TEASTREAMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEASTREAMS_PORTABLE", "0")
    monkeypatch.setenv("TEASTREAMS_A", "x")
    assert list(probing.probed().variables.items()) == [("TEASTREAMS_A", "***"), ("TEASTREAMS_PORTABLE", "0")]
