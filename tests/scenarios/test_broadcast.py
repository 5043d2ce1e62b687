"""One stream, several consumers, inside real workflows: what arrives, and what one consumer's fate is to the others.

Consumers meet at gates (plain pipes that forked nodes inherit), never at clocks: a consumer that must not hold
up another one begins when that other one has come to its end, so that a broadcast which does it wrong hangs, and the
deadline of the harness tells.
"""

from __future__ import annotations

import textwrap
from typing import Any

import harness
import pytest

MIB = 1024 * 1024

STAGE = '''
import multiprocessing

class Gate:
    """Shut until somebody opens it; then open for all."""

    def __init__(self):
        self.ends = os.pipe()

    def open(self):
        os.write(self.ends[1], b"!" * 100)

    def wait(self):
        os.read(self.ends[0], 1)

    def close(self):
        os.close(self.ends[0])
        os.close(self.ends[1])

def keyed(size):
    """A producer of the keyed stream."""
    def produce(state):
        for block in stream("key", size):
            sys.stdout.buffer.write(block)
        return {"produced": size}
    return produce

def lines(count):
    """A producer of numbered lines."""
    def produce(state):
        for number in range(count):
            sys.stdout.write(f"line {number}\\n")
        return {"produced": count}
    return produce

def take(state, node):
    """A consumer of everything: [bytes, SHA-256]."""
    whole, size = hashlib.sha256(), 0
    for data in iter(lambda: sys.stdin.buffer.read(65536), b""):
        whole.update(data)
        size += len(data)
    return {node: [size, whole.hexdigest()]}

def first_line(state, node):
    """A consumer that leaves early."""
    return {node: sys.stdin.readline()}

def after(gate, run):
    """That consumer, which begins when the gate opens."""
    def wait_then_run(state, node):
        gate.wait()
        return run(state, node)
    return wait_then_run

def then(run, gate):
    """That consumer, which opens the gate when it has come to its end."""
    def run_then_open(state, node):
        value = run(state, node)
        gate.open()
        return value
    return run_then_open

def broadcast(produce, consumers, **settings):
    """A workflow of one producer; consumers map names to a function, or to (function, delivery)."""
    streams = ts.StreamSettings(**settings)
    graph = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=streams))
    graph.add_node("producer", run=produce, streams={"stdout": "bytes"})
    for name, consumer in consumers.items():
        run, delivery = consumer if isinstance(consumer, tuple) else (consumer, {})
        graph.add_node(name, run=run, streams={"stdin": {"from": "bytes", **delivery}})
    graph.add_node("collect", run=collect)
    graph.add_parallel_edge("producer", list(consumers), "collect", stream_mode="broadcast")
    graph.set_entry_point("producer")
    graph.set_finish_point("collect")
    return graph.compile()

def collect(parallel_results):
    return {result.branch: result.get(result.branch) for result in parallel_results}

def fanout(channel):
    """The fan-out worker of a channel, while it lives."""
    return next(p for p in multiprocessing.active_children() if repr(channel) in p.name)

def statuses(result):
    return {name: figures.status.name for name, figures in result.nodes.items()}

def figures(result, channel="bytes"):
    return {name: vars(each) for name, each in result.channels[channel].consumers.items()}
'''


def play(scene: str, **options: Any) -> dict[str, Any]:
    """Run a scene on the stage above; what it told."""
    return harness.run(STAGE + textwrap.dedent(scene), **options).told


# -- what arrives -----------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-INT-001")
@pytest.mark.parametrize("overflow", ["block", "spill"])
def test_two_consumers_get_identical_bytes(overflow: str) -> None:
    """Both get exactly the producer's bytes, and the books say so."""
    told = play(f"""
    size = {8 * MIB + 13}
    with untouched():
        result = broadcast(keyed(size), {{"a": take, "b": take}}, overflow={overflow!r}).run()
    tell(state=result.state, right=[size, digest("key", size)], size=size, figures=figures(result),
         bytes=result.channels["bytes"].bytes)
    """)

    assert told["state"]["a"] == told["right"]
    assert told["state"]["b"] == told["right"]
    assert told["bytes"] == told["size"]
    for consumer in told["figures"].values():
        assert (consumer["bytes"], consumer["end"], consumer["counted"]) == (told["size"], "delivered", "fan-out")


