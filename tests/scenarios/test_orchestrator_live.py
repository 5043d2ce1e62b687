"""Broadcasts to programs outside: real readers of real FIFOs, and what is left when somebody dies.

Readers are `cat` and Python programs of their own that are given nothing but a path. Where a reader must stand still it
waits for its own stdin, not for a clock.
"""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Any

import harness
import pytest

MIB = 1024 * 1024

STAGE = '''
import fcntl, gc, multiprocessing, struct, subprocess, tempfile, termios
from contextlib import contextmanager
tempfile.tempdir = os.path.dirname(os.environ["TEASTREAMS_SCENARIO_HISTORY"])

READER = """
import hashlib, os, sys
order, path = sys.argv[1:]
print("opening", flush=True)
source = open(path, "rb", buffering=0)
print("open", flush=True)
if order == "told":
    sys.stdin.read()
if order == "early":
    print(source.read(1)); sys.exit()
size, whole = 0, hashlib.sha256()
for data in iter(lambda: source.read(65536), b""):
    size += len(data); whole.update(data)
print(size, whole.hexdigest())
"""

def reader(order, endpoint):
    """A program that reads the endpoint: at once, "told" to by the end of its stdin, or one byte "early"."""
    return subprocess.Popen([sys.executable, "-S", "-c", READER, order, str(endpoint)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def opened(*readers):
    """Wait until they all have opened their endpoints."""
    for each in readers:
        assert [each.stdout.readline() for _ in range(2)] == ["opening\\n", "open\\n"]

def waits_in_open(program):
    """Wait until it sleeps in opening its endpoint: between these two lines nothing else makes it sleep."""
    assert program.stdout.readline() == "opening\\n"
    while not asleep(program.pid):
        os.sched_yield()

def asleep(pid):
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        return stat.read_text().rpartition(")")[2].split()[0] == "S"
    return subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True).stdout.startswith(b"S")

def go(program):
    """Tell a reader to begin."""
    program.stdin.close()
    program.stdin = None

def got(program):
    """What it reported: [bytes, SHA-256]; a reader that waits is told to begin."""
    answer = program.communicate()[0].split()[-2:]
    assert program.returncode == 0
    return [int(answer[0]), answer[1]]

PRODUCER = """
import hashlib, sys
size = int(sys.argv[1])
for at in range(0, size, 65536):  # as `stream` of inside.py does, without its imports
    sys.stdout.buffer.write(hashlib.shake_128(f"key:{at}".encode()).digest(min(65536, size - at)))
"""

def producer(size):
    """A program that writes the keyed stream."""
    return subprocess.Popen([sys.executable, "-S", "-c", PRODUCER, str(size)], stdout=subprocess.PIPE)

STARTED = []

def start(tee, name, program):
    """Let that program feed the broadcast."""
    tee.start_broadcast(name, program.stdout.fileno())
    program.stdout.close()
    STARTED.append(program)

@contextmanager
def stage():
    """Nothing is left in the caller's world; the programs that feed broadcasts are seen to their ends first."""
    with untouched():
        yield
        while STARTED:
            STARTED.pop().wait()

def right(size):
    return [size, digest("key", size)]

def worker(name):
    return next(child for child in multiprocessing.active_children() if repr(name) in child.name)

def gone(pid):
    """Neither alive nor a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False

def each(report):
    return {name: [figures.bytes, figures.end] for name, figures in report.consumers.items()}

def left():
    """What stands in the temporary directory."""
    return sorted(name for name in os.listdir(tempfile.tempdir) if name != "history")
'''


def play(scene: str, **options: Any) -> dict[str, Any]:
    """Run a scene on the stage above; what it told."""
    return harness.run(STAGE + textwrap.dedent(scene), **options).told


