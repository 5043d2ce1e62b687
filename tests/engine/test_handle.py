"""A run in the caller's hand: its channels read and fed while it goes on, its end awaited, its cancelling.

Everything forks, so everything runs in a fresh interpreter; `untouched` proves that nothing of a run is left.
"""

from __future__ import annotations

import harness
import pytest

NODES = """
from concurrent.futures import CancelledError, TimeoutError as WaitTimeout

def numbers(state):
    for number in range(state["count"]):
        print(number)
    return {"written": state["count"]}

def double(state):
    for line in sys.stdin:
        print(2 * int(line))
    return {"doubled": True}

def total(state):
    return {"total": sum(map(int, sys.stdin))}

def forever(state):
    number = 0
    while True:
        print(number)
        number += 1

def fails(state):
    print("one", flush=True)
    raise ValueError("half-way")

def raised(call):
    try:
        call()
    except BaseException as error:
        return [type(error).__name__, str(error)]
"""


def run(script: str, **options: object) -> dict[str, object]:
    return harness.run(NODES + script, **options).told  # type: ignore[arg-type]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_the_caller_reads_a_channel_beside_its_node() -> None:
    """Both get every byte, in order; the result is there after the end of the channel."""
    told = run(
        """
app = ts.pipeline(numbers, double, total)
with untouched():
    with app.start({"count": 50_000}) as run:
        read = [int(line) for line in run.open("numbers>double")]
        state = dict(run.result().state)
tell(same=read == list(range(50_000)), state=state)
"""
    )
    assert told["same"]
    assert told["state"] == {"count": 50_000, "written": 50_000, "doubled": True, "total": 2 * sum(range(50_000))}


def test_a_channel_of_the_caller_alone_is_a_bare_pipe() -> None:
    """No fan-out worker stands in it (L10), and the figures are the caller's own."""
    told = run(
        """
with untouched(), ts.pipeline(numbers, stdout="out").start({"count": 10_000}) as run:
    whole = run.open("out", "rb").read()
    figures = run.result().channels["out"]
tell(bytes=[len(whole), figures.bytes], counted=[each.counted for each in figures.consumers.values()])
"""
    )
    size = len("".join(f"{number}\n" for number in range(10_000)))
    assert told == {"bytes": [size, size], "counted": ["caller"]}


def test_two_channels_of_one_section_can_be_read_one_after_the_other() -> None:
    """While the caller waits for one, what comes on the other is taken in: no deadlock below the limit."""
    told = run(
        """
def both(state):
    for number in range(100_000):
        print(number)
        print(-number, file=sys.stderr)

graph = ts.StateGraph()
graph.add_node("both", run=both, streams={"stdout": "out", "stderr": "err"})
graph.set_entry_point("both").set_finish_point("both")
app = graph.compile(read=["out", "err"])
with untouched(), app.start() as run:
    out, err = run.open("out"), run.open("err")
    last = [int(line) for line in err][-1]
    first = sum(int(line) for line in out)
tell(last=last, first=first)
"""
    )
    assert told == {"last": -99_999, "first": sum(range(100_000))}


def test_leaving_the_loop_is_leaving_early() -> None:
    """The endless producer is stopped by its broken pipe and has ended well (L7)."""
    told = run(
        """
with untouched(), ts.pipeline(forever, stdout="out").start() as run:
    for line in run.open("out"):
        if line == "1000\\n":
            break
tell(status=run.result().nodes["forever"].status.name, run=run.result().status)
"""
    )
    assert told == {"status": "STOPPED", "run": "finished"}


def test_a_cut_channel_never_ends_like_a_whole_one() -> None:
    """What came before is read; then the read raises, by name, and the block raises the run's own failure."""
    told = run(
        """
lines = []
def read():
    with ts.pipeline(fails, stdout="out").start() as run:
        for line in run.open("out"):
            lines.append(line)
with untouched():
    try:
        read()
    except ts.WorkflowFailed as failed:
        tell(lines=lines, node=failed.primary.node, message=failed.primary.message, during=repr(failed.__context__))
"""
    )
    assert told["lines"] == ["one\n"]
    assert (told["node"], told["message"]) == ("fails", "half-way")
    assert "UpstreamFailed" in str(told["during"])