@pytest.mark.scenario("001.3-INT-002")
def test_five_consumers_get_identical_bytes() -> None:
    """All five get exactly the producer's bytes."""
    told = play(f"""
    size, names = {3 * MIB + 1}, ["a", "b", "c", "d", "e"]
    with untouched():
        result = broadcast(keyed(size), dict.fromkeys(names, take)).run()
    tell(got=[result.state[name] for name in names], right=[size, digest("key", size)])
    """)

    assert told["got"] == [told["right"]] * 5


@pytest.mark.scenario("001.3-INT-003")
def test_every_consumer_sees_the_order_of_the_producer() -> None:
    """Numbered lines come as 0, 1, 2 and so on, to everybody."""
    told = play("""
    def numbers(state, node):
        expected = 0
        for line in sys.stdin:
            if line != f"line {expected}\\n":
                raise ValueError(f"{line!r} where line {expected} was due")
            expected += 1
        return {node: expected}

    with untouched():
        result = broadcast(lines(50_000), dict.fromkeys("abc", numbers)).run()
    tell(state=result.state)
    """)

    assert [told["state"][name] for name in "abc"] == [50_000] * 3


@pytest.mark.scenario("QA-001.3-INT-004")
def test_large_chunks_are_neither_cut_nor_corrupted() -> None:
    """Messages of 64 KiB and far more, each written by one call, arrive whole and one after the other."""
    told = play("""
    SIZES = [65_535, 65_536, 65_537, 131_072, 200_003, 1_048_576, 3_000_001] * 2

    def produce(state):
        for number, size in enumerate(SIZES):
            payload = b"".join(stream(f"message {number}", size))
            sys.stdout.buffer.write(size.to_bytes(8, "big") + payload)

    def check(state, node):
        for number, size in enumerate(SIZES):
            head = sys.stdin.buffer.read(8)
            payload = sys.stdin.buffer.read(size)
            right = int.from_bytes(head, "big") == size and hashlib.sha256(payload).hexdigest() == digest(
                f"message {number}", size
            )
            if not right:
                raise ValueError(f"message {number} is damaged")
        return {node: [len(SIZES), sys.stdin.buffer.read() == b""]}

    with untouched():
        result = broadcast(produce, {"a": check, "b": check, "c": check}).run()
    tell(state=result.state, count=len(SIZES))
    """)

    assert [told["state"][name] for name in "abc"] == [[told["count"], True]] * 3


# -- quick and slow ---------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.3-INT-007")
def test_a_slow_reader_does_not_hold_up_a_fast_producer() -> None:
    """10 KB: the producer is done in less than a second, before the slow one reads at all; the slow one gets all."""
    told = play("""
    gate = Gate()
    app = broadcast(keyed(10_000), {"quick": take, "slow": after(gate, take)})
    with untouched():
        for event in app.stream():
            if isinstance(event, ts.NodeFinished) and event.node == "producer":
                tell(seconds=event.seconds)
                gate.open()
            if isinstance(event, ts.RunFinished):
                tell(state=event.result.state, right=[10_000, digest("key", 10_000)])
    """)

    assert told["seconds"] < 1.0
    assert told["state"]["quick"] == told["state"]["slow"] == told["right"]


SLOW_READER = f"""
    size, gate = {6 * MIB}, Gate()
    quick, slow = then(take, gate), after(gate, take)
    app = broadcast(keyed(size), {{"quick": quick, "slow": (slow, {{"overflow": "spill", "buffer_limit": 100_000}})}})
    with untouched():
        result = app.run()
    tell(state=result.state, right=[size, digest("key", size)], slow=figures(result)["slow"], size=size)
    """