# -- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-INT-001", "001.3-INT-002", "001.3-UNIT-005")
@pytest.mark.parametrize("overflow", ["spill", "block"])
def test_programs_outside_get_identical_bytes(overflow: str) -> None:
    """Five programs, two of them `cat`, get exactly what a sixth one wrote."""
    told = play(f"""
    size = {3 * MIB + 17}
    with stage(), ts.TeeOrchestrator(overflow={overflow!r}) as tee:
        *paths, cat, cat_too = tee.create_broadcast("bytes", ["a", "b", "c", "cat", "cat too"])
        readers = [reader("now", path) for path in paths]
        cats = [subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) for path in (cat, cat_too)]
        source = producer(size)
        start(tee, "bytes", source)
        tell(copies=[hashlib.sha256(cat.communicate()[0]).hexdigest() for cat in cats], got=[got(r) for r in readers],
             source=source.wait())
        report = tee.wait("bytes", 20)
        tell(right=right(size), each=each(report), well=report.well, bytes=report.bytes)
        tell(there=os.listdir(tee.directory))
    tell(left=left())
    """)

    size, fingerprint = told["right"]
    assert told["got"] == [told["right"]] * 3
    assert told["copies"] == [fingerprint] * 2
    assert told["source"] == 0
    assert told["each"] == {name: [size, "delivered"] for name in ("a", "b", "c", "cat", "cat too")}
    assert (told["well"], told["bytes"]) == (True, size)
    assert told["there"] == told["left"] == []


def test_not_a_byte_is_read_before_the_last_reader_is_there() -> None:
    """Two of three have opened their endpoints, and the source is still full; the third one misses nothing."""
    told = play("""
    read, write = os.pipe()
    with ts.TeeOrchestrator() as tee:
        *paths, last = tee.create_broadcast("bytes", 3)
        os.write(write, b"x" * 1000)
        tee.start_broadcast("bytes", read)
        first = [reader("now", path) for path in paths]
        opened(*first)
        waiting = struct.unpack("i", fcntl.ioctl(read, termios.FIONREAD, b"1234"))[0]
        third = reader("now", last)
        opened(third)
        os.close(read)
        os.close(write)
        tell(waiting=waiting, got=[got(each)[0] for each in (*first, third)], well=tee.wait("bytes", 10).well)
    """)

    assert told == {"waiting": 1000, "got": [1000] * 3, "well": True}


def test_two_broadcasts_at_once_and_from_a_file() -> None:
    """Each is fed by a worker of its own; a regular file is as good a source as a pipe."""
    told = play(f"""
    size = {MIB}
    with tempfile.TemporaryFile() as file, stage(), ts.TeeOrchestrator() as tee:
        for block in stream("key", size):
            file.write(block)
        file.seek(0)
        readers = {{name: [reader("now", path) for path in tee.create_broadcast(name, 2)] for name in ("one", "other")}}
        tee.start_broadcast("one", file.fileno())
        start(tee, "other", producer(size))
        tell(got=[got(each) for both in readers.values() for each in both], right=right(size))
        tell(well=[tee.wait(name, 10).well for name in readers])
    """)

    assert told["got"] == [told["right"]] * 4
    assert told["well"] == [True, True]


def test_the_flags_of_a_shared_source_stay_as_they_were() -> None:
    """The descriptor may be somebody else's too: it does not become non-blocking under their hands."""
    told = play("""
    read, write = os.pipe()
    with ts.TeeOrchestrator() as tee:
        readers = [reader("now", path) for path in tee.create_broadcast("bytes", 2)]
        before = fcntl.fcntl(read, fcntl.F_GETFL)
        tee.start_broadcast("bytes", read)
        os.write(write, b"0123456789")
        os.close(write)
        tell(got=[got(each)[0] for each in readers])
        tell(same=fcntl.fcntl(read, fcntl.F_GETFL) == before, well=tee.wait("bytes", 10).well)
    """)

    assert told == {"got": [10, 10], "same": True, "well": True}


# -- slow readers -----------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-INT-007")
def test_a_slow_program_does_not_hold_up_a_fast_producer() -> None:
    """10 KB are out of the producer's hands in less than a second, before one reader reads a byte; it gets all."""
    told = play("""
    with stage(), ts.TeeOrchestrator() as tee:
        quick, slow = map(reader, ["now", "told"], tee.create_broadcast("bytes", ["quick", "slow"]))
        read, write = os.pipe()
        tee.start_broadcast("bytes", read)
        os.close(read)
        opened(quick, slow)
        started = time.monotonic()
        for block in stream("key", 10_000):
            os.write(write, block)
        os.close(write)
        tell(seconds=time.monotonic() - started, quick=got(quick))
        tell(slow=got(slow), right=right(10_000), well=tee.wait("bytes", 10).well)
    """)

    assert told["seconds"] < 1.0
    assert told["quick"] == told["slow"] == told["right"]
    assert told["well"]