def test_a_channel_of_a_later_section_can_be_opened_first() -> None:
    """Its first read carries the run through everything before it."""
    told = run(
        """
graph = ts.StateGraph()
graph.add_node("plain", run=lambda state: {"count": 5})
graph.add_node("numbers", run=numbers, streams={"stdout": "lines"})
graph.add_node("total", run=total, streams={"stdin": "lines"})
graph.set_entry_point("plain").add_edge("plain", "numbers").add_edge("numbers", "total").set_finish_point("total")
with untouched(), graph.compile().start() as run:
    read = run.open("lines").read()
tell(read=read, state=dict(run.result().state))
"""
    )
    assert told["read"] == "0\n1\n2\n3\n4\n"
    assert told["state"] == {"count": 5, "written": 5, "total": 10}


def test_what_cannot_be_opened_is_refused() -> None:
    """An unknown channel, a mode for writing, a second time, and one whose bytes have gone by."""
    told = run(
        """
with untouched(), ts.pipeline(numbers, double, total).start({"count": 3}) as run:
    answers = [raised(lambda: run.open("numbers>doubel")), raised(lambda: run.open("double>total", "w"))]
    file = run.open("double>total")
    answers += [raised(lambda: run.open("double>total"))]
    file.readline()
    answers += [raised(lambda: run.open("numbers>double"))]
    file.read()
tell(answers=answers)
"""
    )
    unknown, mode, twice, late = told["answers"]  # type: ignore[misc]
    assert unknown[0] == mode[0] == "ValueError"
    assert "did you mean 'numbers>double'" in unknown[1]
    assert twice[0] == late[0] == "RuntimeError"
    assert "carries bytes already" in late[1]


def test_a_full_channel_that_only_the_caller_could_read_is_no_silent_stall() -> None:
    """`result` says which one, and closing it lets the run end."""
    told = run(
        """
config = ts.ParallelConfig(strategy="process", streams=ts.StreamSettings(buffer_limit=4096))
with untouched(), ts.pipeline(forever, stdout="out", parallel_config=config).start() as run:
    file = run.open("out")
    file.readline()
    answer = raised(run.result)
    file.close()
    status = run.result().status
tell(answer=answer, status=status)
"""
    )
    assert told["answer"][0] == "RuntimeError"  # type: ignore[index]
    assert "channel 'out' is open and full" in told["answer"][1]  # type: ignore[index]
    assert told["status"] == "finished"


# -- feeding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        'iter(f"{n}\\n" for n in range(50_000))',
        '[f"{n}\\n".encode() for n in range(50_000)]',
        '"".join(f"{n}\\n" for n in range(50_000))',
        'open(path, "rb")',
        "open(path)",
    ],
)
def test_a_channel_is_fed_by_what_the_caller_has(source: str) -> None:
    """Iterables of str and bytes, one text, a file of bytes and one of text."""
    told = run(
        f"""
import tempfile
with tempfile.NamedTemporaryFile("w") as file:
    file.write("".join(f"{{n}}\\n" for n in range(50_000)))
    file.flush()
    path = file.name
    source = {source}
    with untouched():
        result = ts.pipeline(double, total, stdin="in").run(feed={{"in": source}})
    if hasattr(source, "close"):
        source.close()
tell(total=result.state["total"], bytes=result.channels["in"].bytes)
"""
    )
    assert told == {"total": 2 * sum(range(50_000)), "bytes": len("".join(f"{n}\n" for n in range(50_000)))}


def test_one_caller_feeds_and_reads_more_than_any_pipe_holds() -> None:
    """Both ends are served in one wait."""
    told = run(
        """
SIZE = 24 * 1024 * 1024
def copy(state):
    while True:
        block = sys.stdin.buffer.read(65536)
        if not block:
            return
        sys.stdout.buffer.write(block)

whole = hashlib.sha256()
app = ts.pipeline(copy, ("again", copy), stdin="in", stdout="out")
with untouched(), app.start(feed={"in": stream("s", SIZE)}) as run:
    file = run.open("out", "rb")
    for block in iter(lambda: file.read(1 << 20), b""):
        whole.update(block)
tell(same=whole.hexdigest() == digest("s", SIZE))
"""
    )
    assert told == {"same": True}