@pytest.mark.scenario("001.3-INT-008")
def test_the_portable_fan_out_copes_with_a_slow_reader() -> None:
    """Without any Linux extra, a reader that begins when the other one is done still gets every byte."""
    told = play(SLOW_READER, environment={"TEASTREAMS_PORTABLE": "1"})

    assert told["state"]["quick"] == told["state"]["slow"] == told["right"]
    assert told["slow"]["spilled_bytes"] > told["size"] // 2


@pytest.mark.scenario("001.3-INT-007")
def test_the_end_of_a_quick_reader_never_waits_for_a_slow_one() -> None:
    """The quick one has read to its end, verdict included, before the slow one has read its first byte."""
    told = play(SLOW_READER)

    assert told["state"]["quick"] == told["state"]["slow"] == told["right"]
    assert told["slow"]["end"] == "delivered"


def test_a_slow_reader_that_blocks_gets_everything_too() -> None:
    """Policy block: the producer waits for a reader that takes 1000 bytes at a time, and nobody loses one."""
    told = play(f"""
    size = {2 * MIB}

    def sip(state, node):
        whole = hashlib.sha256()
        for data in iter(lambda: os.read(0, 1000), b""):
            whole.update(data)
        return {{node: whole.hexdigest()}}

    app = broadcast(keyed(size), {{"quick": take, "slow": (sip, {{"buffer_limit": 65_536}})}})
    with untouched():
        result = app.run()
    tell(state=result.state, right=digest("key", size), size=size, slow=figures(result)["slow"])
    """)

    assert told["state"]["quick"] == [told["size"], told["right"]]
    assert told["state"]["slow"] == told["right"]
    assert told["slow"]["high_water_bytes"] <= 65_536


def test_a_stopped_reader_is_served_from_disk() -> None:
    """SIGSTOP to one consumer: the rest ends, memory stays bounded; after SIGCONT it gets every byte."""
    told = play(f"""
    size, seen = {48 * MIB}, {{}}

    def memory(pid):
        \"\"\"The most that a process ever had of its own, in KiB.\"\"\"
        status = Path(f"/proc/{{pid}}/status")
        text = status.read_text() if status.exists() else "VmHWM: 0 kB"
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))

    def stops_itself(state, node):
        first = sys.stdin.buffer.read(1000)
        os.kill(os.getpid(), signal.SIGSTOP)
        whole = hashlib.sha256(first)
        for data in iter(lambda: sys.stdin.buffer.read(65536), b""):
            whole.update(data)
        return {{node: whole.hexdigest()}}

    policy = {{"overflow": "spill", "buffer_limit": 1_000_000}}
    app = broadcast(keyed(size), {{"quick": (take, policy), "stopped": (stops_itself, policy)}})
    with untouched():
        for event in app.stream():
            if isinstance(event, ts.NodeStarted):
                seen[event.node] = event.pid
            if isinstance(event, ts.NodeFinished) and event.node == "quick":
                tell(grown_kib=memory(fanout("bytes").pid) - memory(os.getpid()))
                os.waitid(os.P_PID, seen["stopped"], os.WSTOPPED | os.WNOWAIT)  # blocks until it is
                os.kill(seen["stopped"], signal.SIGCONT)
            if isinstance(event, ts.RunFinished):
                tell(state=event.result.state, right=digest("key", size), size=size,
                     stopped=figures(event.result)["stopped"])
    """)

    assert told["state"]["quick"] == [told["size"], told["right"]]
    assert told["state"]["stopped"] == told["right"]
    assert told["stopped"]["spilled_bytes"] > told["size"] // 2
    assert told["grown_kib"] < 16 * 1024


# -- leaving ----------------------------------------------------------------------------------------------------------


