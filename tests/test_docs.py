"""The documents say what is so: every key, every default, every error, every example in them.

A fenced block of YAML that has `nodes:` is a whole document: it must load, and it is run on a small log file. After a
line `<!-- wrong: part of the message -->` it must be refused with that message instead. A fenced block of Python is run
in a fresh interpreter; after a line `<!-- fragment -->` it must only compile, after `<!-- continued -->` it runs behind
the last block of its document that had no such line. What the troubleshooting tables quote is
what a user sees: every message in them is provoked here.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Optional

import harness
import pytest

import teastreams as ts
from teastreams.core.frames import Kind
from teastreams.core.graph import MAX_CONSUMERS, MAX_NODES, OVERFLOWS
from teastreams.core.lifecycle import TABLE, Event, State
from teastreams.core.machine.findings import SUBJECTS
from teastreams.core.outcome import Status
from teastreams.workflow.document import MAX_DEPTH, MAX_FILE_BYTES
from teastreams.workflow.keys import PLACES
from teastreams.workflow.load import load_bytes

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
REFERENCE = (ROOT / "docs" / "YAML_REFERENCE.md").read_text("utf-8")
FAILURES = (ROOT / "docs" / "failures.md").read_text("utf-8")
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
DESIGN = (ROOT / "docs" / "design.md").read_text("utf-8")
LOG = "ERROR one\nfine\nERROR three is the longest\n"


@dataclass(frozen=True)
class Block:
    """One fenced block: the document it stands in, its line there, its language, its text.

    `remark` is the HTML comment on the line before it, or "".
    """

    document: str
    line: int
    language: str
    text: str
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    lines = path.read_text("utf-8").split("\n")
    start: Optional[int] = None
    for number, line in enumerate(lines):
        if line.startswith("```") and start is None:
            start = number
        elif line == "```" and start is not None:
            text = "".join(f"{each}\n" for each in lines[start + 1 : number])
            comment = re.fullmatch(r"<!-- (.*) -->", lines[start - 1])
            yield Block(path.name, start + 1, lines[start][3:], text, comment.group(1) if comment else "")
            start = None
    assert start is None, f"{path.name}:{start}: this block has no end"


BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
YAML = [block for block in BLOCKS if block.language == "yaml" and re.search(r"^nodes:", block.text, re.MULTILINE)]
WRONG = [block for block in YAML if block.remark.startswith("wrong: ")]
WHOLE = [block for block in YAML if block not in WRONG]
SHELL = [block for block in BLOCKS if block.language == "bash"]
PYTHON = [block for block in BLOCKS if block.language == "python"]
FRAGMENTS = [block for block in PYTHON if block.remark == "fragment"]
CONTINUED = [block for block in PYTHON if block.remark == "continued"]
PROGRAMS = [block for block in PYTHON if block not in FRAGMENTS]


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    level = heading.partition(" ")[0]
    start = text.index(f"\n{heading}\n") + len(heading) + 2
    end = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(text, start)
    return text[start : end.start() if end else len(text)]


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, below their heads, as cells."""
    tables = re.findall(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# -- what is in the fences --------------------------------------------------------------------------------------------


def test_there_is_something_to_check() -> None:
    """A change of the fences or remarks cannot silence these tests."""
    assert len(WHOLE) >= 6
    assert len(WRONG) >= 1
    assert len(PROGRAMS) >= 3
    remarks = {block.remark.partition(":")[0] for block in BLOCKS}
    assert {"", "wrong", "continued"} <= remarks <= {"", "wrong", "continued", "fragment"}


@pytest.mark.parametrize("block", WHOLE, ids=str)
def test_a_whole_document_is_valid(block: Block) -> None:
    """It loads without problems."""
    assert load_bytes(block.text.encode(), str(block))[1] == ()


RUN_ALL = """
documents, path = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
for name, text in documents.items():
    app = ts.YAMLEngine().load_from_string(text, name).compile(checkpointer=ts.MemoryCheckpointer())
    with untouched():
        result = app.run({"path": path})
        while result.pause is not None:
            result = app.resume()
    tell(**{name: dict(result.state)})
"""


@pytest.mark.slow
def test_whole_documents_run(tmp_path: Path) -> None:
    """All of them, on one small log file; what they found out about it is right."""
    log = tmp_path / "app.log"
    log.write_text(LOG)
    listed = tmp_path / "documents.json"
    listed.write_text(json.dumps({str(block): block.text for block in WHOLE}))
    told = harness.run(RUN_ALL, arguments=(str(listed), str(log))).told
    assert set(told) == {str(block) for block in WHOLE}
    for state in told.values():
        assert state.get("errors", 2) == 2
        assert state.get("longest", 27) == 27
        assert state.get("sum", 4950) == 4950
        assert state.get("complete", True) is True
        assert state.get("count", 100) in (100, 1000)
    keys = {key for state in told.values() for key in state}
    assert {"errors", "longest", "sum", "remarks", "complete", "count", "first"} <= keys


@pytest.mark.parametrize("block", WRONG, ids=str)
def test_a_document_that_is_shown_as_wrong_is_refused_as_shown(block: Block) -> None:
    """With the message of the remark; every line of a block of text below it is in what the user sees, too."""
    _graph, problems = load_bytes(block.text.encode(), str(block))
    seen = "\n".join(map(str, problems))
    assert block.remark.partition(": ")[2] in seen
    below = BLOCKS[BLOCKS.index(block) + 1]
    if below.language == "text":
        assert all(line in seen for line in below.text.splitlines())


def test_fragments_compile() -> None:
    """Though each is only a part of a program."""
    for block in FRAGMENTS:
        ast.parse(block.text, str(block))


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs(block: Block, tmp_path: Path) -> None:
    """In a fresh interpreter, in a folder with a small log file; what it asserts holds, and it leaves no process."""
    (tmp_path / "app.log").write_text(LOG)
    program = """
    os.chdir(sys.argv[3])
    with untouched():
        exec(compile(sys.argv[1], sys.argv[2], 'exec'), {'__name__': '__main__'})
    """
    harness.run(program, arguments=(begun(block) + block.text, str(block), str(tmp_path)))


@pytest.mark.parametrize("block", [block for block in SHELL if block.document == "cookbook.md"], ids=str)
def test_a_recipe_for_the_shell_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    """The block of text after it, apart from blanks: what programs pad differs between systems."""
    (tmp_path / "app.log").write_text(LOG)
    ended = harness.run_command(["bash", "-u", "-c", block.text], cwd=tmp_path)
    shown = BLOCKS[BLOCKS.index(block) + 1]
    assert shown.language == "text"
    assert ended.stdout.split() == shown.text.split()


def begun(block: Block) -> str:
    """The program that a continued block goes on from; nothing for others."""
    if block not in CONTINUED:
        return ""
    before = [each for each in PROGRAMS if each.document == block.document and each.line < block.line]
    return [each for each in before if each not in CONTINUED][-1].text + "\n\n"


def test_the_drawing_that_is_shown_is_the_one_that_is_made() -> None:
    """Of the first workflow in the README, as text, to the last character."""
    (readme,) = [block for block in WHOLE if block.document == "README.md"]
    drawing = ts.YAMLEngine().load_from_string(readme.text).compile().draw()
    assert drawing + "\n" in [block.text for block in BLOCKS if block.document == "commands.md"]


def test_the_subjects_of_doctor_are_explained() -> None:
    """Each in its order, with what is looked at."""
    commands = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert [cells[0].strip("`") for cells in rows(section(commands, "## doctor"))] == list(SUBJECTS)


# -- links ------------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors that a host of Markdown makes of the headings."""
    heads = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """To a file that is there, to a heading that it has."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if name.startswith(("http:", "https:")):
            continue
        goal = (path.parent / name) if name else path
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert broken == []


# -- the reference ----------------------------------------------------------------------------------------------------


@pytest.mark.scenario("001.5-DOC-002")
@pytest.mark.parametrize(
    "heading",
    ["Stream Channels", "Hybrid State + Stream Model", "Stream Broadcasting", "Limitations and Caveats"],
)
def test_the_reference_has_the_chapter(heading: str) -> None:
    """With more than a word in it, and with an example or a table."""
    text = section(REFERENCE, f"## {heading}")
    assert len(text.split()) > 100
    assert "```yaml" in text or rows(text)


@pytest.mark.scenario("001.5-DOC-002")
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_reference_lists_exactly_the_keys_there_are(place: Any) -> None:
    """One table for each kind of mapping: no key is missing, none is invented, each has a meaning."""
    table = rows(section(REFERENCE, f"### {place.name}"))
    assert sorted(cells[0].strip("`") for cells in table) == sorted(place.keys)
    assert all(all(cells) for cells in table)


@pytest.mark.scenario("001.5-DOC-002")
def test_the_trade_offs_are_in_a_table() -> None:
    """The rows of the epic, each with both models."""
    table = {cells[0]: cells[1:] for cells in rows(section(REFERENCE, "## Hybrid State + Stream Model"))}
    wanted = ("Data transfer", "Form", "Checkpoints and interrupts", "Backpressure", "Memory", "Use it for")
    assert all(len(table[aspect]) == 2 and all(table[aspect]) for aspect in wanted)


SETTINGS = "settings: {{parallel: {{{0}}}}}\nnodes: [{{name: a, run: return 1}}]\n"
WITH_A_KEY = {
    "settings.parallel": SETTINGS,
    "settings.parallel.streams": SETTINGS.replace("{0}", "streams: {{{0}}}"),
    "a node": "nodes:\n  - {{name: a, run: return 1{comma}{0}}}\n",
    "an edge": "nodes: [{{name: a, run: return 1}}]\nedges: [{{from: __start__, to: a{comma}{0}}}]\n",
}
STATED = [
    (place, cells[0].strip("`"), cells[2].strip("`"))
    for place in WITH_A_KEY
    for cells in rows(section(REFERENCE, f"### {place}"))
    if re.fullmatch(r"`[^`]+`", cells[2])
]


@pytest.mark.scenario("001.5-DOC-002")
@pytest.mark.parametrize(("place", "key", "value"), STATED)
def test_a_stated_default_is_the_real_one(place: str, key: str, value: str) -> None:
    """To write it changes nothing."""
    document = WITH_A_KEY[place]
    without, with_it = (declared(document.format(text, comma=", " if text else "")) for text in ("", f"{key}: {value}"))
    assert with_it == without


def test_the_important_defaults_are_stated() -> None:
    """The test above has something to compare."""
    assert {key for _, key, _ in STATED} >= {"strategy", "enabled", "buffer_limit", "overflow", "grace", "stream_mode"}


def declared(text: str) -> Any:
    """What a document declares, without its places and its code."""
    graph, problems = load_bytes(text.encode(), "w.yaml")
    assert graph is not None, problems
    nodes = tuple(replace(node, run=None, where=None, positions={}) for node in graph.nodes)
    edges = tuple(replace(edge, where=None, positions={}) for edge in graph.edges)
    return replace(graph, nodes=nodes, edges=edges, positions={}, strategy_given=False)


def test_the_limits_in_the_reference_are_the_real_ones() -> None:
    """Nodes, readers, size and depth of a document."""
    assert f"1 to {MAX_NODES} nodes" in REFERENCE
    assert f"at most {MAX_CONSUMERS}, read one channel" in REFERENCE
    assert MAX_FILE_BYTES == 2**20
    assert f"at most 1 MiB, {MAX_DEPTH} levels deep" in REFERENCE


# -- guarantees -------------------------------------------------------------------------------------------------------


def test_every_guarantee_has_a_program() -> None:
    """Each row of its tables leads to a heading, under which a program shows it; every policy has a row."""
    programs = [block.text for block in PROGRAMS]
    links = [re.fullmatch(r"\[(.+)\]\(#.+\)", cells[0]) for cells in rows(GUARANTEES)]
    names = [link.group(1) for link in links if link]
    assert len(names) == len(rows(GUARANTEES)) == 10
    assert {"direct", *OVERFLOWS} <= set(names)
    for name in names:
        shown = re.findall(r"```python\n(.*?)```", section(GUARANTEES, f"### {name}"), re.DOTALL)
        assert shown, name
        assert all(text in programs for text in shown), name
        assert any("assert " in text for text in shown), name


# -- troubleshooting --------------------------------------------------------------------------------------------------

TROUBLES = rows(TROUBLESHOOTING)
QUOTED = [cells[0].strip("`") for cells in TROUBLES if re.fullmatch(r"`[^`]*`", cells[0])]

PIPE = """
settings: {parallel: {strategy: process, streams: {enabled: true}}}
nodes:
  - {name: producer, streams: {stdout: lines}, run: print(1)}
  - {name: consumer, streams: {stdin: lines}, run: print(2)}
  - {name: other, run: print(3)}
"""
ANOTHER = "  - {name: other, "
UNPRODUCED = PIPE.replace("streams: {stdout: lines}, ", "")
TWO_PRODUCERS = PIPE.replace(ANOTHER, ANOTHER + "streams: {stdout: lines}, ")
THREADS = PIPE.replace("strategy: process", "strategy: thread")
MISTAKES = [
    UNPRODUCED,
    TWO_PRODUCERS,
    THREADS,
    PIPE + "edges:\n  - {from: producer, to: consumer, parallel: true, parallel_strategy: thread}\n",
    PIPE.replace("enabled: true", "enabled: false"),
    PIPE.replace("streams: {stdin: lines}, ", ""),
    PIPE.replace(ANOTHER, ANOTHER + "streams: {stdin: lines}, "),
    PIPE + "".join(f"  - {{name: n{n}, streams: {{stdin: lines}}, run: print(9)}}\n" for n in range(256)),
    PIPE.replace("{name: producer, ", "{name: producer, interrupt_after: true, "),
    PIPE.replace(ANOTHER, ANOTHER + "timeout: 1, "),
    PIPE.replace("enabled: true", "enabled: true, buffer_limit: 64K"),
    PIPE.replace("enabled: true", "enabled: true, buffersize: 64KiB"),
]

# What is seen while workflows run, provoked in one fresh interpreter. A producer and a consumer, code and settings.
RUNS = r"""
import resource, textwrap, warnings

def declared(name, streams, code, extra=""):
    head = f"  - name: {name}\n    streams: {{{streams}}}\n{extra}    run: |\n"
    return head + textwrap.indent(code, " " * 6) + "\n"

def seen(producer, consumer, stdin="lines", settings="", node="", more=""):
    text = "settings: {parallel: {strategy: process, streams: {enabled: true, %s}}}\nnodes:\n" % settings
    text += declared("producer", "stdout: lines" + more, producer, node)
    text += declared("consumer", "stdin: " + stdin, consumer)
    if more:
        text += "  - {name: other, streams: {stdin: remarks}, run: 'import sys; sys.stdin.read()'}\n"
    try:
        with untouched():
            result = ts.YAMLEngine().load_from_string(text, "w.yaml").compile().run(echo_output=False)
    except (ts.WorkflowFailed, ts.LimitError) as failed:
        return str(failed)
    return f"{result.nodes['producer'].status.name} {result.state}"

MANY = "for number in range(1_000_000): print(number)"
DRAIN = "import sys\nsys.stdin.read()"
FAIL = "print(1, flush=True)\nraise ValueError('no')"
STUCK = "import time\ntime.sleep(1000)"
LEAVE = "import sys\nnext(sys.stdin)"
told = [
    seen(f"try:\n  {MANY}\nexcept BrokenPipeError as error: return {{'error': str(error)}}", LEAVE),
    seen(MANY, LEAVE),
    seen(MANY, "raise ValueError('no')"),
    seen("import sys\n" + MANY + "; print(number, file=sys.stderr)", LEAVE, more=", stderr: remarks"),
    seen(FAIL, DRAIN),
    seen(FAIL, "import os\nwhile os.read(0, 65536): pass"),
    seen(STUCK, DRAIN, settings="timeout: 1"),
    seen(STUCK, DRAIN, node="    timeout: 0.3\n"),
    seen(STUCK, DRAIN, settings="stall_timeout: 1"),
    seen(MANY, STUCK, stdin="{from: lines, overflow: fail, buffer_limit: 64KiB}", settings="grace: 0.1"),
    seen("import subprocess\nsubprocess.Popen(['sleep', '1000'])", DRAIN, settings="drain: 0.2"),
    seen("return {'number': (n for n in [1])}", DRAIN),
    seen("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", DRAIN),
    seen("import faulthandler, os, signal\nfaulthandler.disable()\nos.kill(os.getpid(), signal.SIGSEGV)", DRAIN),
    seen("import os\nos._exit(0)", DRAIN),
    seen("print(state['path'])", DRAIN),
]
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (60, limits[1]))
told.append(seen(FAIL, DRAIN))
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
own = ts.StateGraph().add_node("own", run=lambda state: dict(again.run().state), streams={"stdout": "x"})
own.add_node("reads", run=lambda state: sys.stdin.read() and None, streams={"stdin": "x"}).add_edge("own", "reads")
again = own.set_entry_point("own").compile()
try:
    again.run(echo_output=False)
