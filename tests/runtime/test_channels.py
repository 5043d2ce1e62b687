"""runtime/channels.py on its own: declarations, pipes, the registry's book. Nothing forks here.

What channels do between processes is in tests/scenarios/test_channels_live.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any, Iterator

import pytest

from teastreams.errors import PlatformError, TeaStreamsError
from teastreams.runtime import calls
from teastreams.runtime.channels import StreamChannel, StreamDirection, StreamRegistry, validate_platform

STDIN, STDOUT, STDERR = StreamDirection.STDIN, StreamDirection.STDOUT, StreamDirection.STDERR
LINUX = sys.platform == "linux"


@pytest.fixture
def registry() -> Iterator[StreamRegistry]:
    with StreamRegistry() as channels:
        yield channels


@pytest.fixture
def channel() -> Iterator[StreamChannel]:
    made = StreamChannel("lines", STDOUT)
    yield made
    made.close()


@pytest.fixture
def fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TEASTREAMS_PORTABLE=1 switches off is on here, so that the kernel is asked."""
    monkeypatch.delenv(calls.PORTABLE, raising=False)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def capacity_bytes(write_fd: int) -> int:
    """How much the pipe takes before a write would block: asked of the pipe itself, not of its declaration."""
    os.set_blocking(write_fd, False)
    taken = 0
    try:
        while True:
            taken += os.write(write_fd, bytes(4096))
    except BlockingIOError:
        return taken


# -- declaration --------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.1-UNIT-001")
def test_a_channel_carries_its_name_direction_and_size():
    """All three are as given, and nothing is opened by declaring them."""
    channel = StreamChannel("lines", STDERR, 4096)

    assert (channel.name, channel.direction, channel.buffer_size) == ("lines", STDERR, 4096)
    assert (channel.read_fd, channel.write_fd, channel.is_open, channel.closed) == (None, None, False, False)


@pytest.mark.scenario("001.1-UNIT-002")
def test_the_size_is_64_kib_unless_given(registry: StreamRegistry):
    """For a channel made by hand and for one made by the registry."""
    assert StreamChannel("lines", STDOUT).buffer_size == 65536
    assert registry.register("lines", STDOUT).buffer_size == 65536


@pytest.mark.scenario("001.1-UNIT-003")
def test_exactly_three_directions_exist():
    """They are spelled as the keys of `streams:`."""
    assert [direction.value for direction in StreamDirection] == ["stdin", "stdout", "stderr"]
    with pytest.raises(ValueError, match="sideways"):
        StreamDirection("sideways")


def test_the_repr_says_what_state_it_is_in(channel: StreamChannel):
    """Declared, open, closed."""
    seen = [repr(channel)]
    channel.create_pipe()
    seen.append(repr(channel))
    channel.close()
    seen.append(repr(channel))

    assert [text.rsplit(", ", 1)[1] for text in seen] == ["declared>", "open>", "closed>"]
    assert "'lines' stdout, 65536 bytes" in seen[0]


# -- the pipe -----------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.1-UNIT-004")
def test_making_the_pipe_gives_two_usable_distinct_ends(channel: StreamChannel):
    """A byte put into the second comes out of the first; neither survives an exec, neither is a standard stream."""
    reader, writer = channel.create_pipe()

    assert (reader, writer) == (channel.read_fd, channel.write_fd)
    assert reader != writer
    assert min(reader, writer) > 2
    assert [os.get_inheritable(fd) for fd in (reader, writer)] == [False, False]
    assert [os.get_blocking(fd) for fd in (reader, writer)] == [True, True]
    os.write(writer, b"x")
    assert os.read(reader, 10) == b"x"


def test_making_the_pipe_again_gives_the_same_ends(channel: StreamChannel):
    """An open channel has one pipe."""
    assert channel.create_pipe() == channel.create_pipe()


def test_one_end_can_be_closed_alone(channel: StreamChannel):
    """The reader sees its end of file when the write end is closed, and the channel is still open."""
    reader, writer = channel.create_pipe()
    os.write(writer, b"last")
    channel.close_write()

    assert (os.read(reader, 10), os.read(reader, 10)) == (b"last", b"")
    assert (channel.read_fd, channel.write_fd, channel.is_open) == (reader, None, True)
    channel.close_read()
    assert not channel.is_open


