"""Files that others could have planted or could change, with another user of the machine where that can be tried."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

import teastreams as ts
from teastreams.checkpoint import Checkpoint, CheckpointError, SqliteCheckpointer
from teastreams.services.memory import Memory, MemoryFileError

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user as well")
RECORD = Checkpoint("run", 1, "a", "after", "hash", {"x": 1})


def owned_by_nobody(path: Path) -> None:
    SqliteCheckpointer(path).save(RECORD)
    os.chown(path, NOBODY, NOBODY)


def log_of_nobody(path: Path) -> None:
    SqliteCheckpointer(path).save(RECORD)
    planted = Path(f"{path}-wal")
    planted.write_bytes(b"planted")
    os.chown(planted, NOBODY, NOBODY)


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: reading it has no end


@as_root
@pytest.mark.parametrize(
    ("plant", "reason"),
    [(owned_by_nobody, "belongs to user 65534"), (log_of_nobody, "-wal is not safe"), (device, "not a regular file")],
)
def test_what_another_user_planted_is_no_checkpoint_and_no_memory(
    plant: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.db"
    try:
        plant(path)
    except PermissionError:
        pytest.skip("a container without the right to make devices or to give files away")
    keeper = SqliteCheckpointer(path)
    for use in (keeper.load, keeper.list, keeper.history, lambda: keeper.save(RECORD)):
        with pytest.raises(CheckpointError, match=reason):
            use()
    with pytest.raises(MemoryFileError, match=reason):
        Memory(path).store("k", 1)


@as_root
def test_another_user_can_neither_read_nor_change_what_a_run_keeps(tmp_path: Path) -> None:
    """Under a umask that forbids nothing, in a folder that everybody may enter."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    old = os.umask(0)
    try:
        SqliteCheckpointer(tmp_path / "run.db").save(RECORD)
        Memory(tmp_path / "memory.db").store("k", 1)
        with ts.TeeOrchestrator(work_dir=str(tmp_path)) as tee:
            fifo = tee.create_broadcast("lines", 2)[0]
            paths = [str(tmp_path / "run.db"), str(tmp_path / "memory.db"), str(fifo), str(tee.directory)]
            program = (
                f"import os, sys; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
                "for path in sys.argv[1:]:\n"
                "  for flags in (os.O_RDONLY | os.O_NONBLOCK, os.O_RDWR | os.O_NONBLOCK):\n"
                "    try: os.open(path, flags); print('opened', path)\n"
                "    except PermissionError: pass\n"
                "    except IsADirectoryError: pass\n"
            )
            done = subprocess.run(
                [sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=60, check=False
            )
    finally:
        os.umask(old)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_checkpoint_and_a_memory_have_mode_0600_under_every_umask(umask: int, tmp_path: Path) -> None:
    old = os.umask(umask)
    try:
        for path, use in (("run.db", SqliteCheckpointer), ("memory.db", Memory)):
            keeper = use(tmp_path / path)
            if umask == 0 or os.geteuid() == 0:  # without any right only root comes in again
                keeper.save(RECORD) if isinstance(keeper, SqliteCheckpointer) else keeper.store("k", 1)
                assert stat.S_IMODE((tmp_path / path).stat().st_mode) & 0o177 == 0
    finally:
        os.umask(old)


def test_a_fifo_in_place_of_a_memory_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "memory.db", 0o600)
    with pytest.raises(MemoryFileError, match="not a regular file"):
        Memory(tmp_path / "memory.db").retrieve("k")
