"""Channels on their own, between real processes: what they promise without a workflow.

Declarations and the registry's book are in tests/runtime/test_channels.py. Every script runs in an interpreter of its
own.
"""

from __future__ import annotations

import signal
import sys

import harness
import pytest

MEGABYTE = 1 << 20

CHILD = """
import subprocess

def child(code, *fds):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, fds)], pass_fds=fds, stdout=subprocess.PIPE)
"""


@pytest.mark.scenario("001.1-INT-001", "001.1-INT-003")
def test_a_channel_lives_from_declaration_to_close():
    """Create, write in another process, read, close: the bytes are there, and closing twice leaves no trace."""
    ended = harness.run(
        CHILD
        + """
with untouched():
    registry = ts.StreamRegistry()
    channel = registry.register("lines", ts.StreamDirection.STDOUT)
    reader, writer = channel.create_pipe()
    writing = child("import os, sys; os.write(int(sys.argv[1]), b'from another process')", writer)
    channel.close_write()
    with open(reader, "rb", closefd=False) as file:
        tell(read=file.read().decode())
    writing.communicate()
    for _ in range(2):
        channel.close()
        registry.cleanup()
    tell(child=writing.returncode, open=channel.is_open)
"""
    )
    assert ended.told == {"read": "from another process", "child": 0, "open": False}


@pytest.mark.scenario("001.1-INT-002")
def test_bytes_come_out_as_they_went_in_then_end_of_file():
    """A megabyte with every byte value, through a process on each side and a pipe that is smaller than it."""
    ended = harness.run(
        CHILD
        + f"""
WRITE = '''
import os, sys
from inside import stream
for block in stream("live", {MEGABYTE}, 10007):
    view = memoryview(block)
    while view:
        view = view[os.write(int(sys.argv[1]), view):]
'''
READ = '''
import hashlib, os, sys
whole, blocks = hashlib.sha256(), 0
while True:
    block = os.read(int(sys.argv[1]), 65536)
    if not block:
        break
    whole.update(block)
    blocks += len(block)
print(blocks, whole.hexdigest())
'''
with untouched(), ts.StreamRegistry() as registry:
    channel = registry.register("lines", ts.StreamDirection.STDOUT)
    reader, writer = channel.create_pipe()
    children = [child(WRITE, writer), child(READ, reader)]
    channel.close()
    size, found = children[1].communicate()[0].decode().split()
    children[0].communicate()
expected = hashlib.sha256()
for block in stream("live", {MEGABYTE}, 10007):
    expected.update(block)
tell(size=int(size), same=found == expected.hexdigest())
"""
    )
    assert ended.told == {"size": MEGABYTE, "same": True}


@pytest.mark.scenario("001.1-INT-003")
def test_closing_twice_does_not_close_a_stranger():
    """The numbers are taken by another pipe between the two; it still carries bytes."""
    ended = harness.run("""
registry = ts.StreamRegistry()
channel = registry.register("lines", ts.StreamDirection.STDOUT)
mine = channel.create_pipe()
channel.close()
others = os.pipe()
taken = [os.dup2(other, number) for other, number in zip(others, mine)]
channel.close()
registry.cleanup()
os.write(taken[1], b"still here")
tell(read=os.read(taken[0], 100).decode())
""")
    assert ended.told == {"read": "still here"}


READERLESS = """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
registry = ts.StreamRegistry()
channel = registry.register("lines", ts.StreamDirection.STDOUT)
{install}
reader, writer = channel.create_pipe()
channel.close_read()
tell(reached="the write")
try:
    os.write(writer, b"x")
except BrokenPipeError as error:
    tell(raised=type(error).__name__)
registry.cleanup()
tell(handler=signal.getsignal(signal.SIGPIPE).name)
"""


@pytest.mark.scenario("001.1-INT-004", "001.1-UNIT-012")
def test_writing_to_a_readerless_pipe_raises():
    """With the handler the process lives on and sees BrokenPipeError."""
    install = "tell(installed=[registry.install_sigpipe_handler() for _ in range(2)])"
    ended = harness.run(READERLESS.format(install=install))

    assert ended.told == {
        "installed": [True, False],
        "reached": "the write",
        "raised": "BrokenPipeError",
        "handler": "SIG_IGN",
    }


@pytest.mark.scenario("001.1-INT-004")
def test_without_the_handler_that_write_kills():
    """The proof that the handler above is what saves the process."""
    ended = harness.run(READERLESS.format(install=""), expect=-signal.SIGPIPE)

    assert ended.told == {"reached": "the write"}


def test_importing_installs_no_handler():
    """SIGPIPE is as the program set it before the first import, until the registry is asked."""
    program = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
import teastreams
teastreams.StreamRegistry()
print(signal.getsignal(signal.SIGPIPE).name)
"""
    ended = harness.run_command([sys.executable, "-c", program])

    assert ended.stdout == "SIG_DFL\n"