def test_a_feed_that_raises_is_a_failure_with_a_name() -> None:
    """Whoever reads below gets `UpstreamFailed`, never an end of file (L2); the cause is the exception itself."""
    told = run(
        """
def feed():
    yield "1\\n"
    raise KeyError("gone")

def careless(state):
    try:
        read = sys.stdin.read()
    except ts.UpstreamFailed as error:
        print("told:", error.culprit, file=sys.stderr)
        raise
    return {"whole": read}

try:
    with untouched():
        ts.pipeline(double, careless, stdin="in").run(feed={"in": feed()}, echo_output=False)
except ts.WorkflowFailed as failed:
    tell(
        primary=[failed.primary.node, failed.primary.error_type, repr(failed.primary.__cause__)],
        nodes={name: figures.status.name for name, figures in failed.result.nodes.items()}
        if hasattr(failed.result, "nodes") else {},
        said=failed.result.nodes["careless"].output_tail["stderr"],
        state=dict(failed.result.state),
    )
"""
    )
    assert told["primary"] == ["feed of 'in'", "KeyError", "KeyError('gone')"]
    assert told["nodes"] == {"double": "CONSEQUENCE", "careless": "CONSEQUENCE"}
    assert told["said"] == "told: feed of 'in'"
    assert told["state"] == {}


def test_a_reader_that_leaves_ends_its_feed() -> None:
    """An endless feed does not keep the run alive, and is no failure."""
    told = run(
        """
import itertools
def head(state):
    return {"first": sys.stdin.readline()}
with untouched():
    result = ts.pipeline(head, stdin="in").run(feed={"in": (f"{n}\\n" for n in itertools.count())})
tell(first=result.state["first"], status=result.nodes["head"].status.name)
"""
    )
    assert told == {"first": "0\n", "status": "DONE"}


def test_a_silent_pipe_as_a_feed_holds_nobody() -> None:
    """It is asked only when it has something: the reader's leaving is noticed while nothing comes."""
    told = run(
        """
def head(state):
    return {"first": sys.stdin.readline()}
read, write = os.pipe()
os.write(write, b"only\\n")
with open(read, "rb") as source, untouched():
    state = dict(ts.pipeline(head, stdin="in").run(feed={"in": source}).state)
os.close(write)
tell(state=state)
"""
    )
    assert told == {"state": {"first": "only\n"}}


def test_a_fed_channel_may_have_several_readers() -> None:
    """A fan-out worker stands behind the caller's pipe then."""
    told = run(
        """
graph = ts.StateGraph()
for name in ("left", "right"):
    graph.add_node(name, run=lambda state, node: {node: len(sys.stdin.readlines())}, streams={"stdin": "in"})
graph.add_node("start", run=lambda state: None).add_node("join", run=lambda state, parallel_results: {
    each.branch: each[each.branch] for each in parallel_results})
graph.set_entry_point("start").add_parallel_edge("start", ["left", "right"], fan_in="join", stream_mode="broadcast")
graph.set_finish_point("join")
with untouched():
    tell(state=dict(graph.compile(feed=["in"]).run(feed={"in": ["a\\nb\\n", b"c\\n"]}).state))
"""
    )
    assert told["state"] == {"left": 3, "right": 3}