def test_one_that_leaves_early_changes_nothing_for_the_others() -> None:
    """The others get everything, the producer is not stopped, and the run is well."""
    told = play("""
    with untouched():
        result = broadcast(lines(200_000), {"early": first_line, "a": take, "b": take}).run()
    text = "".join(f"line {number}\\n" for number in range(200_000)).encode()
    tell(state=result.state, statuses=statuses(result), right=[len(text), hashlib.sha256(text).hexdigest()],
         ends={name: each["end"] for name, each in figures(result).items()})
    """)

    assert told["state"]["early"] == "line 0\n"
    assert told["state"]["a"] == told["state"]["b"] == told["right"]
    assert told["state"]["produced"] == 200_000
    assert told["statuses"]["producer"] == told["statuses"]["early"] == "DONE"
    assert told["ends"] == {"early": "left", "a": "delivered", "b": "delivered"}


def test_when_all_have_left_the_producer_is_stopped_early_and_well() -> None:
    """A producer without end ends when its last reader has gone; that is no failure (L7)."""
    told = play("""
    def endless(state):
        while True:
            sys.stdout.write("again\\n")

    with untouched():
        result = broadcast(endless, dict.fromkeys("abc", first_line)).run()
    tell(state=result.state, statuses=statuses(result))
    """)

    assert told["statuses"]["producer"] == "STOPPED"
    assert [told["state"][name] for name in "abc"] == ["again\n"] * 3


def test_a_producer_goes_on_for_the_last_reader() -> None:
    """Readers that leave one by one stop nobody: the last one decides."""
    told = play("""
    gate = Gate()

    def produce(state):
        sys.stdout.write("one\\n")
        sys.stdout.flush()
        gate.wait()  # the other two have left
        sys.stdout.write("two\\n")
        return {"produced": "both"}

    def both(state, node):
        return {node: sys.stdin.read()}

    app = broadcast(produce, {"a": first_line, "b": first_line, "last": both})
    left = set()
    with untouched():
        for event in app.stream():
            if isinstance(event, ts.NodeFinished) and event.node in "ab":
                left.add(event.node)
                if len(left) == 2:
                    gate.open()
            if isinstance(event, ts.RunFinished):
                tell(state=event.result.state)
    """)

    assert told["state"]["last"] == "one\ntwo\n"
    assert told["state"]["produced"] == "both"


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_killed_consumer_is_named_and_the_others_complete() -> None:
    """SIGKILL to one of three in the middle of the stream: the other two end well, with every byte."""
    told = play(f"""
    size = {4 * MIB}

    def dies(state, node):
        sys.stdin.buffer.read(100_000)
        os.kill(os.getpid(), signal.SIGKILL)

    app = broadcast(keyed(size), {{"a": take, "victim": dies, "b": take}})
    with untouched():
        try:
            app.run()
        except ts.WorkflowFailed as failed:
            tell(primary=failed.primary.node, message=failed.primary.message, code=failed.primary.exit_code,
                 collateral=[each.node for each in failed.collateral], statuses=statuses(failed.result),
                 figures=figures(failed.result), size=size)
    """)

    assert (told["primary"], told["code"]) == ("victim", -9)
    assert "killed by signal 9" in told["message"]
    assert told["collateral"] == []
    assert {told["statuses"][name] for name in ("producer", "a", "b")} == {"DONE"}
    assert told["figures"]["a"]["bytes"] == told["figures"]["b"]["bytes"] == told["size"]
    assert told["figures"]["victim"]["end"] == "left"


