"""core/security/trust.py: which links are followed and which files are written, decided from made-up folders."""

from __future__ import annotations

import errno
import stat
from types import SimpleNamespace
from typing import Any

import pytest

from teastreams.core.security.trust import MOST_LINKS, planted, unsafe_to_write, without_links

ME, ROOT, STRANGER = 1000, 0, 2000
FILE, LINK, FOLDER = stat.S_IFREG | 0o600, stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755
OPEN_TO_ALL, STICKY = stat.S_IFDIR | 0o777, stat.S_IFDIR | 0o1777


def status(mode: int, uid: int = ROOT, links: int = 1) -> Any:
    return SimpleNamespace(st_mode=mode, st_uid=uid, st_nlink=links)


@pytest.mark.parametrize(
    ("owner", "folder", "wanted"),
    [
        (STRANGER, status(STICKY), True),
        (ME, status(STICKY), False),
        (ROOT, status(STICKY), False),
        (STRANGER, status(STICKY, STRANGER), False),
        (STRANGER, status(FOLDER), False),
        (STRANGER, status(FOLDER | stat.S_ISVTX), False),
        (STRANGER, status(OPEN_TO_ALL), False),
    ],
)
def test_a_stranger_plants_where_everybody_may_write_and_the_sticky_bit_is_set(
    owner: int, folder: Any, wanted: bool
) -> None:
    """What the owner of the folder has put there is no worse than the folder."""
    assert planted(status(FILE, owner), folder, ME) is wanted


def test_a_file_with_two_names_is_not_written_in_a_folder_of_all() -> None:
    assert unsafe_to_write(status(FILE, ME, 2), status(STICKY), ME).startswith("it has 2 names")
    assert unsafe_to_write(status(FILE, ME, 2), status(FOLDER), ME) == ""
    assert unsafe_to_write(status(FILE, ME, 1), status(STICKY), ME) == ""
    assert unsafe_to_write(status(FOLDER, ME, 3), status(STICKY), ME) == ""
    assert unsafe_to_write(status(FILE, STRANGER, 1), status(STICKY), ME).startswith("it belongs to user 2000")


# --- paths -----------------------------------------------------------------------------------------------------------

DISK: dict[str, Any] = {
    "/": status(FOLDER),
    "/home": status(FOLDER),
    "/home/me": status(FOLDER, ME),
    "/home/me/to-tmp": status(LINK, ME),
    "/home/me/up": status(LINK, ME),
    "/home/me/circle": status(LINK, ME),
    "/tmp": status(STICKY),
    "/tmp/mine": status(LINK, ME),
    "/tmp/theirs": status(LINK, STRANGER),
    "/tmp/folder": status(FOLDER, STRANGER),
    "/tmp/folder/link": status(LINK, STRANGER),
}
LINKS = {
    "/home/me/to-tmp": "/tmp/x",
    "/home/me/up": "../me/./file",
    "/home/me/circle": "circle",
    "/tmp/mine": "/home/me/file",
    "/tmp/theirs": "/home/me/file",
    "/tmp/folder/link": "/home/me/file",
}


def lstat(path: str) -> Any:
    if path not in DISK:
        raise FileNotFoundError(errno.ENOENT, "no", path)
    return DISK[path]


def leads_to(path: str) -> str:
    return without_links(path, lstat, LINKS.__getitem__, ME, "/home/me")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/", "/"),
        ("", "/home/me"),
        (".", "/home/me"),
        ("..", "/home"),
        ("../../../..", "/"),
        ("file", "/home/me/file"),
        ("a//b/", "/home/me/a/b"),
        ("//home/me", "/home/me"),
        ("to-tmp", "/tmp/x"),
        ("to-tmp/y", "/tmp/x/y"),
        ("up", "/home/me/file"),
        ("/tmp/mine", "/home/me/file"),
        ("/gone/away/../x", "/gone/x"),
        # In a folder that is a stranger's own, everything is his: nothing here could help.
        ("/tmp/folder/link", "/home/me/file"),
    ],
)
def test_a_path_leads_where_its_links_lead(path: str, wanted: str) -> None:
    assert leads_to(path) == wanted


@pytest.mark.parametrize("path", ["/tmp/theirs", "/tmp/theirs/below", "../../tmp/theirs"])
def test_a_link_that_a_stranger_planted_is_an_error_wherever_it_stands(path: str) -> None:
    with pytest.raises(PermissionError, match="/tmp/theirs is a link that another user has put") as caught:
        leads_to(path)
    assert caught.value.errno == errno.EACCES


def test_links_without_an_end_have_one() -> None:
    with pytest.raises(OSError, match="no end") as caught:
        leads_to("circle")
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize(("count", "refused"), [(MOST_LINKS - 1, False), (MOST_LINKS, False), (MOST_LINKS + 1, True)])
def test_a_path_may_lead_through_forty_links(count: int, refused: bool) -> None:
    links = {f"/l{number}": f"l{number + 1}" for number in range(count)}

    def look(path: str) -> Any:
        return status(LINK if path in links else FOLDER)

    assert MOST_LINKS == 40
    if refused:
        with pytest.raises(OSError, match="its links have no end"):
            without_links("/l0", look, links.__getitem__, ME)
    else:
        assert without_links("/l0", look, links.__getitem__, ME) == f"/l{count}"