except ts.WorkflowFailed as failed:
    told.append(str(failed))
done = threading.Event()
beside = threading.Thread(target=done.wait)
beside.start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    seen("pass", DRAIN)
done.set()
beside.join()
told += [str(each.message) for each in caught]
try:
    ts.validate_platform("win32")
except ts.PlatformError as error:
    told.append(str(error))
tell(told=told)
"""
# What the command line says, each in a process of its own: after the command's name, with the file `ask.yaml`.
ASK = "nodes: [{name: ask, interrupt_before: true, run: return 1}, {name: other, run: return 2}]\n"
COMMANDS = [
    "run missing.yaml",
    "run ask.yaml --set path",
    "run ask.yaml --input {path",
    "run ask.yaml --checkpoint run.db --events missing/events",
    "run ask.yaml",
    "resume plain.yaml",
    "resume ask.yaml --checkpoint run.db",
    "resume one.yaml --checkpoint kept.db",
    "resume ask.yaml --checkpoint open.db",
]
# A disk that is full at the right moment is provoked in the tests of the pump.
NOT_PROVOKED = {"could not spill to disk"}


def shape(text: str) -> str:
    """A message without the names and numbers of its example."""
    return re.sub(r"'[^'\n]*'", "'…'", re.sub(r"\d+(\.\d+)?", "0", text))


def messages(document: str) -> str:
    """What a user sees of a document with a mistake."""
    return "\n".join(map(str, load_bytes(document.encode(), "w.yaml")[1]))


@pytest.mark.scenario("QA-001.5-DOC-002")
@pytest.mark.parametrize(
    ("document", "named"),
    [
        (UNPRODUCED, "reading an unproduced channel"),
        (TWO_PRODUCERS, "two producers for one channel"),
        (THREADS, "the thread strategy with streams"),
    ],
    ids=["unproduced", "two-producers", "thread"],
)
def test_a_named_mistake_is_found_by_its_message(document: str, named: str) -> None:
    """The whole message, names included, stands in the row that explains it, with what to do."""
    (row,) = [cells for cells in TROUBLES if named in cells[1]]
    assert row[0].strip("`") in messages(document)
    assert len(row[2].split()) >= 3


def said(folder: Path) -> list[str]:
    """What the command line says to each of `COMMANDS`."""
    (folder / "ask.yaml").write_text(ASK)
    (folder / "plain.yaml").write_text(ASK.replace("interrupt_before: true, ", ""))
    (folder / "one.yaml").write_text(ASK.replace("other", "another"))
    (folder / "open.db").touch(mode=0o600)
    (folder / "open.db").chmod(0o666)
    start = [sys.executable, "-m", "teastreams"]
    harness.run_command([*start, "run", "ask.yaml", "--checkpoint", "kept.db"], cwd=folder, expect=3)
    return [harness.run_command([*start, *each.split()], cwd=folder, expect=2).stderr for each in COMMANDS]


@pytest.mark.scenario("QA-001.5-DOC-002")
@pytest.mark.slow
def test_what_the_tables_quote_is_what_one_sees(tmp_path: Path) -> None:
    """Every message in a first column, the broken pipe too, is that of a mistake, a run or a command made here."""
    (broken,) = [cells for cells in TROUBLES if "broken pipe, a `BrokenPipeError`" in cells[1]]
    told = harness.run(RUNS).told["told"]
    assert broken[0].strip("`") in told[0]
    assert told[1].startswith("STOPPED ")
    seen = [*map(messages, MISTAKES), *told, *said(tmp_path)]
    unseen = [quoted for quoted in QUOTED if not any(quoted in text or shape(quoted) in shape(text) for text in seen)]
    assert set(unseen) == NOT_PROVOKED, told
    assert all(len(cells) == 3 and all(cells) for cells in TROUBLES)


def test_what_is_not_provoked_is_at_least_said_somewhere() -> None:
    """Its words are in the source."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert all(quoted in source for quoted in NOT_PROVOKED)