@pytest.mark.scenario("001.3-INT-007", "001.3-INT-008")
@pytest.mark.parametrize("portable", ["0", "1"])
def test_a_program_that_stands_still_is_served_from_disk(portable: str) -> None:
    """Producer and quick reader are done with 16 MiB before the slow one begins; on both paths it gets every byte."""
    told = play(
        f"""
    size = {16 * MIB}
    with stage(), ts.TeeOrchestrator(buffer_limit_bytes=500_000) as tee:
        quick, slow = map(reader, ["now", "told"], tee.create_broadcast("bytes", ["quick", "slow"]))
        source = producer(size)
        start(tee, "bytes", source)
        tell(quick=got(quick), source=source.wait())
        try:
            tee.wait("bytes", 0)
        except TimeoutError as error:
            tell(waiting=str(error))
        go(slow)
        report = tee.wait("bytes", 10)
        tell(slow=got(slow))
        tell(right=right(size), well=report.well, spilled=report.consumers["slow"].spilled_bytes)
    """,
        environment={"TEASTREAMS_PORTABLE": portable},
    )

    assert told["quick"] == told["slow"] == told["right"]
    assert told["source"] == 0
    assert "goes on" in told["waiting"]
    assert told["well"]
    assert told["spilled"] > 8 * MIB


def test_a_caller_that_does_not_listen_holds_up_nobody() -> None:
    """The worker reports into a pipe of one page: forty readers still come to their ends before anybody asks."""
    told = play("""
    from teastreams.runtime import calls

    def one_page():
        ends = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, 4096)
        return ends

    calls.table.pipe = one_page
    names = [f"reader {number} of a name that makes the report long" for number in range(40)]
    with stage(), ts.TeeOrchestrator() as tee:
        paths = tee.create_broadcast("b", names)
        cats = [subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) for path in paths]
        start(tee, "b", producer(10_000))
        tell(sizes={len(cat.communicate()[0]) for cat in cats} == {10_000})
        report = tee.wait("b", 10)
        tell(well=report.well, ends=sorted({end for _size, end in each(report).values()}), count=len(each(report)))
    """)

    assert told == {"sizes": True, "well": True, "ends": ["delivered"], "count": 40}


# -- leaving ----------------------------------------------------------------------------------------------------------


def test_a_program_that_leaves_early_changes_nothing_for_the_others() -> None:
    """It is reported as left; the others get everything."""
    told = play(f"""
    size = {4 * MIB}
    with stage(), ts.TeeOrchestrator() as tee:
        early, a, b = map(reader, ["early", "now", "now"], tee.create_broadcast("bytes", ["early", "a", "b"]))
        start(tee, "bytes", producer(size))
        tell(got=[got(a), got(b)], right=right(size), early=early.communicate()[1])
        report = tee.wait("bytes", 10)
        tell(well=report.well, each={{name: value[1] for name, value in each(report).items()}})
    """)

    assert told["got"] == [told["right"]] * 2
    assert told["well"]
    assert told["each"] == {"early": "left", "a": "delivered", "b": "delivered"}


def test_when_all_have_left_the_producer_is_stopped() -> None:
    """It gets EPIPE, and the worker ends by itself and well."""
    told = play("""
    with stage(), ts.TeeOrchestrator() as tee:
        readers = [reader("early", path) for path in tee.create_broadcast("bytes", 3)]
        source = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
        start(tee, "bytes", source)
        for each_reader in readers:
            each_reader.communicate()
        tell(code=source.wait())
        report = tee.wait("bytes", 10)
        tell(well=report.well, ends=[value[1] for value in each(report).values()], exit_code=report.exit_code)
    """)

    assert told["code"] in (-13, 1)  # killed by SIGPIPE, or told of it where that is ignored
    assert (told["well"], told["ends"], told["exit_code"]) == (True, ["left"] * 3, 0)


