"""Facts about the long-term memory: what is kept, how it is found, and that many processes may use it at once."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scenarios"))
import harness

import teastreams as ts
from teastreams.services import memory as module
from teastreams.services.memory import Memory, MemoryFileError, words_of
from teastreams.workflow.load import load_bytes


@pytest.fixture(params=["full text", "word by word"])
def memory(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Memory:
    """With the search that SQLite has, and as if it had none: the facts are the same."""
    if request.param == "word by word":
        monkeypatch.setattr(module, "full_text", lambda: False)
    return Memory(tmp_path / "memory.db")


def keys(found: list[dict[str, Any]]) -> list[str]:
    return [each["key"] for each in found]


def test_what_is_stored_is_there_again(memory: Memory) -> None:
    value = {"text": "x", "when": (1, b"y"), "deep": [{"a": None}]}
    memory.store("k", value, {"kind": "note"})

    assert memory.retrieve("k") == value
    assert memory.search() == [{"key": "k", "value": value, "metadata": {"kind": "note"}}]
    assert memory.retrieve("other", 5) == 5


def test_a_key_has_one_value(memory: Memory) -> None:
    memory.store("k", "first apple")
    memory.store("k", "second")

    assert memory.retrieve("k") == "second"
    assert memory.search("apple") == []
    assert keys(memory.search("second")) == ["k"]


def test_what_is_deleted_is_gone(memory: Memory) -> None:
    assert memory.delete("k") is False
    memory.store("k", "apple")

    assert memory.delete("k") is True
    assert memory.delete("k") is False
    assert memory.retrieve("k") is None
    assert memory.search("apple") == []


def test_all_words_are_looked_for_without_case_and_accents_the_newest_first(memory: Memory) -> None:
    memory.store("a", {"title": "The Café", "tags": ["open", 24]})
    memory.store("b", "a cafe that is CLOSED")
    memory.store("c", "nothing")

    assert keys(memory.search("CAFE")) == ["b", "a"]
    assert keys(memory.search("café open")) == ["a"]
    assert keys(memory.search("24")) == ["a"]
    assert keys(memory.search("caf")) == []
    assert keys(memory.search()) == ["c", "b", "a"]
    assert keys(memory.search(limit=2)) == ["c", "b"]


@pytest.mark.parametrize("query", ['"', "a OR b", "cafe*", "NEAR(a b)", "words:x", "'; DROP TABLE memories", "^a -b"])
def test_no_query_is_made_of_the_words(memory: Memory, query: str) -> None:
    memory.store("k", f"this is {query} indeed")
    memory.store("other", "a b x")

    assert "k" in keys(memory.search(query))
    assert memory.retrieve("k") == f"this is {query} indeed"


def test_metadata_narrows_a_search(memory: Memory) -> None:
    for number in range(5):
        memory.store(f"k{number}", "apple", {"even": number % 2 == 0, "number": number})

    assert keys(memory.search("apple", metadata={"even": True})) == ["k4", "k2", "k0"]
    assert keys(memory.search("apple", limit=1, metadata={"even": True})) == ["k4"]
    assert keys(memory.search(metadata={"even": True, "number": 2})) == ["k2"]


def test_what_cannot_be_kept_is_refused_by_its_place(memory: Memory) -> None:
    with pytest.raises(MemoryFileError, match=r"under 'k' cannot be kept: state\['value'\]\['a'\]"):
        memory.store("k", {"a": object()})
    with pytest.raises(MemoryFileError, match="a key of the memory is text, not ''"):
        memory.store("", 1)


def test_the_file_is_private_and_that_of_another_program_is_refused(memory: Memory, tmp_path: Path) -> None:
    memory.store("k", 1)
    assert (tmp_path / "memory.db").stat().st_mode & 0o777 == 0o600

    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    other.chmod(0o600)
    before = other.read_bytes()
    with pytest.raises(MemoryFileError, match="is a database, but not a memory file; name another file"):
        Memory(other).store("k", 1)
    assert other.read_bytes() == before

    (tmp_path / "memory.db").chmod(0o666)
    with pytest.raises(MemoryFileError, match="others may write to it"):
        memory.retrieve("k")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.db").write_bytes(b"not a database at all" * 100)
    (tmp_path / "m.db").chmod(0o600)
    with pytest.raises(MemoryFileError, match="cannot be used: file is not a database"):
        Memory(tmp_path / "m.db").retrieve("k")


def test_words_are_found_in_all_that_a_value_holds() -> None:
    assert words_of(("Käse", {"a": [1, 2.5, None, b"no"]})) == ["kase", "a", "1", "2", "5"]


def test_nodes_reach_it_by_their_context_in_threads_and_processes(tmp_path: Path) -> None:
    script = """
