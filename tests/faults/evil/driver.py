"""Tries evil nodes, one host process after another, and says what was wrong with each attempt.

Runs inside one warm interpreter (see `harness`). Every attempt is forked from it: the *host* builds a graph with the
evil node in it, runs it, runs an ordinary graph after it, and writes down what it saw. This process then looks from
outside: did the host end in time, did it print anything, is any process of it left?

    direct      evil ══▶ told                     ordinary ══▶ evil
    broadcast   evil ══▶ told, raw                ordinary ══▶ evil, witness

*told* reads through sys.stdin and can be told of a failure, *raw* reads descriptor 0 and cannot.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterator

import inside
import warm

import teastreams as ts
from evil import descriptors, endings, errors, interpreter, processes, results, streams
from evil.catalogue import CASES, STREAM, WELL, Attempt, Case, Failed, note, write

THEMES = (descriptors, endings, errors, interpreter, processes, results, streams)
SHAPES = ("direct", "broadcast")
# Who spoils what an import needs finds nothing loaded beforehand; for the others it is most of the time of an attempt.
COLD = (descriptors.__name__, interpreter.__name__)


def main(attempts: list[str]) -> None:
    """Try each of `attempts` ("name role shape") and tell its violations, if it has any, under its name."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not any(CASES[attempt.split()[0]].deed.__module__ in COLD for attempt in attempts):
        warm.load()
    for attempt in attempts:
        name, role, shape = attempt.split()
        started = time.monotonic()
        found = isolated(CASES[name], role, shape)
        inside.tell(**{attempt: {"violations": found, "seconds": round(time.monotonic() - started, 3)}})