def test_wrong_feeds_are_refused_before_anything_runs() -> None:
    """None given, one too many, one that is no source, a channel that a node writes, one that nobody has."""
    told = run(
        """
app = ts.pipeline(double, total, stdin="in")
def compiled(**ends):
    graph = ts.StateGraph()
    graph.add_node("numbers", run=numbers, streams={"stdout": "lines"})
    graph.add_node("total", run=total, streams={"stdin": "lines"})
    graph.set_entry_point("numbers").add_edge("numbers", "total").set_finish_point("total")
    return graph.compile(**ends)
with untouched():
    tell(answers=[
        raised(app.run),
        raised(lambda: app.start(feed={"in": [], "other": []})),
        raised(lambda: app.run(feed={"in": 3})),
        raised(lambda: compiled(feed=["lines"])),
        raised(lambda: compiled(read=["nothing"])),
        raised(lambda: ts.pipeline(numbers, stdout="out").run({"count": 1})),
    ])
"""
    )
    answers = told["answers"]
    assert {kind for kind, _text in answers} == {"WorkflowError"}  # type: ignore[attr-defined]
    texts = [text for _kind, text in answers]  # type: ignore[attr-defined]
    parts = ["nothing was given", "'other' is not fed", "not by 3", "which node 'numbers' writes", "no node has"]
    for text, part in zip(texts, [*parts, "app.start"]):
        assert part in text


# -- the habits of a Future -------------------------------------------------------------------------------------------


def test_it_begins_when_first_asked_and_tells_its_end_once() -> None:
    """pending, running, done; a callback is called at the end, or at once after it."""
    told = run(
        """
with untouched():
    run = ts.pipeline(numbers, total).start({"count": 10})
    calls = []
    run.add_done_callback(lambda handle: calls.append(handle is run))
    before = [run.running(), run.cancelled(), list(calls)]
    total = run.result(timeout=60).state["total"]
    run.add_done_callback(lambda handle: calls.append("at once"))
    after = [run.done(), run.running(), run.cancel(), run.exception()]
tell(before=before, total=total, calls=calls, after=after)
"""
    )
    assert told["before"] == [False, False, []]
    assert told["total"] == 45
    assert told["calls"] == [True, "at once"]
    assert told["after"] == [True, False, False, None]


def test_asking_moves_the_run_on() -> None:
    """A caller that only asks sees the end."""
    told = run(
        """
with untouched():
    run = ts.pipeline(numbers, total).start({"count": 1000})
    asked = 0
    while not run.done():
        asked += 1
    tell(total=run.result(0).state["total"])
"""
    )
    assert told == {"total": sum(range(1000))}


def test_a_failure_is_returned_or_raised_and_not_raised_again_by_the_block() -> None:
    """`exception` gives it; `result` and the block raise the same."""
    told = run(
        """
app = ts.pipeline(fails, total)
with untouched():
    with app.start() as run:
        error = run.exception()
    again = raised(run.result)
    def unasked():
        with app.start():
            pass
    tell(error=type(error).__name__, same=raised(unasked)[0], again=again[0])
"""
    )
    assert told == {"error": "WorkflowFailed", "same": "WorkflowFailed", "again": "WorkflowFailed"}


def test_a_time_limit_ends_the_waiting_and_not_the_run() -> None:
    """It goes on, and cancelling ends it: workers are gone at once, the result is a `CancelledError`."""
    told = run(
        """
app = ts.pipeline(forever, ("sink", lambda state: sum(1 for line in sys.stdin) and None))
with untouched():
    with app.start() as run:
        waited = raised(lambda: run.result(timeout=0.05))
        state = [run.running(), run.done()]
        ended = [run.cancel(), run.cancel(), run.cancelled(), run.done(), run.running()]
        answer = raised(run.result)[0]
tell(waited=waited[0], state=state, ended=ended, answer=answer)
"""
    )
    assert told == {
        "waited": "TimeoutError",
        "state": [True, False],
        "ended": [True, False, True, True, False],
        "answer": "CancelledError",
    }


def test_an_exception_in_the_block_cancels_the_run_in_order() -> None:
    """The workers have had their SIGTERM; the exception is the caller's own."""
    told = run(
        """
def polite(state):
    def leave(number, frame):
        Path(state["path"]).write_text("asked")
        os._exit(0)
    signal.signal(signal.SIGTERM, leave)
    print("ready", flush=True)
    while True:
        signal.pause()

import tempfile
with tempfile.TemporaryDirectory() as folder:
    path = str(Path(folder, "asked"))
    with untouched():
        def read():
            with ts.pipeline(polite, stdout="out").start({"path": path}) as run:
                run.open("out").readline()
                raise LookupError("mine")
        answer = raised(read)
    tell(answer=answer, asked=Path(path).read_text())
"""
    )
    assert told == {"answer": ["LookupError", "mine"], "asked": "asked"}