def put(state, context, node):
    context.memory.store(node, {"by": node, "text": "stored apple"})
    return {"seen": len(context.memory.search("apple"))}

graph = ts.StateGraph(memory=sys.argv[1])
for name in ("a", "b", "c"):
    graph.add_node(name, run=put)
graph.add_node("join", run=lambda context: {"all": sorted(each["key"] for each in context.memory.search("apple"))})
graph.add_parallel_edge("a", ["b", "c"], "join", strategy=sys.argv[2])
app = graph.set_entry_point("a").compile()
with untouched():
    tell(all=app.run({}).state["all"])
"""
    for strategy in ("thread", "process"):
        told = harness.run(script, arguments=(str(tmp_path / f"{strategy}.db"), strategy)).told
        assert told["all"] == ["a", "b", "c"]


def test_eight_processes_that_write_at_once_lose_nothing_and_a_killed_one_leaves_the_file_whole(tmp_path: Path) -> None:
    script = """
import os, signal

def write(state, context, node):
    for number in range(20):
        context.memory.store(f"{node}-{number}", "apple")
    if node == "n7":
        os.kill(os.getpid(), signal.SIGKILL)

graph = ts.StateGraph(memory=sys.argv[1], parallel_config=ts.ParallelConfig(strategy="process"))
names = [f"n{number}" for number in range(8)]
for name in names:
    graph.add_node(name, run=write)
graph.add_node("join", run=lambda state: None)
graph.add_parallel_edge(ts.START, names, "join")
with untouched():
    try:
        graph.compile().run({})
    except ts.WorkflowFailed as failed:
        tell(node=failed.primary.node)
"""
    assert harness.run(script, arguments=(str(tmp_path / "m.db"),)).told == {"node": "n7"}
    assert len(Memory(tmp_path / "m.db").search("apple", limit=1000)) == 160


def test_a_document_names_the_file_and_uses_the_actions(tmp_path: Path) -> None:
    text = f"""
settings: {{ltm: {{backend: sqlite, db_path: {tmp_path / "m.db"}}}}}
nodes:
  - name: put
    uses: ltm.store
    with: {{key: "{{{{ state.key }}}}", value: "red apple", metadata: {{a: 1}}}}
    output: put
  - {{name: get, uses: ltm.retrieve, with: {{key: k}}, output: {{got: "result['value']", found: result.found}}}}
  - {{name: none, uses: ltm.retrieve, with: {{key: x, default: 7}}, output: {{default: "result['value']"}}}}
  - {{name: find, uses: ltm.search, with: {{query: APPLE, metadata_filter: {{a: 1}}}}, output: {{count: result.count}}}}
  - {{name: drop, uses: ltm.delete, with: {{key: k}}, output: {{deleted: result.deleted}}}}
"""
    graph, problems = load_bytes(text.encode(), "w.yaml")
    assert problems == ()
    assert graph is not None
    state = ts.StateGraph.from_graph(graph).compile().run({"key": "k"}).state

    assert state["put"] == {"success": True, "stored": True, "key": "k"}
    assert (state["got"], state["found"], state["default"]) == ("red apple", True, 7)
    assert (state["count"], state["deleted"]) == (1, True)


def test_a_workflow_without_a_memory_says_what_to_write() -> None:
    graph = ts.StateGraph().add_node("a", run=lambda context: context.memory)
    with pytest.raises(ts.WorkflowFailed, match=r"node 'a' asks for the long-term memory, .*; add its file"):
        graph.compile().run({})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{}", "settings.ltm has no path; write `path: memory.db`"),
        ("{path: a, db_path: b}", "settings.ltm has both `path` and `db_path`; write `path: memory.db`"),
        ("{path: a, backend: duckdb}", "`backend` of settings.ltm must be one of `sqlite`, not the text 'duckdb'"),
    ],
)
def test_wrong_settings_are_told(settings: str, told: str) -> None:
    _, problems = load_bytes(f"settings: {{ltm: {settings}}}\nnodes: [{{name: a, run: pass}}]".encode(), "w.yaml")
    assert [told in str(problem) for problem in problems] == [True]