def test_a_killed_fan_out_breaks_only_those_it_was_not_finished_with() -> None:
    """The channel is the cause; the reader served before is fine, the others are told that their input is cut."""
    told = play(f"""
    size, gate = {6 * MIB}, Gate()
    spill = {{"overflow": "spill", "buffer_limit": 100_000}}

    def told_of_it(state, node):
        gate.wait()
        try:
            sys.stdin.buffer.read()
        except ts.UpstreamFailed as failure:
            tell(culprit=failure.culprit, reason=failure.reason)
            raise

    def sees_only_the_kernels_end(state, node):
        gate.wait()
        for data in iter(lambda: os.read(0, 65536), b""):
            pass
        return {{node: "believes it is whole"}}

    app = broadcast(keyed(size), {{
        "served": take, "told": (told_of_it, spill), "blind": (sees_only_the_kernels_end, spill)}})
    with untouched():
        try:
            for event in app.stream():
                if isinstance(event, ts.NodeFinished) and event.node == "served":
                    os.kill(fanout("bytes").pid, signal.SIGKILL)
                    gate.open()
        except ts.WorkflowFailed as failed:
            tell(primary=failed.primary.node, message=failed.primary.message, code=failed.primary.exit_code,
                 collateral=sorted(each.node for each in failed.collateral), statuses=statuses(failed.result))
    """)

    assert told["primary"] == "fan-out of 'bytes'"
    assert (told["code"], told["message"].split(",")[0]) == (-9, "killed by signal 9 (SIGKILL)")
    assert told["culprit"] == "fan-out of 'bytes'"
    assert "signal 9" in told["reason"]
    assert told["collateral"] == ["blind", "told"]
    assert told["statuses"] == {"producer": "DONE", "served": "DONE", "told": "CONSEQUENCE", "blind": "TAINTED"}


def test_a_failed_producer_is_told_to_every_consumer() -> None:
    """Each of them raises UpstreamFailed with the producer's name instead of seeing an end of file."""
    told = play("""
    def fails(state):
        sys.stdout.write("half of it\\n")
        raise ValueError("boom")

    def listens(state, node):
        try:
            sys.stdin.read()
        except ts.UpstreamFailed as failure:
            tell(**{node: failure.culprit})
            raise

    with untouched():
        try:
            broadcast(fails, dict.fromkeys("abc", listens)).run()
        except ts.WorkflowFailed as failed:
            tell(primary=failed.primary.node, type=failed.primary.error_type,
                 collateral=sorted(each.node for each in failed.collateral))
    """)

    assert (told["primary"], told["type"]) == ("producer", "ValueError")
    assert told["collateral"] == ["a", "b", "c"]
    assert [told[name] for name in "abc"] == ["producer"] * 3


# -- policies ---------------------------------------------------------------------------------------------------------

DROPPING = """
    gate, count = Gate(), 100_000

    def numbers(state, node):
        return {node: [int(line[5:]) for line in sys.stdin]}

    app = broadcast(lines(count), {
        "quick": then(take, gate), "slow": (after(gate, numbers), {"overflow": POLICY, "buffer_limit": 5000})})
    with untouched():
        result = app.run()
    got = result.state["slow"]
    tell(total=result.channels["bytes"].bytes, count=count, got=len(got), first=got[:3], last=got[-3:],
         ascending=got == sorted(set(got)), got_bytes=sum(len(f"line {number}\\n") for number in got),
         slow=figures(result)["slow"])
    """


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_what_a_policy_drops_is_counted_to_the_byte(policy: str) -> None:
    """Delivered and dropped are all that was produced, in bytes and in records; what came is whole and in order."""
    told = play(DROPPING.replace("POLICY", repr(policy)))

    slow = told["slow"]
    assert slow["bytes"] == told["got_bytes"]
    assert slow["bytes"] + slow["dropped_bytes"] == told["total"]
    assert slow["dropped_records"] == told["count"] - told["got"]
    assert slow["dropped_records"] > 10_000
    assert told["ascending"]
    if policy == "drop_oldest":
        assert told["last"] == [99_997, 99_998, 99_999]
    else:
        assert told["first"] == [0, 1, 2]