def test_closing_closes_both_ends(channel: StreamChannel):
    """The numbers are free afterwards, and the channel no longer knows them."""
    ends = channel.create_pipe()
    channel.close()

    assert [is_open(end) for end in ends] == [False, False]
    assert (channel.read_fd, channel.write_fd, channel.closed) == (None, None, True)


def test_closing_again_spares_a_stranger_with_the_same_number(channel: StreamChannel):
    """The epic's sketch would close whoever got the number in between."""
    reader, _writer = channel.create_pipe()
    channel.close()
    strangers = os.open(os.devnull, os.O_RDONLY)
    os.dup2(strangers, reader)
    channel.close()
    channel.close_read()

    assert is_open(reader)
    os.close(reader)
    os.close(strangers)


@pytest.mark.scenario("QA-001.1-UNIT-016")
def test_a_closed_channel_cannot_be_opened(channel: StreamChannel):
    """Closed before it was opened, or after: RuntimeError, and no descriptor is made."""
    channel.create_pipe()
    channel.close()
    never_opened = StreamChannel("never", STDIN)
    never_opened.close()

    for closed in (channel, never_opened):
        with pytest.raises(RuntimeError, match=f"channel '{closed.name}' was closed"):
            closed.create_pipe()
        assert not closed.is_open


def test_an_end_that_was_given_away_belongs_to_its_taker(channel: StreamChannel):
    """The channel forgets it, does not close it, and cannot be opened a second time."""
    _reader, writer = channel.create_pipe()
    taken = channel.take_end("w")

    assert taken is not None
    assert (taken.number, channel.write_fd) == (writer, None)
    assert channel.take_end("w") is None
    with pytest.raises(RuntimeError, match="lines"):
        channel.create_pipe()
    channel.close()
    assert is_open(writer)
    taken.close()


@pytest.mark.scenario("001.1-UNIT-013")
@pytest.mark.usefixtures("fast_path")
@pytest.mark.parametrize("size", [4096, 262144])
def test_a_custom_size_reaches_the_kernel_pipe(size: int):
    """The pipe takes exactly so many bytes; where the kernel cannot be asked (not Linux) it keeps its own size."""
    usual, custom = StreamChannel("usual", STDOUT), StreamChannel("custom", STDOUT, size)
    try:
        usual_bytes = capacity_bytes(usual.create_pipe()[1])
        custom_bytes = capacity_bytes(custom.create_pipe()[1])
    finally:
        usual.close()
        custom.close()

    assert custom_bytes == (size if LINUX else usual_bytes)


def test_the_portable_path_asks_the_kernel_for_no_size(monkeypatch: pytest.MonkeyPatch):
    """Under TEASTREAMS_PORTABLE=1 no fcntl beyond the descriptor's own is made."""
    asked: list[int] = []

    def fcntl_seen(fd: int, command: int, *rest: Any) -> Any:
        asked.append(command)
        return fcntl.fcntl(fd, command, *rest)

    monkeypatch.setenv(calls.PORTABLE, "1")
    monkeypatch.setattr(calls, "table", replace(calls.table, fcntl=fcntl_seen))
    channel = StreamChannel("lines", STDOUT, 262144)
    channel.create_pipe()
    channel.close()

    assert set(asked) <= {fcntl.F_DUPFD_CLOEXEC}


@pytest.mark.scenario("001.1-UNIT-014")
@pytest.mark.usefixtures("fast_path")
@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EINVAL, errno.EBUSY, errno.ENOMEM])
def test_a_refused_resize_leaves_a_working_pipe(monkeypatch: pytest.MonkeyPatch, refusal: int):
    """Whatever the kernel's reason, the pipe is made and carries bytes."""

    def refusing(fd: int, command: int, *rest: Any) -> Any:
        if command == calls.F_SETPIPE_SZ:
            raise OSError(refusal, os.strerror(refusal))
        return fcntl.fcntl(fd, command, *rest)

    monkeypatch.setattr(calls, "table", replace(calls.table, fcntl=refusing))
    channel = StreamChannel("lines", STDOUT, 262144)
    reader, writer = channel.create_pipe()
    os.write(writer, b"works")

    assert os.read(reader, 10) == b"works"
    channel.close()


