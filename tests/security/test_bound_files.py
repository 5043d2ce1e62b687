"""Files that a stream is bound to: planted by another user, or exchanged between two of our calls.

Another user's files are made by root and given away; an exchange happens inside a call of the table, so that it comes
at the same moment every time. On both paths, the fast and the portable one.
"""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import pytest

from teastreams.core.graph import Binding, NodeStreamsConfig, StreamSettings
from teastreams.core.plan import plan_section
from teastreams.errors import NodeError
from teastreams.runtime import calls
from teastreams.runtime.bound import BoundEnds

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")
WAYS = {"whole": {}, "append": {"append": True}, "partial": {"keep_partial": True}}
IN_PLACE = ("append", "partial")


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[calls.Calls]:
    """A table of this test's own; nothing may stay open."""
    before = set(os.listdir("/dev/fd"))
    table = calls.Calls()
    monkeypatch.setattr(calls, "table", table)
    yield table
    assert set(os.listdir("/dev/fd")) == before


@pytest.fixture(params=["fast", "portable"], autouse=True)
def way_of_the_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(calls.PORTABLE, "1" if request.param == "portable" else "")
    return str(request.param)


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
    path.write_bytes(b"precious")
    path.chmod(0o600)
    return path


def ends(stream: str, path: Path, way: str = "whole") -> BoundEnds:
    """The end of one node `a` at this file."""
    binding = Binding(str(path), **WAYS[way])  # type: ignore[arg-type]
    return BoundEnds(plan_section([("a", NodeStreamsConfig(bindings={stream: binding}))], StreamSettings()), {})


def write(path: Path, way: str = "whole", meanwhile: Callable[[], Any] = lambda: None, well: bool = True) -> None:
    """A section writes `new` there; `meanwhile` something happens to its folder."""
    outside = ends("stdout", path, way)
    (end,) = outside.open().values()
    os.write(end.number, b"new")
    meanwhile()
    outside.settle(well=well)


def read(path: Path) -> bytes:
    outside = ends("stdin", path)
    (end,) = outside.open().values()
    try:
        return os.read(end.number, 100)
    finally:
        outside.settle(well=True)


def refused(reason: str, act: Callable[[], Any]) -> None:
    """An error of the node before anything was opened: whom, what, and what to do."""
    with pytest.raises(NodeError) as caught:
        act()
    text = str(caught.value)
    assert caught.value.phase == "start"
    assert "node 'a' failed" in text
    assert reason in text
    assert text.endswith("; name another file")


def before(table: calls.Calls, call: str, act: Callable[[], Any], when: Callable[..., bool] = lambda *_: True) -> None:
    """Let `act` happen once, right before a call of the table: what a quicker process of another user would do."""
    real = getattr(table, call)
    done = []

    def hooked(*arguments: Any, **named: Any) -> Any:
        if not done and when(*arguments):
            done.append(True)
            act()
        return real(*arguments, **named)

    setattr(table, call, hooked)


def named(name: str) -> Callable[..., bool]:
    return lambda path, *_: os.path.basename(path) == name


@pytest.fixture
def deadline() -> Iterator[None]:
    """What waits for the other side of a FIFO would wait for ever."""

    def rings(*_arguments: Any) -> None:
        raise AssertionError("it waits")

    old = signal.signal(signal.SIGALRM, rings)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


# --- links ----------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("way", WAYS)
def test_a_link_that_another_user_planted_is_not_followed(way: str, shared: Path, victim: Path) -> None:
    """Linux can refuse it itself (`protected_symlinks`), but only where that is on, and only what it follows itself."""
    link = shared / "out"
    link.symlink_to(victim)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)

    refused("a link that another user has put", lambda: write(link, way))
    refused("a link that another user has put", lambda: read(link))
    assert victim.read_bytes() == b"precious"


@as_root
def test_nor_is_one_on_the_way_to_the_folder(shared: Path, victim: Path) -> None:
    (shared / "folder").symlink_to(victim.parent)
    os.chown(shared / "folder", NOBODY, NOBODY, follow_symlinks=False)

    refused("a link that another user has put", lambda: write(shared / "folder" / "victim"))
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("way", WAYS)
def test_a_link_of_our_own_is_followed_and_stays(way: str, shared: Path, victim: Path) -> None:
    (shared / "out").symlink_to(victim)
    write(shared / "out", way)

    assert (shared / "out").is_symlink()
    assert victim.read_bytes() == (b"preciousnew" if way == "append" else b"new")


@pytest.mark.parametrize("way", WAYS)
def test_links_in_a_circle_are_an_error(way: str, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    refused("its links have no end", lambda: write(tmp_path / "a", way))


# --- files of others ----------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("way", WAYS)
def test_a_file_of_another_user_in_a_folder_of_all_is_not_written(way: str, shared: Path) -> None:
    """Whoever made it waits to read what we write: with mode 0666 the new file would be open to all as well."""
    trap = shared / "out"
    trap.write_bytes(b"trap")
    trap.chmod(0o666)
    os.chown(trap, NOBODY, NOBODY)

    refused("it belongs to user 65534", lambda: write(trap, way))
    assert trap.read_bytes() == b"trap"
    assert read(trap) == b"trap"  # to read it is harmless


@pytest.mark.parametrize("way", IN_PLACE)
def test_a_second_name_in_a_folder_of_all_is_not_written(way: str, shared: Path, victim: Path) -> None:
    os.link(victim, shared / "out")
    refused("it has 2 names (hard links)", lambda: write(shared / "out", way))
    assert victim.read_bytes() == b"precious"


def test_a_whole_file_leaves_the_other_names_of_the_old_one_alone(shared: Path, victim: Path) -> None:
    os.link(victim, shared / "out")
    write(shared / "out")
    assert (victim.read_bytes(), (shared / "out").read_bytes()) == (b"precious", b"new")


# --- exchanged between two calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_link_that_comes_after_the_look_is_not_followed(
    way: str, table: calls.Calls, tmp_path: Path, victim: Path
) -> None:
    out = tmp_path / "out"
    before(table, "open", lambda: out.symlink_to(victim), lambda path, flags, *_: flags & os.O_WRONLY)
    if way in IN_PLACE:
        refused("symbolic link", lambda: write(out, way))
    else:
        write(out, way)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