# -- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-INT-004")
@pytest.mark.parametrize("when", ["waiting for readers", "copying", "frozen"])
def test_stopping_ends_the_worker_and_leaves_no_zombie(when: str) -> None:
    """In less than five seconds, whatever it is at; the report says what had been delivered until then."""
    told = play(f"""
    when = {when!r}
    with stage(), ts.TeeOrchestrator() as tee:
        endpoints = tee.create_broadcast("bytes", ["a", "b"])
        source = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
        start(tee, "bytes", source)
        pid = worker("bytes").pid
        readers = [] if when == "waiting for readers" else [reader("now", path) for path in endpoints]
        opened(*readers)
        if when == "frozen":
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        started = time.monotonic()
        report = tee.stop_broadcast("bytes")
        tell(seconds=time.monotonic() - started, gone=gone(pid), reason=report.reason, well=report.well,
             code=report.exit_code, each=each(report), children=len(multiprocessing.active_children()),
             endpoints=[path.exists() for path in endpoints])
        for each_reader in readers:
            got(each_reader)
        source.wait()
        tell(again=tee.stop_broadcast("bytes").reason)
    """)

    assert told["seconds"] < 5.0
    assert told["gone"]
    assert told["children"] == 0
    assert (told["reason"], told["well"], told["code"]) == ("stopped", False, -15)
    assert told["each"] == {"a": [0, "cut"], "b": [0, "cut"]}
    assert told["endpoints"] == [False, False]
    assert told["again"] == "stopped"


def test_what_was_delivered_before_a_stop_is_in_the_report() -> None:
    """One reader has everything, the other one stands still: the report tells them apart."""
    told = play(f"""
    size = {4 * MIB}
    with stage(), ts.TeeOrchestrator() as tee:
        quick, slow = map(reader, ["now", "told"], tee.create_broadcast("bytes", ["quick", "slow"]))
        start(tee, "bytes", producer(size))
        tell(quick=got(quick), right=right(size))
        report = tee.stop_broadcast("bytes")
        tell(each=each(report), well=report.well, bytes=report.bytes, slow=got(slow)[0])
    """)

    size = told["right"][0]
    assert told["quick"] == told["right"]
    assert told["each"] == {"quick": [size, "delivered"], "slow": [0, "cut"]}
    assert not told["well"]
    assert told["slow"] < size


def test_a_broadcast_that_ended_unseen_is_not_called_stopped() -> None:
    """It came to its end while nobody waited for it; stopping it then tells of that end."""
    told = play("""
    with stage(), ts.TeeOrchestrator() as tee:
        readers = [reader("now", path) for path in tee.create_broadcast("bytes", 2)]
        start(tee, "bytes", producer(1000))
        pid = worker("bytes").pid
        tell(got=[got(each_reader)[0] for each_reader in readers])
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        report = tee.stop_broadcast("bytes")
        tell(well=report.well, reason=report.reason, code=report.exit_code)
    """)

    assert told == {"got": [1000, 1000], "well": True, "reason": "", "code": 0}


def test_a_worker_that_was_killed_unseen_is_not_called_stopped() -> None:
    """It died before it was to be stopped, and the report says of what."""
    told = play("""
    read, write = os.pipe()
    with stage(), ts.TeeOrchestrator() as tee:
        tee.create_broadcast("bytes", 2)
        tee.start_broadcast("bytes", read)
        pid = worker("bytes").pid
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        report = tee.stop_broadcast("bytes")
        tell(well=report.well, reason=report.reason, code=report.exit_code)
    """)

    assert told == {"well": False, "reason": "killed by signal 9", "code": -9}


def test_a_reader_that_waits_in_vain_is_let_go() -> None:
    """It opened an endpoint of a broadcast that is never fed: cleaning up gives it an end of file."""
    told = play("""
    with stage(), ts.TeeOrchestrator() as tee:
        lonely = reader("now", tee.create_broadcast("started", 2)[0])
        never = reader("now", tee.create_broadcast("never started", 2)[0])
        read, write = os.pipe()
        tee.start_broadcast("started", read)
        os.close(read)
        os.close(write)
        opened(lonely)
        waits_in_open(never)
        tee.cleanup()
        tell(lonely=got(lonely)[0], never=got(never)[0], left=left())
    """)

    assert told == {"lonely": 0, "never": 0, "left": []}


