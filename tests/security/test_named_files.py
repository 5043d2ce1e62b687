"""Files that the command line is told to write, `--output`, `--events`, `--svg`: in a folder like /tmp, with others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from teastreams.cli import outlet

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp: everybody may put something there, and nobody may take what is another's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    path.chmod(0o600)
    return path


def result(path: Path) -> None:
    outlet.write_result("{}", str(path), sys.stdout)


def events(path: Path) -> None:
    outlet.EventLog(str(path), sys.stdout).close()


def planted_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def planted_folder(path: Path, victim: Path) -> None:
    (path.parent / "folder").symlink_to(victim.parent)
    os.chown(path.parent / "folder", NOBODY, NOBODY, follow_symlinks=False)


def planted_file(path: Path, victim: Path) -> None:
    path.write_text("trap")
    path.chmod(0o666)
    os.chown(path, NOBODY, NOBODY)


def planted_fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path, 0o666)
    os.chown(path, NOBODY, NOBODY)


@as_root
@pytest.mark.parametrize("plant", [planted_link, planted_folder, planted_file, planted_fifo])
def test_what_another_user_planted_is_refused_before_the_run(
    plant: Callable[[Path, Path], None], shared: Path, victim: Path
) -> None:
    """The run would be lost otherwise, with its result."""
    path = shared / "out"
    plant(path, victim)
    if plant is planted_folder:
        path = shared / "folder" / "victim"
    reason = outlet.refused_path(str(path))
    assert "another user has put" in reason or "belongs to user 65534" in reason
    assert victim.read_text() == "precious"


@as_root
@pytest.mark.parametrize("write", [result, events])
def test_nor_is_its_link_followed_when_it_came_later(write: Callable[[Path], None], shared: Path, victim: Path) -> None:
    """Linux refuses to follow it where `protected_symlinks` is on; a link that was resolved before, it never sees."""
    planted_link(shared / "out", victim)
    with pytest.raises(outlet.CannotWrite, match="a link that another user has put"):
        write(shared / "out")
    assert victim.read_text() == "precious"


@as_root
@pytest.mark.parametrize("plant", [planted_file, planted_fifo])
def test_a_log_is_not_written_into_what_came_later(
    plant: Callable[[Path, Path], None], shared: Path, victim: Path
) -> None:
    path = shared / "out"
    plant(path, victim)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # it waits for what we would write
    try:
        with pytest.raises(outlet.CannotWrite, match="belongs to user 65534"):
            events(path)
        assert os.read(reader, 10) in (b"trap", b"")
    finally:
        os.close(reader)


def test_a_second_name_in_a_folder_of_all_is_not_cut(shared: Path, victim: Path) -> None:
    os.link(victim, shared / "out")
    assert "2 names" in outlet.refused_path(str(shared / "out"))
    with pytest.raises(outlet.CannotWrite, match="2 names"):
        events(shared / "out")
    assert victim.read_text() == "precious"


def test_a_link_that_comes_between_the_look_and_the_opening_is_not_followed(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "out", os.open

    def exchanged(name: Any, *arguments: Any, **named: Any) -> int:
        if name == str(path):
            path.symlink_to(victim)
        return real(name, *arguments, **named)

    monkeypatch.setattr(os, "open", exchanged)
    with pytest.raises(outlet.CannotWrite, match="symbolic link"):
        events(path)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("write", [result, events])
def test_ways_of_our_own_stay_open(write: Callable[[Path], None], shared: Path, victim: Path) -> None:
    """A link of ours, a device, an open pipe by its number, a file that is cut."""
    (shared / "link").symlink_to(victim)
    reader, writer = os.pipe()
    for path in (shared / "link", Path("/dev/null"), Path(f"/dev/fd/{writer}")):
        assert outlet.refused_path(str(path)) == ""
        write(path)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == (b"{}\n" if write is result else b"")
    assert victim.read_text() == ("{}\n" if write is result else "")
    assert (shared / "link").is_symlink()


@pytest.mark.parametrize(("path", "reason"), [("a\0b", "null"), ("loop", "its links have no end")])
def test_a_path_that_is_none_is_said_so(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert reason in outlet.refused_path(path)