# -- failures and design ----------------------------------------------------------------------------------------------


def test_every_error_is_explained() -> None:
    """Each exception that the package raises by itself, with what it means and what to do."""
    errors = {
        name
        for name in ts.__all__
        if isinstance(getattr(ts, name), type) and issubclass(getattr(ts, name), ts.TeaStreamsError)
    }
    table = {cells[0].strip("`"): cells[1:] for cells in rows(section(FAILURES, "## What is raised"))}
    assert set(table) == errors - {"TeaStreamsError"}
    assert all(all(cells) for cells in table.values())


def test_every_status_and_exit_code_is_explained() -> None:
    """As the program has them."""
    statuses = [cells[0].strip("`") for cells in rows(section(FAILURES, "## How a run looks back"))]
    assert statuses == ["DONE", "STOPPED", "FAILED", "CONSEQUENCE", "TAINTED", "CANCELLED"]
    assert set(statuses) == {status.name for status in Status}
    ended = harness.run_command([sys.executable, "-m", "teastreams", "run", "--help"])
    codes = rows(section(FAILURES, "## Exit codes of the command line"))
    helped = re.sub(r"\s+", " ", ended.stdout.partition("exit codes: ")[2])
    assert {cells[0] for cells in codes} == set(re.findall(r"\b(\d+) [a-z]", helped))


