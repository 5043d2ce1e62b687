"""runtime/node/records.py: lines and records of real nodes, through real pipes."""

from __future__ import annotations

import harness
import pytest

NODES = """
import array, json, math
from teastreams.testing import run_node
VALUES = [{"a": 1, "b": [None, True,
          1.5, "grüße \\u2028 \\U0001f600"]}, [], "", 0, "line\\nline", -1e300, {"": {}}] * 300
BYTES = [b"", b"a", b"x" * 100_000, bytes(range(256)), b"\\n"] * 20
def through(writer, reader):
    app = ts.pipeline(writer, reader)
    with untouched():
        return app.run().state
"""


@pytest.mark.parametrize(("codec", "values"), [("jsonl", "VALUES"), ("pickle", "VALUES"), ("bytes", "BYTES")])
def test_records_arrive_as_they_were_written(codec: str, values: str) -> None:
    """Equal, in order, all of them; both sides say how many."""
    told = harness.run(
        NODES
        + f"""
def writer(state, context):
    return {{"written": context.write_records(iter({values}), {codec!r})}}
def reader(state, context):
    got = list(context.records({codec!r}))
    return {{"same": got == {values}, "read": len(got)}}
tell(**through(writer, reader), expected=len({values}))
"""
    ).told

    assert told["same"]
    assert told["written"] == told["read"] == told["expected"]


def test_lines_are_what_print_wrote_and_the_other_way_round() -> None:
    """One may stand on one side alone: on the pipe there are lines and nothing else."""
    told = harness.run(
        NODES
        + """
LINES = ["a", "", "grüße", "x" * 70_000] * 50
def printer(state):
    for line in LINES: print(line)
def writer(state, context):
    print("before")
    context.write_lines([LINES[0], b"bytes", *LINES[1:]])
    print("after")
def lines(state, context):
    return {"got": [line.decode() for line in context.lines()]}
def text(state):
    return {"got": [line.rstrip("\\n") for line in sys.stdin]}
tell(printed=through(printer, lines)["got"] == LINES)
tell(written=through(writer, text)["got"] == ["before", LINES[0], "bytes", *LINES[1:], "after"])
"""
    ).told

    assert told == {"printed": True, "written": True}


WRONG = {
    "a line that is no JSON": ('b"1\\n2\\n{broken\\n4\\n"', '"jsonl"', "the line at byte 4 is no JSON"),
    "a value over two lines": ('b"[1,\\n2]\\n"', '"jsonl"', "the line at byte 0 is no JSON"),
    "two values on a line": ('b"1 2\\n"', '"jsonl"', "the line at byte 0 is no JSON"),
    "no UTF-8": ('b"1\\n\\xff\\n"', '"jsonl"', "the line at byte 2 is no JSON"),
    "a frame that is cut": ('b"\\0\\0\\0\\5abc"', '"bytes"', "the stream ends within the record at byte 0"),
    "a frame over the limit": ('b"\\0\\0\\0\\5abcde"', '"bytes", limit_bytes=4', "announced with 5 bytes, at most 4"),
    "a line over the limit": ('b"abcde\\n"', '"jsonl", limit_bytes=4', "has more than 4 bytes"),
    "no pickle": ('b"\\0\\0\\0\\1x"', '"pickle"', "is no pickle (UnpicklingError"),
    "another codec": ('b""', '"xml"', "there is no codec 'xml'; use one of jsonl, pickle, bytes"),
}


