"""A run under asyncio: other tasks go on, cancelling ends it in order, no thread is started."""

from __future__ import annotations

import harness

NODES = """
import asyncio

def numbers(state):
    for number in range(state["count"]):
        print(number)

def total(state):
    return {"total": sum(map(int, sys.stdin))}

def forever(state):
    while True:
        print("more")

def sink(state):
    for line in sys.stdin:
        pass

def quiet(state):
    signal.pause()
"""


def test_two_runs_and_a_task_go_on_together() -> None:
    """Both results are right, and the event loop has turned meanwhile; nothing is left, no thread was there."""
    told = harness.run(
        NODES
        + """
turns, threads = 0, set()
async def turn():
    global turns
    while True:
        turns += 1
        threads.add(threading.active_count())
        await asyncio.sleep(0)

async def main():
    ticking = asyncio.ensure_future(turn())
    app = ts.pipeline(numbers, total)
    first, second = await asyncio.gather(app.arun({"count": 20_000}), app.arun({"count": 10_000}))
    ticking.cancel()
    return [first.state["total"], second.state["total"]]

with untouched():
    totals = asyncio.run(main())
tell(totals=totals, turned=turns > 10, threads=sorted(threads))
"""
    ).told
    assert told == {"totals": [sum(range(20_000)), sum(range(10_000))], "turned": True, "threads": [1]}


def test_waiting_costs_no_processor_time() -> None:
    """The event loop sleeps in its selector until something comes: some rounds, not thousands."""
    told = harness.run(
        NODES
        + """
def slow(state):
    time.sleep(0.5)
    print("done")

async def main():
    loop = asyncio.get_running_loop()
    rounds, once = [0], loop._run_once
    def counted():
        rounds[0] += 1
        once()
    loop._run_once = counted
    await ts.pipeline(slow, sink).arun()
    return rounds[0]

with untouched():
    tell(rounds=asyncio.run(main()))
""",
        environment={"TEASTREAMS_PORTABLE": "0"},
    ).told
    assert told["rounds"] < 200


def test_a_cancelled_task_ends_its_run_in_order() -> None:
    """The workers are asked (their cleaning up is seen), and are gone when the task has ended."""
    told = harness.run(
        NODES
        + """
import tempfile
def polite(state):
    def leave(number, frame):
        Path(state["path"]).write_text("asked")
        os._exit(0)
    signal.signal(signal.SIGTERM, leave)
    Path(state["ready"]).write_text("")
    while True:
        signal.pause()

async def main(state):
    task = asyncio.ensure_future(ts.pipeline(polite, sink).arun(state))
    while not Path(state["ready"]).exists():
        await asyncio.sleep(0.001)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"

with tempfile.TemporaryDirectory() as folder:
    state = {"path": str(Path(folder, "path")), "ready": str(Path(folder, "ready"))}
    with untouched():
        answer = asyncio.run(main(state))
    tell(answer=answer, asked=Path(state["path"]).read_text())
"""
    ).told
    assert told == {"answer": "cancelled", "asked": "asked"}


def test_a_stream_of_events_ends_as_the_ordinary_one() -> None:
    """The same kinds of events, the result last; leaving it early ends every node."""
    told = harness.run(
        NODES
        + """
app = ts.pipeline(numbers, total)
async def main():
    return [type(event).__name__ async for event in app.astream({"count": 100})]

async def early():
    events = ts.pipeline(forever, sink).astream()
    async for event in events:
        if isinstance(event, ts.SectionStarted):
            break
    await events.aclose()

with untouched():
    seen = asyncio.run(main())
    asyncio.run(early())
    expected = [type(event).__name__ for event in app.stream({"count": 100})]
tell(seen=sorted(seen), expected=sorted(expected), last=seen[-1])
"""
    ).told
    assert told["seen"] == told["expected"]
    assert told["last"] == "RunFinished"


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    """With the cause; a limit of time counts while the event loop waits."""
    told = harness.run(
        NODES
        + """
def fails(state):
    raise ValueError("no")
settings = ts.StreamSettings(timeout=0.2)
late = ts.pipeline(quiet, sink, parallel_config=ts.ParallelConfig(strategy="process", streams=settings))
def error_of(app):
    try:
        asyncio.run(app.arun())
    except ts.WorkflowFailed as failed:
        return [failed.primary.node, failed.primary.phase]
with untouched():
    tell(errors=[error_of(ts.pipeline(fails, sink)), error_of(late)])
"""
    ).told
    assert told["errors"] == [["fails", "run"], ["quiet, sink", "timeout"]]


def test_a_feed_serves_an_asynchronous_run() -> None:
    """The caller's iterable is asked as the pipe takes it."""
    told = harness.run(
        NODES
        + """
app = ts.pipeline(total, stdin="in")
with untouched():
    tell(total=asyncio.run(app.arun(feed={"in": (f"{n}\\n" for n in range(30_000))})).state["total"])
"""
    ).told
    assert told == {"total": sum(range(30_000))}


def test_a_feed_from_a_device_that_epoll_refuses() -> None:
    """/dev/null is always ready, and ends at once."""
    told = harness.run(
        NODES
        + """
app = ts.pipeline(total, stdin="in")
with open(os.devnull, "rb") as source, untouched():
    tell(total=asyncio.run(app.arun(feed={"in": source})).state["total"])
"""
    ).told
    assert told == {"total": 0}
