"""`run:` text to a callable: what it may contain, what it sees, and where its lines are."""

from __future__ import annotations

import inspect
import linecache
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, Optional

import pytest

from teastreams.errors import Problem
from teastreams.workflow.document import YamlMapping, YamlScalar, read
from teastreams.workflow.readers import runblock
from teastreams.workflow.readers.runblock import NAMES, RunBlock, compile_run


def source(document: str, file: str = "f.yaml") -> YamlScalar:
    """The scalar under the first key of a document."""
    root = read(document.encode(), file).root
    assert isinstance(root, YamlMapping)
    value = root.entries[0].value
    assert isinstance(value, YamlScalar)
    return value


def literal(code: str) -> str:
    """A document whose key `run` on line 1 has the code as a literal block, on lines 2 and after."""
    return "run: |\n" + "".join(f"  {line}\n" for line in code.split("\n"))


def compiled(document: str, file: str = "f.yaml") -> RunBlock:
    run, problems = compile_run(source(document, file), "node 'a'")
    assert problems == ()
    assert run is not None
    return run


def problems_of(document: str) -> tuple[Problem, ...]:
    run, problems = compile_run(source(document), "node 'a'")
    assert run is None
    assert problems
    return problems


def places(problems: tuple[Problem, ...]) -> list[tuple[int, int]]:
    return [(problem.where.line, problem.where.column) for problem in problems if problem.where]


class TestMeaning:
    def test_the_returned_value_comes_back_as_it_is(self) -> None:
        value = object()

        assert compiled(literal('return state["x"]'))({"x": value}) is value

    def test_a_block_without_return_gives_none_and_may_change_the_state(self) -> None:
        state: dict[str, Any] = {}

        assert compiled(literal('state["x"] = 1'))(state) is None
        assert state == {"x": 1}

    def test_the_parameters_are_the_names_a_block_sees(self) -> None:
        run = compiled(literal("return [state, variables, parallel_results, node, context]"))

        assert tuple(inspect.signature(run).parameters) == NAMES
        assert run(state=1, variables=2, parallel_results=3, node=4, context=5) == [1, 2, 3, 4, 5]

    def test_all_but_the_state_may_be_left_out(self) -> None:
        assert compiled(literal("return [variables, parallel_results, node, context]"))({}) == [None] * 4

    def test_inner_functions_comprehensions_recursion_imports_and_classes_work(self) -> None:
        code = """
import json
from os import path as p
def fact(n):
  return 1 if n < 2 else n * fact(n - 1)
def numbers():
  yield from range(3)
class Row:
  name = p.basename("a/b")
add = lambda x: x + state["x"]
return json.dumps([fact(5), [add(n) for n in numbers()], Row.name, sorted({str(Row().name)})])"""

        assert compiled(literal(code))({"x": 10}) == '[120, [10, 11, 12], "b", ["b"]]'

    def test_async_code_inside_an_inner_function_works(self) -> None:
        code = """
import asyncio
async def one():
  await asyncio.sleep(0)
  return [x async for x in some()]
async def some():
  yield 1
return asyncio.run(one())"""

        assert compiled(literal(code))({}) == [1]

    def test_dataclasses_with_text_annotations_work(self) -> None:
        code = 'from dataclasses import dataclass\n@dataclass\nclass P:\n  x: "int" = 1\nreturn P().x'

        assert compiled(literal(code))({}) == 1

    def test_every_call_has_fresh_globals(self) -> None:
        run = compiled(literal('global n\nn = globals().get("n", 0) + 1\nreturn n'))

        assert [run({}), run({})] == [1, 1]

    def test_the_block_knows_its_file(self) -> None:
        assert compiled(literal("return __file__, __name__"), "dir/f.yaml")({}) == ("dir/f.yaml", "__main__")

    def test_future_imports_of_this_package_do_not_leak_into_the_block(self) -> None:
        assert compiled(literal("def f(x: int): pass\nreturn f.__annotations__"))({}) == {"x": int}

    def test_strings_of_several_lines_keep_their_text(self) -> None:
        document = 'run: |2-\n  text = """\n    kept\n left\n  """\n  return text\n'.replace(" left", "   left")

        assert compiled(document)({}) == "\n  kept\n left\n"

    @pytest.mark.parametrize(
        "document",
        [
            'run: return {"x":1}',
            "run: 'return {\"x\":1}'",
            'run: "return {\\"x\\":1}"',
            'run: >\n  return\n  {"x":1}\n',
            "run: \"y = 1\\nreturn {'x': y}\"",
            "run: return dict(\n  x=1)",
            'run: |4+\n\n    return {"x":1}\n\n\n',
        ],
    )
    def test_every_way_to_write_text_is_code(self, document: str) -> None:
        assert compiled(document)({}) == {"x": 1}