@pytest.mark.parametrize(("stdin", "arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_record_is_an_error_that_names_it(stdin: str, arguments: str, message: str) -> None:
    """The node fails with it; what came before was handed out."""
    told = harness.run(
        NODES
        + f"""
def node(state, context):
    for record in context.records({arguments}): print(record, flush=True)
ended = run_node(node, stdin={stdin})
tell(status=ended.status, message=ended.exception.message, out=ended.stdout.decode())
"""
    ).told

    assert told["status"] == "failed"
    assert message in told["message"]
    assert told["out"] == ("1\n2\n" if "{broken" in stdin else "1\n" if "xff" in stdin else "")


def test_empty_lines_are_no_records_and_white_space_is_none_either() -> None:
    """As those who write JSON lines by hand have it; the last line may lack its newline."""
    told = harness.run(
        NODES
        + """
def node(state, context):
    return {"got": list(context.records())}
tell(got=run_node(node, stdin=b'\\n 1 \\n\\r\\n{"a": 2}\\r\\n  \\n3').update["got"])
"""
    ).told

    assert told["got"] == [1, {"a": 2}, 3]


def test_what_cannot_be_written_is_an_error_of_its_writer() -> None:
    """A newline in a line, a text as bytes, a value that JSON does not know; an array is taken for its bytes."""
    told = harness.run(
        NODES
        + """
def fails(values, codec=None):
    def node(state, context):
        context.write_lines(values) if codec is None else context.write_records(values, codec)
    return run_node(node).exception.message
tell(line=fails(["a", "b\\n"]), number=fails(["a", 5]))
tell(text=fails(["a"], "bytes"), json=fails([{1, 2}], "jsonl"), codec=fails([], "xml"))
def arrays(state, context):
    context.write_records([array.array("i", [1, 2]), memoryview(b"ab")], "bytes")
tell(array=run_node(arrays).stdout == b"\\0\\0\\0\\x08" + bytes(array.array("i", [1, 2])) + b"\\0\\0\\0\\2ab")
"""
    ).told

    assert "the line 'b\\n' has a newline in it" in told["line"]
    assert "a line is str or bytes, not int" in told["number"]
    assert "bytes-like object is required" in told["text"]
    assert "set is not JSON serializable" in told["json"]
    assert "no codec 'xml'" in told["codec"]
    assert told["array"]


def test_an_end_of_file_is_a_verdict_here_as_well() -> None:
    """A writer that fails in the middle: its reader gets what came, and UpstreamFailed."""
    told = harness.run(
        NODES
        + """
def writer(state, context):
    def lines():
        yield from ["a", "b"]
        raise RuntimeError("in the middle")
    print("first", flush=True)
    context.write_lines(lines())
def reader(state, context):
    got = []
    try:
        for line in context.lines(): got.append(line.decode())
    except ts.UpstreamFailed as failed:
        tell(got=got, culprit=failed.culprit)
        raise
try:
    through(writer, reader)
except ts.WorkflowFailed as failed:
    tell(cause=str(failed.primary))
"""
    ).told

    assert told["got"][0] == "first"
    assert told["culprit"] == "writer"
    assert "in the middle" in told["cause"]


def test_a_slow_record_is_seen_before_the_next_one_is_there() -> None:
    """The reader answers through a pipe of its own: the writer goes on only when its record has arrived."""
    told = harness.run(
        NODES
        + """
answers, answer = os.pipe()
def writer(state, context):
    def records():
        for number in range(5):
            time.sleep(0.01)  # slower than a batch may be gathered
            yield number
            if number: assert os.read(answers, 1) == b"."
    context.write_records(records())
def reader(state, context):
    got = []
    for record in context.records():
        got.append(record)
        os.write(answer, b".")
    return {"got": got}
tell(got=ts.pipeline(writer, reader).run().state["got"])
"""
    ).told

    assert told["got"] == [0, 1, 2, 3, 4]


def test_leaving_early_is_no_error() -> None:
    """The writer stops by a broken pipe, as print does (L7)."""
    told = harness.run(
        NODES
        + """
def writer(state, context):
    context.write_lines("x" * 99 for _ in range(1_000_000))
def reader(state, context):
    return {"first": next(context.lines()).decode()}
tell(**through(writer, reader))
"""
    ).told

    assert told["first"] == "x" * 99


@pytest.mark.parametrize("codec", ["jsonl", "pickle", "bytes"])
def test_a_value_is_what_it_was_when_it_came(codec: str) -> None:
    """Who yields one object again and again, changed, does not find the last state of it in every record."""
    told = harness.run(
        NODES
        + f"""
def writer(state, context):
    def values():
        value = {{"n": 0}} if {codec!r} != "bytes" else bytearray(b"0")
        for number in range(100):
            value.__setitem__("n" if {codec!r} != "bytes" else 0, number)
            yield value
    context.write_records(values(), {codec!r})
def reader(state, context):
    return {{"got": [record["n" if {codec!r} != "bytes" else 0] for record in context.records({codec!r})]}}
tell(**through(writer, reader))
"""
    ).told

    assert told["got"] == list(range(100))


def test_what_was_read_ahead_is_not_lost_between_two_iterators() -> None:
    """A first line, then the rest: one stream, one place in it. Another codec in the middle is refused."""
    told = harness.run(
        NODES
        + """
def node(state, context):
    head = next(context.lines()).decode()
    for line in context.lines():
        second = line.decode()
        break
    try:
        context.records("jsonl")
    except ts.RecordError as error:
        refused = str(error)
    got = [head, second, *(line.decode() for line in context.lines())]
    return {"got": got, "refused": refused, "end": list(context.lines())}
tell(**run_node(node, stdin=b"a\\nb\\nc\\nd\\n").update)
"""
    ).told

    assert told["got"] == ["a", "b", "c", "d"]
    assert told["end"] == []
    assert "read as lines and cannot become jsonl" in told["refused"]
