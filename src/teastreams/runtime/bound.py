"""The ends of a section's streams that lie outside: files, and the caller's own standard streams.

Laws: a file or stream stands on the node's descriptor itself, with nobody in between (L10). An output file that a
failed section leaves behind is never mistaken for a whole one: it is written beside and renamed when the section has
ended well, and until then it has no name where the system allows that (Linux's O_TMPFILE), so that even a killed
supervisor leaves nothing. What is appended by a failed section is cut off again. Devices are written in place, and
`/dev/fd/N` is the open descriptor itself. FIFOs are refused: opening one waits for its other side, and nothing here may
wait. So is reading a terminal: the kernel stops whoever reads it from another process group than the one in front.

A path is looked up once: links are followed by the rules of `core/security/trust.py`, its folder is held open, and all
that follows happens in that folder, by the name alone and through no link. What was looked at is looked at again when
it is open, since somebody may have exchanged it in between.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from functools import partial
from typing import Callable, Mapping, Optional

from teastreams.core.graph import STREAMS, Binding
from teastreams.core.plan import OUTSIDE, Channel, SectionPlan
from teastreams.core.security.trust import planted, unsafe_to_write, without_links
from teastreams.errors import NodeError
from teastreams.runtime import calls
from teastreams.runtime.fds import Fd, adopt, copy_of, duplicate, ledger, room_for
from teastreams.values import dataclass

OWN_STREAMS: Mapping[str, int] = {"stdin": 0, "stdout": 1, "stderr": 2}
NEW_FILE_MODE = 0o666
PRIVATE_MODE = 0o600
BY_NUMBER = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})", re.ASCII)
BY_NAME = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
NAME_SHARE = 40
"""As many characters of a file's name stand in the name beside it: the system's limit is 255 bytes for all of it."""


@dataclass(frozen=True)
class Place:
    """A name in a folder that is held open. `path` says the same without links, to compare and to tell."""

    folder: Fd
    name: str
    path: str


@dataclass(frozen=True)
class Output:
    """An output file at work: what to do with it when the section has ended well, and when it has not."""

    fd: Fd
    folder: Fd
    node: str
    channel: str
    keep: Callable[[], None]
    undo: Callable[[], None]
    start_bytes: int = 0


class BoundEnds:
    """Opens what a plan has bound outside; `settle` makes output files whole, or undoes them.

    `own_streams` maps stdin, stdout and stderr to the caller's descriptors, which are lent, never closed.
    """

    def __init__(self, plan: SectionPlan, own_streams: Mapping[str, int] = OWN_STREAMS) -> None:
        self._plan, self._own = plan, own_streams
        self._outputs: dict[str, Output] = {}
        self._given: dict[tuple[str, str], Fd] = {}

    def open(self) -> dict[tuple[str, str], Fd]:
        """The ends for the workers, as (pipe, "r" or "w").

        NodeError when a file cannot be opened; nothing stays open then.
        """
        try:
            for name, binding in self._plan.bound.items():
                channel = self._plan.channels[name]
                side = "r" if channel.producer == OUTSIDE else "w"
                self._given[channel.source, side] = self._end(channel, binding)
        except BaseException:
            self.settle(well=False)
            raise
        return dict(self._given)

    def written(self) -> dict[str, int]:
        """Bytes that stand in each output file from this section, by channel: exact, whoever wrote them."""
        sizes: dict[str, int] = {}
        for output in self._outputs.values():
            sizes[output.channel] = calls.table.fstat(output.fd.number).st_size - output.start_bytes
        return sizes

    def settle(self, well: bool) -> None:
        """The section has ended; again is harmless. NodeError when a whole file cannot be given its name."""
        outputs, self._outputs = self._outputs, {}
        try:
            while well and outputs:
                path = next(iter(outputs))
                output = outputs.pop(path)
                with output.fd, output.folder:
                    _kept(path, output)
        finally:
            for output in outputs.values():
                with output.fd, output.folder, suppress(OSError):
                    output.undo()
            for fd in self._given.values():
                fd.close()

    def _end(self, channel: Channel, binding: Binding) -> Fd:
        reading = channel.producer == OUTSIDE
        node = channel.consumers[0].node if reading else channel.producer
        stream = "stdin" if reading else STREAMS[channel.fd]
        try:
            if binding.file == "":
                raise FileNotFoundError(errno.ENOENT, "the path is empty")
            with room_for(f"the {stream} of {node!r}"):
                if binding.file is None:
                    end = duplicate(self._own[stream], f"{stream} of {node}")
                else:
                    end = _reader(binding.file) if reading else self._writer(channel, binding)
                return _no_terminal(end) if reading else end
        except (OSError, ValueError) as error:  # ValueError: a zero byte, or what no file name can hold
            text = _explained(stream, binding, error)
            raise NodeError(node, "start", text, error_type=type(error).__name__) from error

    def _writer(self, channel: Channel, binding: Binding) -> Fd:
        lent = _by_number(binding.file or "")
        if lent is not None:
            return lent
        place = _place(binding.file or "")
        with place.folder:
            old = _status(place)
            if old is not None and not stat.S_ISREG(old.st_mode):
                _refuse_fifo(old)
                return _entered(place, os.O_WRONLY)
            if place.path in self._outputs:
                raise OSError(errno.EBUSY, "another node of this section writes it")
            if (binding.append or binding.keep_partial) and place.path in self._inputs():
                raise OSError(errno.EBUSY, "this section reads it, and it would be written in place")
            self._outputs[place.path] = _opened(place, channel, binding, old)
        return copy_of(self._outputs[place.path].fd)

    def _inputs(self) -> set[str]:
        return {
            os.path.realpath(binding.file or "")
            for name, binding in self._plan.bound.items()
            if self._plan.channels[name].producer == OUTSIDE and binding.file is not None
        }


def _opened(place: Place, channel: Channel, binding: Binding, old: Optional[os.stat_result]) -> Output:
    """A regular file to write, by the wishes of its binding."""
    if binding.append or binding.keep_partial:
        return _in_place(place, channel, binding)
    if old is None:
        return _beside(place, channel, NEW_FILE_MODE)
    if planted(old, calls.table.fstat(place.folder.number), calls.table.geteuid()):
        raise PermissionError(errno.EACCES, f"it belongs to user {old.st_uid}, in a folder that everybody may write")
    if not calls.table.access(place.name, os.W_OK, dir_fd=place.folder.number):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    output = _beside(place, channel, PRIVATE_MODE)
    with suppress(OSError):
        _take_over(output.fd, old)
    return output


def _in_place(place: Place, channel: Channel, binding: Binding) -> Output:
    fd = _entered(place, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if binding.append else 0))
    try:
        found = calls.table.fstat(fd.number)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EBUSY, "it was exchanged while it was opened")
        reason = unsafe_to_write(found, calls.table.fstat(place.folder.number), calls.table.geteuid())
        if reason:
            raise PermissionError(errno.EACCES, reason)
        if not binding.append:
            _cut(fd, 0)
        folder = copy_of(place.folder)
    except BaseException:
        fd.close()
        raise
    start_bytes = found.st_size if binding.append else 0
    undo = _nothing if binding.keep_partial else lambda: _cut(fd, start_bytes)
    return Output(fd, folder, channel.producer, channel.name, _nothing, undo, start_bytes)


def _take_over(fd: Fd, old: os.stat_result) -> None:
    """The mode of the old file for the new one, without the rights to run as its owner or group.

    What the mode gives to a group is meant for the old file's: where that cannot be had, it gets what all others get.
    """
    mode = stat.S_IMODE(old.st_mode) & 0o777
    if calls.table.fstat(fd.number).st_gid != old.st_gid:
        try:
            calls.table.fchown(fd.number, -1, old.st_gid)
        except OSError:
            mode = mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    calls.table.fchmod(fd.number, mode)


def _beside(place: Place, channel: Channel, mode: int) -> Output:
    """A new file in the folder of `place`: without a name where that is possible, else under a name of its own."""
    name, folder = place.name, copy_of(place.folder)
    beside = f".{name[:NAME_SHARE]}.{calls.table.urandom(6).hex()}.partial"
    unnamed = getattr(os, "O_TMPFILE", 0)
    try:
        if unnamed and not calls.portable() and calls.table.access("/proc/self/fd", os.X_OK):
            with suppress(OSError):  # not every file system can
                fd = _open(".", os.O_WRONLY | unnamed, folder, mode)
                keep = partial(_name, fd, folder, beside, name)
                return Output(fd, folder, channel.producer, channel.name, keep, _nothing)
        fd = _open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, folder, mode)
    except BaseException:
        folder.close()
        raise
    keep = partial(_rename, folder, beside, name)
    undo = partial(calls.table.unlink, beside, dir_fd=folder.number)
    return Output(fd, folder, channel.producer, channel.name, keep, undo)


def _kept(path: str, output: Output) -> None:
    try:
        output.keep()
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"it wrote {path!r} to the end, and the file cannot be given its name: {reason}; look at its folder"
        with suppress(OSError):
            output.undo()
        raise NodeError(output.node, "result", text, error_type=type(error).__name__) from error


def _name(fd: Fd, folder: Fd, beside: str, name: str) -> None:
    """Give a file without a name this one. A link replaces nothing, a rename does: so two steps."""
    calls.table.link(f"/proc/self/fd/{fd.number}", beside, dst_dir_fd=folder.number, follow_symlinks=True)
    try:
        _rename(folder, beside, name)
    except OSError:
        calls.table.unlink(beside, dir_fd=folder.number)
        raise


def _rename(folder: Fd, old: str, new: str) -> None:
    calls.table.rename(old, new, src_dir_fd=folder.number, dst_dir_fd=folder.number)


def _reader(path: str) -> Fd:
    lent = _by_number(path)
    if lent is not None:
        return lent
    place = _place(path)
    with place.folder:
        _refuse_fifo(_status(place))
        fd = _entered(place, os.O_RDONLY)
    if stat.S_ISDIR(calls.table.fstat(fd.number).st_mode):
        fd.close()
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return fd


def _no_terminal(fd: Fd) -> Fd:
    """`fd`, unless it is the terminal that this process was started from."""
    try:
        calls.table.tcgetpgrp(fd.number)
    except OSError:
        return fd
    fd.close()
    raise OSError(errno.ENOTSUP, "it is the terminal, which nodes cannot read; put `cat |` before the command")


def _by_number(path: str) -> Optional[Fd]:
    """The descriptor that `/dev/fd/N` names; opened anew it could wait, and a file would be cut or replaced."""
    if path in BY_NAME:
        raise OSError(errno.ENOTSUP, 'it is a stream of the workflow itself; write "-" for it')
    match = BY_NUMBER.fullmatch(path)
    if match is None:
        return None
    number = int(match[1])
    if number in {fd.number for fd in ledger.open}:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return duplicate(number, path)


def _refuse_fifo(old: Optional[os.stat_result]) -> None:
    if old is not None and stat.S_ISFIFO(old.st_mode):
        raise OSError(errno.ENOTSUP, 'it is a FIFO; bind the stream to "-" and redirect it in the shell')


def _place(path: str) -> Place:
    """Where `path` leads, with its folder open: a descriptor for names alone where the system has such."""
    table = calls.table
    found = without_links(path, table.lstat, table.readlink, table.geteuid(), os.path.abspath("."))
    folder, _, name = found.rpartition("/")
    for_names = 0 if calls.portable() else getattr(os, "O_PATH", 0)
    return Place(_open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | for_names), name or ".", found)


def _status(place: Place) -> Optional[os.stat_result]:
    try:
        return calls.table.stat(place.name, dir_fd=place.folder.number, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _entered(place: Place, flags: int) -> Fd:
    """Open what has the name now. Without waiting: a FIFO may have come there since somebody looked."""
    fd = _open(place.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, place.folder)
    try:
        _refuse_fifo(calls.table.fstat(fd.number))
        calls.table.set_blocking(fd.number, True)
    except BaseException:
        fd.close()
        raise
    return fd


def _open(path: str, flags: int, folder: Optional[Fd] = None, mode: int = NEW_FILE_MODE) -> Fd:
    flags |= os.O_CLOEXEC | os.O_NOCTTY
    return adopt(calls.table.open(path, flags, mode, dir_fd=None if folder is None else folder.number), path)


def _explained(stream: str, binding: Binding, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if binding.file is None and isinstance(error, OSError) and error.errno == errno.ENOTSUP:
        return f"its {stream} is bound to the workflow's own: {reason}"
    if binding.file is None:
        return f"its {stream} is bound to the workflow's own, which is closed ({reason}); open it, or bind a file"
    word = "read from" if stream == "stdin" else "write to"
    advice = "correct the path, or create the folder" if isinstance(error, FileNotFoundError) else "name another file"
    return f"its {stream} cannot {word} {binding.file!r}: {reason}; {advice}"


def _cut(fd: Fd, size_bytes: int) -> None:
    calls.table.ftruncate(fd.number, size_bytes)


def _nothing() -> None:
    return