@pytest.mark.scenario("001.1-UNIT-014")
@pytest.mark.usefixtures("fast_path")
def test_a_size_that_no_kernel_grants_leaves_a_working_pipe():
    """Over two gigabytes: Linux itself says EINVAL here, nobody pretends."""
    channel = StreamChannel("lines", STDOUT, (1 << 31) + 1)
    reader, writer = channel.create_pipe()
    os.write(writer, b"works")

    assert os.read(reader, 10) == b"works"
    channel.close()


def test_a_pipe_that_cannot_be_made_can_be_made_later(monkeypatch: pytest.MonkeyPatch, channel: StreamChannel):
    """Out of descriptors: the error goes up, the channel is as it was, and the next try works."""

    def full() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(calls, "table", replace(calls.table, pipe=full))
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            channel.create_pipe()

    assert (channel.is_open, channel.closed) == (False, False)
    reader, writer = channel.create_pipe()
    os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"


# -- the registry -------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.1-UNIT-005")
def test_registering_an_unknown_name_creates_a_channel_with_those_settings(registry: StreamRegistry):
    """It is in the registry from then on, declared and not open."""
    channel = registry.register("lines", STDERR, buffer_size=8192, node_name="reader")

    assert (channel.name, channel.direction, channel.buffer_size) == ("lines", STDERR, 8192)
    assert channel.producer == "reader"
    assert "lines" in registry
    assert (list(registry), len(registry)) == ([channel], 1)
    assert not channel.is_open


@pytest.mark.scenario("001.1-UNIT-006")
def test_registering_a_known_name_gives_back_the_same_object(registry: StreamRegistry):
    """Whatever the direction and the size asked for; the first size stays."""
    first = registry.register("lines", STDOUT, buffer_size=8192)

    assert registry.register("lines", STDOUT) is first
    assert registry.register("lines", STDIN, node_name="errors", buffer_size=4096) is first
    assert registry.get("lines") is first
    assert (first.buffer_size, len(registry)) == (8192, 1)


@pytest.mark.scenario("001.1-UNIT-007")
def test_looking_up_an_unknown_name_gives_none(registry: StreamRegistry):
    """And does not create it."""
    assert registry.get("nowhere") is None
    assert "nowhere" not in registry


@pytest.mark.scenario("001.1-UNIT-008")
def test_cleanup_closes_everything_and_empties_the_registry(registry: StreamRegistry):
    """Open, half open and never opened channels alike; cleaning up again is harmless."""
    channels = [registry.register(name, STDOUT) for name in ("open", "half", "declared")]
    ends = [*channels[0].create_pipe(), *channels[1].create_pipe()]
    channels[1].close_read()
    registry.cleanup()
    registry.cleanup()

    assert not any(is_open(end) for end in ends)
    assert all(channel.closed for channel in channels)
    assert (len(registry), registry.get("open")) == (0, None)


@pytest.mark.scenario("001.1-UNIT-008")
def test_leaving_the_context_cleans_up_after_an_error_too():
    """The error goes on, the descriptors do not."""
    registry = StreamRegistry()
    ends: list[int] = []

    def work() -> None:
        with registry:
            ends.extend(registry.register("lines", STDOUT).create_pipe())
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert len(ends) == 2
    assert not any(is_open(end) for end in ends)
    assert len(registry) == 0


@pytest.mark.scenario("001.1-UNIT-009")
def test_consumers_are_recorded_by_node_name(registry: StreamRegistry):
    """In the order in which they came; the producer is none of them."""
    channel = registry.register("lines", STDOUT, node_name="reader")
    registry.register("lines", STDIN, node_name="errors")
    registry.register("lines", STDIN, node_name="archive")
    channel.add_consumer("tap")

    assert channel.consumers == ("errors", "archive", "tap")
    assert channel.producer == "reader"


@pytest.mark.scenario("001.1-UNIT-010")
def test_a_channel_is_a_broadcast_from_the_second_consumer_on():
    """None, one, two, three."""
    channel = StreamChannel("lines", STDOUT)
    flags = [channel.is_broadcast]
    for name in "abc":
        channel.add_consumer(name)
        flags.append(channel.is_broadcast)

    assert flags == [False, False, True, True]
    assert StreamChannel("lines", STDOUT, consumers=["a", "b"]).is_broadcast