@pytest.mark.usefixtures("deadline")
def test_a_fifo_that_comes_after_the_look_is_not_waited_for(stream: str, table: calls.Calls, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"old")

    def exchange() -> None:
        path.unlink()
        os.mkfifo(path)

    before(table, "open", exchange, named("data"))
    reason = "it is a FIFO" if stream == "stdin" else "No such device or address"
    refused(reason, lambda: read(path) if stream == "stdin" else write(path, "partial"))


def test_a_fifo_with_a_reader_is_not_written_either(table: calls.Calls, tmp_path: Path) -> None:
    path = tmp_path / "data"
    held: list[int] = []

    def exchange() -> None:
        os.mkfifo(path)
        held.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))

    before(table, "open", exchange, named("data"))
    try:
        refused("it is a FIFO", lambda: write(path, "append"))
        assert os.read(held[0], 10) == b""
    finally:
        os.close(held[0])


def test_a_device_that_comes_after_the_look_is_not_written(table: calls.Calls, tmp_path: Path) -> None:
    path = tmp_path / "data"

    def exchange() -> None:
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("needs the right to make devices")

    before(table, "open", exchange, named("data"))
    refused("it was exchanged while it was opened", lambda: write(path, "append"))


@as_root
def test_a_file_that_is_exchanged_for_another_users_is_not_cut(table: calls.Calls, shared: Path) -> None:
    """It is looked at again when it is open, and only then cut."""
    trap = shared / "out"

    def exchange() -> None:
        trap.write_bytes(b"trap")
        os.chown(trap, NOBODY, NOBODY)

    before(table, "open", exchange, named("out"))
    refused("it belongs to user 65534", lambda: write(trap, "partial"))
    assert trap.read_bytes() == b"trap"


@pytest.mark.parametrize("well", [True, False])
def test_a_file_stays_in_the_folder_in_which_it_began(well: bool, tmp_path: Path) -> None:
    """Its folder was moved away, and another one, or a link to one, stands in its place when the section ends."""
    (tmp_path / "work").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "out").write_bytes(b"somebody else's")

    def exchange() -> None:
        (tmp_path / "work").rename(tmp_path / "moved")
        (tmp_path / "work").symlink_to(tmp_path / "other")

    write(tmp_path / "work" / "out", meanwhile=exchange, well=well)

    assert (tmp_path / "other" / "out").read_bytes() == b"somebody else's"
    assert [path.name for path in (tmp_path / "moved").iterdir()] == (["out"] if well else [])


def test_a_folder_that_is_exchanged_before_it_is_open_is_the_one_that_was_meant_or_none(
    table: calls.Calls, tmp_path: Path
) -> None:
    """After the look for links the folder is opened once, and everything is done in what was opened."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "out").write_bytes(b"old")
    (tmp_path / "other").mkdir()

    def exchange() -> None:
        (tmp_path / "work").rename(tmp_path / "moved")
        (tmp_path / "other").rename(tmp_path / "work")

    before(table, "stat", exchange)
    write(tmp_path / "work" / "out")
    assert (tmp_path / "moved" / "out").read_bytes() == b"new"
    assert list((tmp_path / "work").iterdir()) == []


# --- modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
@pytest.mark.parametrize("way", WAYS)
def test_a_new_file_has_the_mode_that_a_shell_would_give_it(umask: int, way: str, tmp_path: Path) -> None:
    old = os.umask(umask)
    try:
        write(tmp_path / "out", way)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711])
def test_what_a_stream_wrote_never_runs_with_the_rights_of_its_owner(mode: int, tmp_path: Path) -> None:
    """The kernel takes these bits away when somebody writes, but not from root, and not from a new file."""
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(mode)
    write(tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == mode & 0o777


def test_a_private_file_is_private_while_it_is_written(table: calls.Calls, tmp_path: Path) -> None:
    """Under a umask that forbids nothing: who opened it before it had its mode would read all that comes."""
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o600)
    seen: list[int] = []
    real = table.open

    def opened(*arguments: Any, **named: Any) -> int:
        number = real(*arguments, **named)
        if stat.S_ISREG(os.fstat(number).st_mode):
            seen.append(stat.S_IMODE(os.fstat(number).st_mode))
        return number

    table.open = opened
    old = os.umask(0)
    try:
        write(tmp_path / "out")
    finally:
        os.umask(old)
    assert seen == [0o600]


def group_of_the_new(old: Path, change: Optional[Callable[..., None]], table: calls.Calls) -> tuple[int, int]:
    old.write_bytes(b"old")
    os.chown(old, -1, NOBODY)
    old.chmod(0o664)
    if change is not None:
        table.fchown = change
    write(old)
    return old.stat().st_gid, stat.S_IMODE(old.stat().st_mode)


@as_root
def test_what_a_mode_gives_to_a_group_it_gives_to_the_group_of_the_old_file(table: calls.Calls, tmp_path: Path) -> None:
    """Where that group cannot be kept, ours has not been meant: it gets what everybody gets."""

    def fails(*_arguments: int) -> None:
        raise PermissionError(1, "no")

    assert group_of_the_new(tmp_path / "one", None, table) == (NOBODY, 0o664)
    assert group_of_the_new(tmp_path / "two", fails, table) == (os.getegid(), 0o644)