# -- cleaning up ------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-INT-005")
def test_cleanup_removes_every_endpoint_and_the_directory() -> None:
    """With one broadcast done, one under way, one waiting for readers and one never started."""
    told = play("""
    with stage():
        tee = ts.TeeOrchestrator()
        paths = {name: tee.create_broadcast(name, 2) for name in ("done", "under way", "waiting", "never started")}
        readers = [reader("now", path) for path in paths["done"]]
        start(tee, "done", producer(1000))
        [got(each_reader) for each_reader in readers]
        sources = [subprocess.Popen(["yes"], stdout=subprocess.PIPE) for _ in range(2)]
        busy = [reader("now", path) for path in paths["under way"]]
        start(tee, "under way", sources[0])
        start(tee, "waiting", sources[1])
        opened(*busy)
        pids = [child.pid for child in multiprocessing.active_children()]
        tell(before=len(left()))
        tee.cleanup()
        tell(left=left(), gone=[gone(pid) for pid in pids], started=len(pids),
             endpoints=[path.exists() for each_path in paths.values() for path in each_path])
        [got(each_reader) for each_reader in busy]
        [source.wait() for source in sources]
    """)

    assert told["before"] == 1
    assert told["left"] == []
    assert told["started"] == 3
    assert told["gone"] == [True] * 3
    assert told["endpoints"] == [False] * 8


@pytest.mark.scenario("001.3-INT-006")
def test_cleanup_works_after_the_worker_was_killed() -> None:
    """SIGKILL to the worker in the middle: the report says so, and nothing is left."""
    told = play(f"""
    size = {4 * MIB}
    with stage(), ts.TeeOrchestrator() as tee:
        quick, slow = map(reader, ["now", "told"], tee.create_broadcast("bytes", ["quick", "slow"]))
        start(tee, "bytes", producer(size))
        pid = worker("bytes").pid
        tell(quick=got(quick), right=right(size))
        os.kill(pid, signal.SIGKILL)
        report = tee.wait("bytes", 10)
        tell(reason=report.reason, code=report.exit_code, well=report.well, each=each(report), slow=got(slow)[0])
        tell(gone=gone(pid))
    tell(left=left())

    with stage(), ts.TeeOrchestrator() as tee:
        tee.create_broadcast("bytes", 2)
        start(tee, "bytes", producer(size))
        os.kill(worker("bytes").pid, signal.SIGKILL)
    tell(left_unseen=left())
    """)

    size = told["right"][0]
    assert told["quick"] == told["right"]
    assert (told["reason"], told["code"], told["well"]) == ("killed by signal 9", -9, False)
    assert told["each"] == {"quick": [size, "delivered"], "slow": [0, "cut"]}
    assert told["slow"] < size
    assert told["gone"]
    assert told["left"] == told["left_unseen"] == []


@pytest.mark.scenario("001.3-UNIT-006")
def test_an_exception_in_the_block_ends_the_workers() -> None:
    """Of any kind, KeyboardInterrupt too; it comes through as it was."""
    told = play("""
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with stage():
            source = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
            try:
                with ts.TeeOrchestrator() as tee:
                    tee.create_broadcast("bytes", 2)
                    start(tee, "bytes", source)
                    pid = worker("bytes").pid
                    raise error("mine")
            except BaseException as raised:
                tell(**{error.__name__: [type(raised) is error, str(raised), gone(pid), left()]})
            source.wait()
    """)

    assert list(told.values()) == [[True, "mine", True, []]] * 3


@pytest.mark.parametrize("how", ["orderly", "exception"])
def test_an_interpreter_that_ends_without_cleaning_up_leaves_nothing(how: str) -> None:
    """Neither hangs at its end nor leaves worker or directory, even if it has used weakref.finalize before."""
    text = (
        """
import gc, weakref
weakref.finalize(gc, int)  # its hook stands before all that teastreams imports
from inside import *
"""
        + STAGE
        + f"""
tee = ts.TeeOrchestrator()
tee.create_broadcast("bytes", 2)
start(tee, "bytes", subprocess.Popen(["yes"], stdout=subprocess.PIPE))
tell(directory=str(tee.directory), pid=worker("bytes").pid)
if {how!r} == "exception":
    raise ValueError("mine")
"""
    )
    code = 1 if how == "exception" else 0
    ended = harness.run_command([sys.executable, "-c", text], expect=code, deadline_seconds=20)

    assert not os.path.exists(ended.told["directory"])


def test_a_fork_of_the_caller_cleans_up_nothing() -> None:
    """Not by leaving the block, not at its exit: what the parent made stays the parent's."""
    told = play("""
    with ts.TeeOrchestrator() as tee:
        paths = tee.create_broadcast("bytes", 2)
        pid = os.fork()
        if pid == 0:
            try:
                tee.__exit__(None, None, None)
            finally:
                os._exit(7)
        os.waitpid(pid, 0)
        tell(there=[path.exists() for path in paths])
        readers = [reader("now", path) for path in paths]
        start(tee, "bytes", producer(1000))
        tell(got=[got(each_reader)[0] for each_reader in readers], well=tee.wait("bytes", 10).well)
    tell(left=left())
    """)

    assert told == {"there": [True, True], "got": [1000, 1000], "well": True, "left": []}