class TestLines:
    def failing_line(self, run: RunBlock) -> Optional[int]:
        with pytest.raises(ZeroDivisionError) as caught:
            run({})
        return traceback.extract_tb(caught.value.__traceback__)[-1].lineno

    def test_tracebacks_have_the_lines_of_the_file(self) -> None:
        assert self.failing_line(compiled("run: |\n\n  # why\n  x = 0\n  1 / x\n")) == 5

    def test_an_indentation_indicator_shifts_no_line(self) -> None:
        assert self.failing_line(compiled("run: |2-\n\n  if True:\n     1 / 0\n")) == 4

    @pytest.mark.parametrize("document", ["run: 1 / 0", "# c\n\nrun: '1 / 0'", "# c\n\nrun: >\n  x = 1;\n  1 / 0\n"])
    def test_other_ways_to_write_text_have_the_line_of_their_value(self, document: str) -> None:
        assert self.failing_line(compiled(document)) == document.count("\n", 0, document.index("run")) + 1

    def test_the_traceback_shows_the_text_of_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "f.yaml"
        document = literal('é = "日"\ndef inner():\n  return f"{1 / 0}"\ninner()')
        file.write_text(document, encoding="utf-8")
        linecache.clearcache()
        with pytest.raises(ZeroDivisionError) as caught:
            compiled(document, str(file))({})

        shown = "".join(traceback.format_exception(ZeroDivisionError, caught.value, caught.value.__traceback__))
        assert f'File "{file}", line 5, in run\n    inner()' in shown
        assert f'File "{file}", line 4, in inner\n    return f"{{1 / 0}}"' in shown

    def test_columns_are_those_of_the_file_where_python_keeps_them(self) -> None:
        run = compiled("run: |\n      x = 0; 1 / x\n")
        with pytest.raises(ZeroDivisionError) as caught:
            run({})

        summary: Any = traceback.extract_tb(caught.value.__traceback__)[-1]
        columns = (getattr(summary, "colno", None), getattr(summary, "end_colno", None))
        assert columns == ((13, 18) if sys.version_info >= (3, 11) else (None, None))

    def test_the_code_begins_at_the_value(self) -> None:
        assert compiled("run: |\n  pass\n").code.co_firstlineno == 1
        assert compiled("run: |\n  pass\n").code.co_filename == "f.yaml"