@pytest.mark.scenario("001.1-UNIT-011")
def test_the_count_is_that_of_the_distinct_consumers(registry: StreamRegistry):
    """A node that registers twice is one consumer, and does not make a broadcast."""
    channel = registry.register("lines", STDIN, node_name="a")
    registry.register("lines", STDIN, node_name="a")
    channel.add_consumer("a")

    assert (channel.consumer_count, channel.consumers, channel.is_broadcast) == (1, ("a",), False)
    channel.add_consumer("b")
    assert (channel.consumer_count, channel.is_broadcast) == (2, True)


@pytest.mark.scenario("QA-001.1-UNIT-015")
def test_validation_reports_a_reader_without_a_producer(registry: StreamRegistry):
    """One sentence per channel, with its name, its readers and the line to add; a producer silences it."""
    registry.register("whole", STDOUT, node_name="reader")
    registry.register("whole", STDIN, node_name="errors")
    registry.register("orphan", STDIN, node_name="errors")
    registry.register("orphan", STDIN, node_name="archive")

    [problem] = registry.validate()
    assert "channel 'orphan' is read by 'errors', 'archive' but nobody writes it" in problem
    assert "streams: {stdout: orphan}" in problem
    registry.register("orphan", STDERR, node_name="reader")
    assert registry.validate() == []


@pytest.mark.scenario("QA-001.1-UNIT-018")
def test_the_producer_query_gives_only_channels_that_somebody_writes(registry: StreamRegistry):
    """STDOUT and STDERR, in order of registration, and one that turned out later to have a producer."""
    registry.register("read", STDIN, node_name="errors")
    out = registry.register("out", STDOUT, node_name="reader")
    err = registry.register("err", STDERR, node_name="reader")

    assert registry.producers() == (out, err)
    late = registry.register("read", STDOUT, node_name="late")
    assert registry.producers() == (late, out, err)
    assert late.consumers == ("errors",)


# -- platform and signals -----------------------------------------------------------------------------------


@pytest.mark.scenario("QA-001.1-UNIT-017")
@pytest.mark.parametrize("platform", ["win32", "cygwin"])
def test_windows_raises_the_platform_error(platform: str):
    """It names the platform and says what to use instead."""
    with pytest.raises(PlatformError, match=f"this is {platform}.*parallel_strategy: thread.*WSL") as refused:
        validate_platform(platform)
    assert isinstance(refused.value, TeaStreamsError)


@pytest.mark.scenario("QA-001.1-UNIT-017")
@pytest.mark.parametrize("platform", ["linux", "darwin", None])
def test_unix_passes(platform: Any):
    """Linux, macOS, and the platform we run on."""
    validate_platform(platform)


@pytest.mark.scenario("QA-001.1-UNIT-017")
def test_no_pipe_is_made_on_windows(monkeypatch: pytest.MonkeyPatch, channel: StreamChannel):
    """Opening a channel there is refused before any call; declaring it was allowed."""
    made: list[str] = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(calls, "table", replace(calls.table, pipe=lambda: made.append("pipe")))
    with pytest.raises(PlatformError, match="win32"):
        channel.create_pipe()

    assert made == []


@pytest.mark.scenario("001.1-UNIT-012")
def test_the_sigpipe_handler_is_installed_once(monkeypatch: pytest.MonkeyPatch, registry: StreamRegistry):
    """SIGPIPE is set to "ignore" by the first call; the second, and one for another registry, set nothing."""
    now: dict[int, Any] = {signal.SIGPIPE: signal.SIG_DFL}
    set_to: list[Any] = []

    def set_handler(number: int, handler: Any) -> None:
        set_to.append((number, handler))
        now[number] = handler

    monkeypatch.setattr(calls, "table", replace(calls.table, get_handler=now.get, set_handler=set_handler))

    assert registry.install_sigpipe_handler() is True
    assert registry.install_sigpipe_handler() is False
    assert StreamRegistry().install_sigpipe_handler() is False
    assert set_to == [(signal.SIGPIPE, signal.SIG_IGN)]


def test_importing_where_there_is_no_fcntl_is_a_platform_error_with_advice() -> None:
    """What Windows gets: not an ImportError from the depths."""
    code = "import sys; sys.modules['fcntl'] = None; import teastreams"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "PlatformError: teastreams needs a Unix-like system, " in ended.stderr