def test_a_caller_that_is_killed_takes_the_worker_along() -> None:
    """SIGKILL to the caller: the worker is gone within a second (the harness looks)."""
    play(
        """
    tee = ts.TeeOrchestrator()
    read, write = os.pipe()
    tee.create_broadcast("bytes", 2)
    tee.start_broadcast("bytes", read)
    os.kill(os.getpid(), signal.SIGKILL)
    """,
        expect=-9,
    )


# -- traps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trap", ["link", "link to a FIFO", "file", "nothing"])
def test_the_worker_writes_into_nothing_but_a_fifo(trap: str) -> None:
    """Something else stands at the place of an endpoint: the broadcast fails with its name and writes nothing."""
    told = play(f"""
    victim = Path(tempfile.tempdir, "victim")
    victim.write_text("untouched")
    with stage(), ts.TeeOrchestrator() as tee:
        endpoint = tee.create_broadcast("bytes", 2)[1]
        endpoint.unlink()
        if {trap!r} == "link":
            endpoint.symlink_to(victim)
        elif {trap!r} == "link to a FIFO":
            foreign = tee.create_broadcast("foreign", 2)[0]
            endpoint.symlink_to(foreign)
            waiting = os.open(foreign, os.O_RDONLY | os.O_NONBLOCK)
        elif {trap!r} == "file":
            endpoint.write_text("untouched")
        read, write = os.pipe()
        os.write(write, b"secret")
        tee.start_broadcast("bytes", read)
        os.close(read)
        os.close(write)
        pid = worker("bytes").pid
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        tell(texts=[path.read_text() for path in (victim, endpoint) if path.is_file()])
        if {trap!r} == "link to a FIFO":
            tell(foreign=os.read(waiting, 100).decode())
            os.close(waiting)
        report = tee.wait("bytes", 10)
        tell(well=report.well, reason=report.reason, bytes=report.bytes, name=endpoint.name)
    victim.unlink()
    """)

    assert set(told["texts"]) == {"untouched"}
    assert told.get("foreign", "") == ""
    assert (told["well"], told["bytes"]) == (False, 0)
    assert told["name"] in told["reason"]


def test_a_program_that_dies_in_the_middle_is_one_that_left() -> None:
    """SIGKILL to a reader: nobody can tell it from one that leaves; the others get everything."""
    told = play(f"""
    size = {4 * MIB}
    with stage(), ts.TeeOrchestrator() as tee:
        dies, a, b = map(reader, ["told", "now", "now"], tee.create_broadcast("bytes", ["dies", "a", "b"]))
        start(tee, "bytes", producer(size))
        opened(dies)
        dies.kill()
        dies.communicate()
        tell(got=[got(a), got(b)], right=right(size))
        report = tee.wait("bytes", 10)
        tell(end=each(report)["dies"][1], well=report.well)
    """)

    assert told["got"] == [told["right"]] * 2
    assert (told["end"], told["well"]) == ("left", True)


def test_a_workflow_runs_beside_a_broadcast() -> None:
    """Neither holds the other one's pipes open: both come to their ends while the other is under way."""
    told = play("""
    def produce(state):
        for number in range(1000):
            print(number)

    def consume(state):
        return {"sum": sum(map(int, sys.stdin))}

    graph = ts.StateGraph()
    graph.add_node("producer", run=produce, streams={"stdout": "numbers"})
    graph.add_node("consumer", run=consume, streams={"stdin": "numbers"})
    graph.add_edge("producer", "consumer")
    graph.set_entry_point("producer")
    graph.set_finish_point("consumer")
    with stage(), ts.TeeOrchestrator() as tee:
        readers = [reader("now", path) for path in tee.create_broadcast("bytes", 2)]
        read, write = os.pipe()
        tee.start_broadcast("bytes", read)
        os.close(read)
        opened(*readers)
        os.write(write, b"before ")
        tell(sum=graph.compile().run().state["sum"])
        os.write(write, b"after")
        os.close(write)
        tell(got=[got(each_reader)[0] for each_reader in readers], well=tee.wait("bytes", 10).well)
    """)

    assert told == {"sum": 499_500, "got": [12, 12], "well": True}