def test_a_cancelled_run_takes_no_further_step() -> None:
    """Plain nodes that would have followed do not run."""
    told = run(
        """
graph = ts.StateGraph()
graph.add_node("numbers", run=forever, streams={"stdout": "lines"})
graph.add_node("total", run=total, streams={"stdin": "lines"})
graph.add_node("after", run=lambda state: tell(after=True))
graph.set_entry_point("numbers").add_edge("numbers", "total").add_edge("total", "after").set_finish_point("after")
with untouched(), graph.compile().start() as run:
    run.open("lines").readline()
    run.cancel()
tell(cancelled=run.cancelled())
"""
    )
    assert told == {"cancelled": True}


def test_the_hosts_own_handlers_are_in_place_between_two_reads() -> None:
    """Its SIGTERM handler sees a signal that comes while its own code runs (L8)."""
    told = run(
        """
seen = []
signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
with untouched(), ts.pipeline(forever, stdout="out").start() as run:
    run.open("out").readline()
    os.kill(os.getpid(), signal.SIGTERM)
tell(seen=seen, status=run.result().status)
"""
    )
    assert told == {"seen": [15], "status": "finished"}


def test_a_callback_that_raises_is_logged_and_harms_nothing() -> None:
    """The result is there all the same."""
    told = run(
        """
import logging
class Kept(logging.Handler):
    def emit(self, record):
        tell(logged=record.getMessage())
logging.getLogger("teastreams").addHandler(Kept())
with untouched(), ts.pipeline(numbers, total).start({"count": 3}) as run:
    run.add_done_callback(lambda handle: 1 / 0)
tell(total=run.result().state["total"])
"""
    )
    assert told["total"] == 3
    assert "raised" in str(told["logged"])


def test_time_that_the_caller_takes_is_no_stall() -> None:
    """The limit is for what nobody can explain; a caller at work explains it."""
    told = run(
        """
settings = ts.StreamSettings(stall_timeout=0.3)
app = ts.pipeline(numbers, stdout="out", parallel_config=ts.ParallelConfig(strategy="process", streams=settings))
with untouched(), app.start({"count": 400_000}) as run:
    file = run.open("out")
    file.readline()
    until = time.monotonic() + 0.8
    while time.monotonic() < until:
        pass
    rest = sum(1 for line in file)
tell(rest=rest)
"""
    )
    assert told == {"rest": 399_999}


def test_ctrl_c_while_the_caller_waits_for_bytes_ends_everything_in_order() -> None:
    """The read raises KeyboardInterrupt once every worker has gone; the block passes it on."""
    told = run(
        """
heard, say = os.pipe()

def interrupts(state):
    print("ready", flush=True)
    os.read(heard, 1)
    os.kill(os.getppid(), signal.SIGINT)
    signal.pause()

def read():
    with ts.pipeline(interrupts, stdout="out").start() as run:
        for line in run.open("out"):
            tell(line=line)
            os.write(say, b"x")

with untouched():
    tell(answer=raised(read)[0])
"""
    )
    assert told == {"line": "ready\n", "answer": "KeyboardInterrupt"}


def test_ctrl_c_inside_a_feed_is_the_callers_own() -> None:
    """Its code runs with the host's handlers, and nothing is left."""
    told = run(
        """
def feed():
    yield "one\\n"
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

with untouched():
    tell(answer=raised(lambda: ts.pipeline(total, stdin="in").run(feed={"in": feed()}))[0])
"""
    )
    assert told == {"answer": "KeyboardInterrupt"}


def test_a_handle_that_is_forgotten_leaves_nothing() -> None:
    """Its workers end with it."""
    run(
        """
with untouched():
    run = ts.pipeline(forever, stdout="out").start()
    file = run.open("out")
    file.readline()
    del run, file
    import gc
    gc.collect()
"""
    )