def test_policy_fail_names_the_consumer_that_fell_behind() -> None:
    """The run fails because of that consumer, in phase overflow; the other one has everything."""
    told = play(f"""
    size, gate = {4 * MIB}, Gate()

    def told_of_it(state, node):
        gate.wait()
        try:
            sys.stdin.buffer.read()
        except ts.UpstreamFailed as failure:
            tell(reason=failure.reason)
            raise

    app = broadcast(keyed(size), {{
        "quick": then(take, gate), "laggard": (told_of_it, {{"overflow": "fail", "buffer_limit": 100_000}})}})
    with untouched():
        try:
            app.run()
        except ts.WorkflowFailed as failed:
            tell(primary=failed.primary.node, phase=failed.primary.phase, message=failed.primary.message,
                 statuses=statuses(failed.result), figures=figures(failed.result), size=size)
    """)

    assert (told["primary"], told["phase"]) == ("fan-out of 'bytes'", "overflow")
    assert "'laggard'" in told["message"]
    assert "buffer_limit" in told["reason"]
    assert told["statuses"] == {"producer": "DONE", "quick": "DONE", "laggard": "CONSEQUENCE"}
    assert told["figures"]["laggard"]["end"] == "overflowed"
    assert told["figures"]["quick"]["bytes"] == told["size"]


# -- many -------------------------------------------------------------------------------------------------------------


def test_sixty_four_consumers_of_one_channel() -> None:
    """The largest broadcast there is: everybody gets everything."""
    told = play("""
    size, names = 200_000, [f"reader_{number}" for number in range(64)]
    with untouched():
        result = broadcast(keyed(size), dict.fromkeys(names, take)).run()
    right = [size, digest("key", size)]
    tell(wrong=[name for name in names if result.state[name] != right], consumers=len(figures(result)))
    """)

    assert told == {"wrong": [], "consumers": 64}


def test_broadcasts_of_broadcasts_and_of_stderr() -> None:
    """stdout and stderr of one node are two broadcasts, a consumer's own output is a third, and sections follow on."""
    told = play("""
    def produce(state):
        for number in range(10_000):
            sys.stdout.write(f"out {number}\\n")
            sys.stderr.write(f"err {number}\\n")

    def double(state):
        for line in sys.stdin:
            sys.stdout.write(line * 2)

    def count(state, node):
        return {node: sum(1 for _line in sys.stdin)}

    def words(state, node):
        return {node: sorted({line.split()[0] for line in sys.stdin})}

    def everything(parallel_results):
        return {key: value for result in parallel_results for key, value in result.items()}

    def again(state):
        for _number in range(state["twice_a"]):
            sys.stdout.write("second section\\n")

    graph = ts.StateGraph()
    graph.add_node("producer", run=produce, streams={"stdout": "out", "stderr": "err"})
    graph.add_node("out_count", run=count, streams={"stdin": "out"})
    graph.add_node("doubler", run=double, streams={"stdin": "out", "stdout": "twice"})
    for name in ("twice_a", "twice_b"):
        graph.add_node(name, run=count, streams={"stdin": "twice"})
    graph.add_node("err_count", run=count, streams={"stdin": "err"})
    graph.add_node("err_words", run=words, streams={"stdin": "err"})
    members = ["out_count", "doubler", "err_count", "err_words"]
    graph.add_parallel_edge("producer", members, "between", stream_mode="broadcast")
    graph.add_edge("doubler", "twice_a", stream_mode="broadcast")
    graph.add_edge("doubler", "twice_b", stream_mode="broadcast")
    graph.add_node("between", run=everything)
    graph.add_edge("between", "producer_two")
    graph.add_node("producer_two", run=again, streams={"stdout": "more"})
    for name in ("more_a", "more_b"):
        graph.add_node(name, run=count, streams={"stdin": "more"})
    graph.add_parallel_edge("producer_two", ["more_a", "more_b"], "end", stream_mode="broadcast")
    graph.add_node("end", run=everything)
    graph.set_entry_point("producer")
    graph.set_finish_point("end")
    with untouched():
        result = graph.compile().run()
    tell(state=result.state, channels=sorted(result.channels),
         ends=sorted({each.end for channel in result.channels.values() for each in channel.consumers.values()}))
    """)

    counts = [told["state"][name] for name in ("out_count", "err_count", "twice_a", "twice_b", "more_a", "more_b")]
    assert counts == [10_000, 10_000, 20_000, 20_000, 20_000, 20_000]
    assert told["state"]["err_words"] == ["err"]
    assert told["channels"] == ["err", "more", "out", "twice"]
    assert told["ends"] == ["delivered"]