def test_the_phases_that_are_explained_are_those_that_the_error_names() -> None:
    """What the docstring of `NodeError` lists, apart from `upstream`, which is told as `UpstreamFailed`."""
    listed = re.search(r"`phase` is one of ([a-z, ]+)\.", ts.NodeError.__doc__ or "")
    assert listed is not None
    explained = {cells[0].strip("`") for cells in rows(section(FAILURES, "## The phases of a failure"))}
    assert explained == set(listed.group(1).split(", ")) - {"upstream"}


def table(head: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    first, *others = (f"| {' | '.join(cells)} |\n" for cells in [head, *lines])
    return f"{first}|{'---|' * len(head)}\n{''.join(others)}"


def next_states() -> str:
    """The lifecycle's table as it has to stand in design.md: states down, events across."""
    cells = {pair: after.value for pair, (after, _) in TABLE.items()}
    lines = [[state.value, *(cells.get((state, event), "") for event in Event)] for state in State]
    return table(["in state", *(event.value for event in Event)], lines)


def what_is_done() -> str:
    """Its actions, with the states in which they are the same on one line."""
    states: dict[tuple[Event, tuple[str, ...]], list[str]] = {}
    for event in Event:
        for state in State:
            _, actions = TABLE.get((state, event), (state, ()))
            if actions:
                states.setdefault((event, tuple(action.value for action in actions)), []).append(state.value)
    lines = [[", ".join(names), event.value, "; ".join(actions)] for (event, actions), names in states.items()]
    return table(["in state", "on", "does"], lines)


@pytest.mark.parametrize("expected", [next_states(), what_is_done()], ids=["states", "actions"])
def test_the_lifecycle_that_is_shown_is_the_one_that_is_obeyed(expected: str) -> None:
    """When this fails, what it compares with is what has to stand there."""
    shown = section(DESIGN, "## A worker's life")
    assert expected in shown, f"docs/design.md must have\n{expected}"


def test_the_frames_that_are_shown_are_those_that_are_sent() -> None:
    """Every kind of message between a worker and the supervisor."""
    shown = [cells[0].strip("`") for cells in rows(section(DESIGN, "## The verdict"))]
    assert sorted(shown) == sorted(kind.name for kind in Kind)


def test_the_laws_are_all_there() -> None:
    """L1 to L10, each with what it means in practice."""
    table = rows(section(DESIGN, "## The laws"))
    assert [cells[0] for cells in table] == [f"L{number}" for number in range(1, 11)]
    assert all(len(cells) == 3 and all(cells) for cells in table)