class TestProblems:
    @pytest.mark.parametrize(
        ("document", "place"),
        [
            ("run: |\n\n  x = 1\n  y = = 2\n", (4, 7)),
            ("run: |2-\n   \n  é = 1; = 2\n", (3, 10)),
            ("run: x = = 2", (1, 10)),
            ("run: 'x = = 2'", (1, 11)),
            ("run: >\n  x = = 2\n", (1, 6)),
        ],
    )
    def test_a_syntax_error_has_its_place_in_the_file(self, document: str, place: tuple[int, int]) -> None:
        problems = problems_of(document)

        assert problems[0].message == "the code of node 'a' is not valid Python: invalid syntax"
        assert places(problems) == [place]

    @pytest.mark.parametrize("code", ["x = (1,", "if x:", '"""open', "def f(:", "x = 'open"])
    def test_an_error_at_the_end_stays_inside_the_text(self, code: str) -> None:
        """Python's versions place and name the error differently; none may leave the block."""
        problems = problems_of(literal("x = 1\n" + code) + "next: 1\n")

        assert problems[0].message.startswith("the code of node 'a' is not valid Python: ")
        assert [2 <= line <= 4 and column >= 3 for line, column in places(problems)] == [True]

    @pytest.mark.parametrize(
        ("code", "said", "place"),
        [
            ("x = 1\nbreak", "'break' outside loop", (3, 3)),
            ("x = 1; continue", "'continue' not properly in loop", (2, 10)),
            ('x = "é"; nonlocal y', "no binding for nonlocal 'y' found", (2, 12)),
            ("global state", "name 'state' is parameter and global", (2, 3)),
        ],
    )
    def test_what_only_the_compiler_finds_has_its_place_too(self, code: str, said: str, place: tuple[int, int]) -> None:
        problems = problems_of(literal(code))

        assert problems[0].message == f"the code of node 'a' is not valid Python: {said}"
        assert places(problems) == [place]

    def test_a_compiler_error_in_folded_text_is_shown_at_the_value(self) -> None:
        (problem,) = problems_of("# c\nrun: >\n  break\n")

        assert places((problem,)) == [(2, 6)]
        assert problem.fix == "correct the code"

    def test_the_wrong_line_is_quoted_also_from_folded_text(self) -> None:
        assert problems_of("run: >\n  x = 1\n\n  y = = 2\n")[0].fix == "correct 'y = = 2'"

    @pytest.mark.parametrize("line", [None, 1, 4])
    def test_a_compiler_error_without_a_line_of_the_text_is_shown_at_the_value(
        self, line: Optional[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def odd(*_: object, **__: object) -> None:
            raise SyntaxError("odd", ("f.yaml", line, 1, None))

        text = source("run: |\n  x = 1\n")
        monkeypatch.setattr(runblock, "compile", odd, raising=False)
        _, (problem,) = compile_run(text, "node 'a'")

        assert (problem.where, problem.fix) == (text.where, "correct the code")

    @pytest.mark.parametrize(
        "document", ["run: ''", "run: '  '", "run: |\n  # only\n\n  # comments\n", "run: '\"words\"'"]
    )
    def test_code_that_does_nothing_is_a_problem(self, document: str) -> None:
        (problem,) = problems_of(document)

        assert problem.message == "the code of node 'a' does nothing"

    @pytest.mark.parametrize("code", ["pass", "...", "5"])
    def test_code_that_says_it_does_nothing_is_fine(self, code: str) -> None:
        assert compiled(literal(code))({}) is None

    @pytest.mark.parametrize(
        ("code", "what", "found"),
        [
            ("yield", "`yield`", [(2, 3)]),
            ("x = [(yield)]", "`yield`", [(2, 9)]),
            ('x = "é"; yield 1', "`yield`", [(2, 12)]),
            ("for x in y:\n  yield x\nyield from y", "`yield`", [(3, 5), (4, 3)]),
            ("def f(x=(yield)): pass", "`yield`", [(2, 12)]),
            ("@(yield)\ndef f(): pass", "`yield`", [(2, 5)]),
            ("class C((yield)): pass", "`yield`", [(2, 12)]),
            ("f = lambda x=(yield): x", "`yield`", [(2, 17)]),
            ("x = await y", "`await`", [(2, 7)]),
            ("async for x in y: pass", "`async for`", [(2, 3)]),
            ("async with x: pass", "`async with`", [(2, 3)]),
            ("from os import *", "`import *`", [(2, 3)]),
            ("from __future__ import annotations", "`from __future__ import`", [(2, 3)]),
        ],
    )
    def test_what_would_make_another_kind_of_function_is_refused(
        self, code: str, what: str, found: list[tuple[int, int]]
    ) -> None:
        problems = problems_of(literal(code))

        assert {problem.message for problem in problems} == {f"{what} at the top level of the code of node 'a'"}
        assert places(problems) == found

    def test_an_async_comprehension_is_refused(self) -> None:
        assert "asynchronous comprehension" in problems_of(literal("x = [a async for a in b]"))[0].message

    def test_a_null_character_is_a_problem(self) -> None:
        assert problems_of('run: "x = 1\\0"')[0].message == "the code of node 'a' contains a null character"

    def test_a_null_character_as_an_escape_of_python_is_fine(self) -> None:
        assert compiled(literal('return "\\0"'))({}) == "\0"

    @pytest.mark.parametrize(
        "code",
        ["-" * 100_000 + "1", "a" + ".b" * 40_000, "1" + "+1" * 40_000, "a" + "()" * 40_000, "not " * 50_000 + "1"],
        ids=["minus", "attributes", "sum", "calls", "not"],
    )
    def test_code_nested_too_deeply_is_a_short_error_at_little_cost(self, code: str) -> None:
        document = literal(code)
        text = source(document)
        before = time.process_time()
        run, problems = compile_run(text, "node 'a'")

        assert time.process_time() - before < 5  # quadratic cost would be minutes
        assert run is None
        assert [problem.message for problem in problems] == ["the code of node 'a' is too deeply nested for Python"]

    def test_too_many_brackets_are_a_short_error(self) -> None:
        assert len(str(problems_of(literal("(" * 100_000))[0])) < 400

    def test_compiling_executes_nothing(self, tmp_path: Path) -> None:
        mark = tmp_path / "executed"
        touch = f"__import__('pathlib').Path({str(mark)!r}).touch()"
        run = compiled(literal(f"def f(x={touch}): pass\n@{touch}\nclass C: {touch}\n{touch}"))

        assert not mark.exists()
        with pytest.raises(TypeError):
            run({})
        assert mark.exists()

    def test_a_host_that_forbids_warnings_can_compile_what_only_warns(self) -> None:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("error")
            run = compiled(literal('return "\\d", 1 is 1'))
            filters = list(warnings.filters)

        assert run({}) == ("\\d", True)
        assert seen == []
        assert filters[0][0] == "error"