def isolated(case: Case, role: str, shape: str) -> list[str]:
    """One attempt in a host of its own; what was wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        Attempt.name, Attempt.role, Attempt.folder = case.name, role, Path(folder)
        found, seen = warm.attempt(lambda: _host(case, role, shape), Attempt.folder, escapes=case.escapes)
        return found if seen is None else [*found, *violations(case, role, seen, _notes())]


# -- the host ---------------------------------------------------------------------------------------------------


def _host(case: Case, role: str, shape: str) -> dict[str, Any]:
    seen: dict[str, Any] = {"untouched": []}
    seen.update(_first(graph(case, role, shape), seen["untouched"]))
    seen.update(_second(seen["untouched"]))
    return seen


def _first(app: ts.CompiledGraph, touched: list[str]) -> dict[str, Any]:
    started = time.monotonic()
    ended: dict[str, Any] = {}
    try:
        with inside.untouched():
            ended = _run(app)
    except AssertionError as changed:
        touched.append(str(changed))
    return {**ended, "seconds": time.monotonic() - started}


def _run(app: ts.CompiledGraph) -> dict[str, Any]:
    try:
        return {"how": "well", "keys": [str(key) for key in app.run(echo_output=False).state]}
    except ts.WorkflowFailed as failure:
        cause = failure.primary
        told = {error.node: error.message for error in failure.collateral}
        text = str(failure).encode(errors="backslashreplace")
        return {
            "how": "failed",
            "cause": cause.node,
            "phase": cause.phase,
            "message": str(cause).encode(errors="backslashreplace").decode(),
            "others": told,
            "keys": [str(key) for key in failure.result.state],
            "text_bytes": len(text),
        }
    except BaseException as other:
        return {"how": f"{type(other).__name__}: {other}"}


def _second(touched: list[str]) -> dict[str, Any]:
    try:
        with inside.untouched():
            return {"second": ordinary().run().state["n"]}
    except BaseException as failure:
        touched.append(f"the second run: {failure!r}")
        return {"second": None}


def ordinary() -> ts.CompiledGraph:
    """A graph as everybody has it."""
    g = ts.StateGraph()
    g.add_node("p", lambda state: print("ordinary"), streams={"stdout": "x"})
    g.add_node("c", lambda state: {"n": len(sys.stdin.read())}, streams={"stdin": "x"})
    g.add_edge("p", "c")
    return g.set_entry_point("p").compile()


def graph(case: Case, role: str, shape: str) -> ts.CompiledGraph:
    """The graph of an attempt: `evil` stands in its role, with others beside it."""
    settings = ts.StreamSettings(**{"grace_seconds": 0.2, "drain_seconds": 0.2, **case.settings})
    g = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy="process", streams=settings, **case.config))
    if role == "producer":
        names = ["told", "raw"][: SHAPES.index(shape) + 1]
        g.add_node("evil", _evil_producer(case), streams={"stdout": "x"})
        bodies: dict[str, Callable[[dict[str, Any]], Any]] = {"told": _reader("told"), "raw": _raw_reader}
    else:
        names = ["evil", "witness"][: SHAPES.index(shape) + 1]
        g.add_node("ordinary", _producer, streams={"stdout": "x"})
        bodies = {"evil": _evil_consumer(case), "witness": _reader("witness")}
    first = "evil" if role == "producer" else "ordinary"
    for name in names:
        g.add_node(name, bodies[name], streams={"stdin": "x"})
    if len(names) == 1:
        g.add_edge(first, names[0])
    else:
        g.add_parallel_edge(first, names, stream_mode="broadcast")
    return g.set_entry_point(first).compile()


def _producer(state: dict[str, Any]) -> dict[str, Any]:
    note(pid=os.getpid(), node="ordinary")
    write(STREAM)
    sys.stdout.flush()
    if CASES[Attempt.name].needs_company:
        time.sleep(1000)
    return {"made": len(STREAM)}


def _evil_producer(case: Case) -> Callable[[dict[str, Any]], Any]:
    def node(state: dict[str, Any]) -> Any:
        note(pid=os.getpid(), node="evil")
        write(STREAM)
        sys.stdout.flush()
        note(sent=Attempt.sent_bytes, digest=Attempt.sent.hexdigest())
        value = case.deed(state)
        with suppress(OSError):  # the node may have no descriptor left for it
            note(sent=Attempt.sent_bytes, digest=Attempt.sent.hexdigest())
        return {"evil": 1} if value is None else value

    return node


def _evil_consumer(case: Case) -> Callable[[dict[str, Any]], Any]:
    def node(state: dict[str, Any]) -> Any:
        note(pid=os.getpid(), node="evil")
        first = sys.stdin.buffer.readline()
        if not STREAM.startswith(first):
            note(wrong="the first line is not the producer's")
        value = case.deed(state)
        return {"evil": 1} if value is None else value

    return node


def _reader(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: _read_all(name, lambda: sys.stdin.buffer.read(65536))


def _raw_reader(state: dict[str, Any]) -> dict[str, Any]:
    return _read_all("raw", lambda: os.read(0, 65536))


def _read_all(name: str, read: Callable[[], bytes]) -> dict[str, Any]:
    note(pid=os.getpid(), node=name)
    whole, count, head = hashlib.sha256(), 0, b""
    ended = "end of file"
    try:
        for block in iter(read, b""):
            whole.update(block)
            count += len(block)
            head = (head + block)[: len(STREAM)] if len(head) < len(STREAM) else head
    except ts.UpstreamFailed:
        ended = "upstream failed"
        raise
    finally:
        note(reader=name, ended=ended, read=count, digest=whole.hexdigest(), prefix=STREAM.startswith(head))
    return {name: count}


# -- what is checked --------------------------------------------------------------------------------------------


def violations(case: Case, role: str, seen: dict[str, Any], notes: list[dict[str, Any]]) -> list[str]:
    """Everything that is wrong with one attempt."""
    return [
        *seen["untouched"],
        *_wrong_end(case, case.ends[role], seen),
        *_wrong_bytes(case, role, seen, notes),
        *(each["wrong"] for each in notes if "wrong" in each),
        *([] if seen["second"] == 9 else [f"the second run read {seen['second']} bytes"]),
        *([] if seen["seconds"] < case.limit_seconds else [f"it took {seen['seconds']:.1f} s"]),
    ]


def _wrong_end(case: Case, end: Any, seen: dict[str, Any]) -> Iterator[str]:
    if seen["how"] not in ("well", "failed"):
        yield f"it reached the caller raw: {seen['how']}"
    elif end is WELL and seen["how"] != "well":
        yield f"it should end well, but {seen}"
    elif isinstance(end, Failed):
        if seen["how"] != "failed":
            yield "it should fail, but ended well"
            return
        wanted = end.culprit or "evil"
        whole = seen["phase"] in ("timeout", "stall")  # then the section as a whole is named
        if (
            wanted not in seen["cause"].split(", ")
            or (seen["cause"] != wanted and not whole)
            or seen["phase"] not in end.phases
        ):
            yield f"the cause should be {wanted} ({end.phases}), but {seen}"
        yield from (
            f"{text!r} is not in {seen['message'][:500]!r}" for text in end.texts if text not in seen["message"]
        )
        if seen["keys"]:
            yield f"a failed section left state: {seen['keys']}"
        if seen["text_bytes"] > 1_000_000:
            yield f"the error's text has {seen['text_bytes']} bytes"


def _wrong_bytes(case: Case, role: str, seen: dict[str, Any], notes: list[dict[str, Any]]) -> Iterator[str]:
    """I1 and I2: exact when the run ended well, a prefix and no end of file when not."""
    sent = [(each["sent"], each["digest"]) for each in notes if "sent" in each]
    for each in (each for each in notes if "reader" in each):
        if not each["prefix"]:
            yield f"{each['reader']} read other bytes than were written"
        complete = (role == "consumer" and case.others) or seen["how"] == "well"
        if complete and each["ended"] != "end of file":
            yield f"{each['reader']} was not given its end of file"
        if complete and role == "consumer" and each["read"] != len(STREAM):
            yield f"{each['reader']} read {each['read']} of {len(STREAM)} bytes"
        if complete and role == "producer" and sent and (each["read"], each["digest"]) != sent[-1]:
            yield f"{each['reader']} read {each['read']} bytes, not the {sent[-1][0]} that were written"
        told = seen["how"] == "failed" and role == "producer" and each["reader"] == "told"
        if told and each["ended"] == "end of file" and seen["cause"] == "evil" and not case.ends_stream:
            yield "a reader that can be told took a cut input for a whole one"


def _notes() -> list[dict[str, Any]]:
    path = Attempt.folder / "notes"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
