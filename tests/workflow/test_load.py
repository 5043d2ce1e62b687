"""The one door for workflow files: golden documents, good and bad, and files that cannot be read."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from teastreams.core.graph import Graph
from teastreams.errors import Problem, WorkflowError
from teastreams.workflow.document import MAX_FILE_BYTES
from teastreams.workflow.load import load_bytes, load_file, load_text

CASES = Path(__file__).with_name("cases")
GOOD = sorted((CASES / "good").glob("*.yaml"))
BAD = sorted((CASES / "bad").glob("*.yaml"))
MINIMAL = "nodes: [{name: a, run: pass}]\nedges: [{from: __start__, to: a}, {from: a, to: __end__}]\n"
EXPECT = re.compile(r"^# expect: (.*)$", re.MULTILINE)


def expected(text: str) -> list[str]:
    """The problems that the comments at the end of a bad document announce."""
    return EXPECT.findall(text)


def found(problems: tuple[Problem, ...], file: str) -> list[str]:
    """The problems as one line each, without the name of the file."""
    return [str(problem).replace(f"{file}:", "", 1).replace("\n", "\\n") for problem in problems]


def test_there_are_enough_golden_documents() -> None:
    assert len(GOOD) >= 20
    assert len(BAD) >= 60


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_document_loads(path: Path) -> None:
    graph, problems = load_bytes(path.read_bytes(), path.name)

    assert problems == ()
    assert isinstance(graph, Graph)
    assert all(callable(node.run) or node.command for node in graph.nodes)
    assert load_file(path).name == graph.name


@pytest.mark.scenario("001.4-UNIT-016")
@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_document_has_exactly_the_problems_it_announces_and_each_says_what_to_do(path: Path) -> None:
    data = path.read_bytes()
    graph, problems = load_bytes(data, path.name)

    assert found(problems, path.name) == expected(data.decode())
    assert problems
    assert graph is None
    assert all(problem.fix and problem.where is not None for problem in problems)


@pytest.mark.parametrize("path", [*GOOD, *BAD], ids=lambda path: path.stem)
def test_problems_come_in_the_order_of_the_document(path: Path) -> None:
    _, problems = load_bytes(path.read_bytes(), path.name)
    places = [(problem.where.line, problem.where.column) for problem in problems if problem.where]

    assert places == sorted(places)


def test_problems_of_shape_and_of_relations_come_together() -> None:
    text = "nodes: [{name: a, run: pass, colour: red}]\nedges: [{from: __start__, to: a}, {from: a, to: nowhere}]\n"
    _, problems = load_bytes(text.encode(), "f.yaml")

    assert len(problems) == 2
    assert "colour" in problems[0].message
    assert "nowhere" in problems[1].message


def test_a_document_with_duplicate_keys_is_checked_further() -> None:
    _, problems = load_bytes(b"name: a\nname: b\n" + MINIMAL.replace("pass", "5").encode(), "f.yaml")

    assert [problem.message[:20] for problem in problems] == ["the key 'name' stand", "`run` of node 'a' mu"]


def test_a_graph_without_a_name_for_a_node_is_not_checked_for_relations() -> None:
    _, problems = load_bytes(MINIMAL.replace("name: a, ", "").encode(), "f.yaml")

    assert [problem.message for problem in problems] == ["node 1 has no name"]


def test_loading_executes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    code = f"def f(x=open({str(mark)!r}, 'w')): pass"
    load_text(f"nodes:\n  - name: a\n    run: |\n      {code}\n{MINIMAL.splitlines()[1]}\n")

    assert not mark.exists()


def test_a_flood_of_problems_is_cut_and_cheap() -> None:
    keys = "".join(f"    k{number:05}: x\n" for number in range(3_000))
    data = f"nodes:\n  - name: a\n    run: pass\n{keys}".encode()
    before = time.process_time()
    _, problems = load_bytes(data, "f.yaml")

    assert len(problems) == 101
    assert problems[-1].message == "more than 100 problems; the others are not listed"
    assert time.process_time() - before < 1


def test_a_flood_of_unknown_names_is_cut_and_cheap() -> None:
    targets = ", ".join(f"x{number}" for number in range(500))
    edge = f"{{from: a, to: [{targets}], parallel: true, fan_in: a}}"
    data = f"nodes: [{{name: a, run: pass}}]\nedges: [{edge}]\n".encode()
    before = time.process_time()
    _, problems = load_bytes(data, "f.yaml")

    assert len(problems) == 101
    assert problems[-1].message.endswith(" more problems are not listed")
    assert problems[-1].where is not None
    assert time.process_time() - before < 1


def test_a_flood_of_edges_is_one_problem() -> None:
    edges = "".join("- {from: a, to: x}\n" for _ in range(1025))
    _, problems = load_bytes(f"nodes: [{{name: a, run: pass}}]\nedges:\n{edges}".encode(), "f.yaml")

    assert [str(problem) for problem in problems] == [
        "f.yaml:2:1: `edges` has 1025 entries, and at most 1024 are possible; split the workflow into several"
    ]


class TestText:
    def test_text_gives_a_graph(self) -> None:
        assert load_text(MINIMAL).file == "<string>"
        assert load_text(MINIMAL, "named").file == "named"

    def test_every_problem_is_in_the_error(self) -> None:
        with pytest.raises(WorkflowError) as caught:
            load_text("name: 5\n" + MINIMAL.replace("pass", "5"), "f.yaml")

        assert [str(problem.where) for problem in caught.value.problems] == ["f.yaml:1:7", "f.yaml:2:24"]
        assert str(caught.value).count("\n") == 1

    def test_half_a_character_is_a_problem(self) -> None:
        with pytest.raises(WorkflowError, match=r"^f:2:4: the byte 0xed is not UTF-8"):
            load_text("a: 1\nb: \ud800", "f")


class TestFiles:
    def test_a_file_gives_a_graph_that_knows_it(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yaml"
        path.write_text(MINIMAL, encoding="utf-8")

        assert load_file(path).file == str(path)
        assert load_file(str(path)) == load_file(path)

    def test_a_missing_file_says_which_and_what_to_do(self, tmp_path: Path) -> None:
        path = tmp_path / "missing.yaml"
        with pytest.raises(WorkflowError) as caught:
            load_file(path)

        (problem,) = caught.value.problems
        assert problem.message == f"the workflow file '{path}' cannot be read: No such file or directory"
        assert problem.fix == "give the path of a readable YAML file"

    def test_a_directory_is_no_workflow(self, tmp_path: Path) -> None:
        with pytest.raises(WorkflowError, match="Is a directory"):
            load_file(tmp_path)

    def test_an_impossible_path_is_a_problem_too(self) -> None:
        with pytest.raises(WorkflowError, match="'a\\\\x00b' cannot be read: embedded null"):
            load_file("a\0b")

    def test_no_more_than_the_limit_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "large.yaml"
        with path.open("wb") as file:
            file.truncate(MAX_FILE_BYTES * 1000)
        with pytest.raises(WorkflowError, match="the file is longer than 1048576 bytes"):
            load_file(path)

    def test_a_pipe_is_as_good_as_a_file(self) -> None:
        reading, writing = os.pipe()
        try:
            os.write(writing, MINIMAL.encode())
            os.close(writing)

            assert load_file(f"/dev/fd/{reading}").nodes[0].name == "a"
        finally:
            os.close(reading)
