"""YAML bytes to data with positions: what is read, what is refused, and at what cost."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Callable

import pytest

import teastreams.workflow
from teastreams.errors import Position, Problem
from teastreams.workflow import document
from teastreams.workflow.document import (
    MAX_FILE_BYTES,
    MAX_PROBLEMS,
    MAX_SCALAR_BYTES,
    YamlMapping,
    YamlScalar,
    YamlSequence,
    YamlValue,
    read,
)


def parsed(text: str) -> YamlMapping:
    """The root of a faultless document."""
    result = read(text.encode(), "f.yaml")
    assert result.problems == ()
    assert isinstance(result.root, YamlMapping)
    return result.root


def scalar(text: str, key: str = "k") -> YamlScalar:
    """The scalar under a key of a faultless document."""
    found = next(entry.value for entry in parsed(text).entries if entry.key == key)
    assert isinstance(found, YamlScalar)
    return found


def only_problem(data: bytes) -> Problem:
    """The one problem of a document that cannot be kept."""
    result = read(data, "f.yaml")
    assert result.root is None
    (problem,) = result.problems
    return problem


def at(line: int, column: int) -> Position:
    return Position("f.yaml", line, column)


class TestPlaces:
    def test_values_and_keys_carry_line_and_column_from_1(self) -> None:
        root = parsed("a: 1\nb:\n  - x\n  - {c: y}\n")
        first, second = root.entries
        assert isinstance(second.value, YamlSequence)
        item, inner = second.value.items
        assert isinstance(inner, YamlMapping)

        assert root.where == at(1, 1)
        assert (first.key, first.where, first.value.where) == ("a", at(1, 1), at(1, 4))
        assert (second.where, second.value.where) == (at(2, 1), at(3, 3))
        assert item.where == at(3, 5)
        assert (inner.where, inner.entries[0].where, inner.entries[0].value.where) == (at(4, 5), at(4, 6), at(4, 9))

    def test_columns_count_characters_not_bytes(self) -> None:
        assert parsed("{é日: x}").entries[0].value.where == at(1, 6)

    def test_lines_end_as_they_do_on_every_system(self) -> None:
        assert [entry.where for entry in parsed("a: 1\r\nb: 2\rc: 3\n").entries] == [at(1, 1), at(2, 1), at(3, 1)]


class TestScalars:
    @pytest.mark.parametrize(("written", "value"), [("5", 5), ("null", None), ("", None), ("on", "on"), ("1.10", 1.1)])
    def test_unquoted_text_is_resolved(self, written: str, value: object) -> None:
        assert scalar(f"k: {written}").value == value

    @pytest.mark.parametrize("written", ["'5'", '"5"', "|-\n  5", ">-\n  5"])
    def test_quoted_text_and_blocks_are_text(self, written: str) -> None:
        assert scalar(f"k: {written}").value == "5"

    def test_the_text_as_written_is_kept_beside_the_value(self) -> None:
        found = scalar("k: 010")

        assert (found.value, found.text) == (10, "010")

    def test_an_unquoted_key_that_looks_like_a_word_of_yaml_1_1_is_text(self) -> None:
        assert [entry.key for entry in parsed("on: 1\nno: 2\n12:30: 3\n").entries] == ["on", "no", "12:30"]


class TestText:
    """Where the lines of a text stand in the file."""

    def test_a_literal_block_begins_on_the_line_after_the_bar(self) -> None:
        found = scalar("a:\nk: |\n    one\n      two\n")

        assert found.text == "one\n  two\n"
        assert (found.first_line, found.indent, found.aligned) == (3, 4, True)

    def test_a_comment_after_the_bar_moves_nothing(self) -> None:
        assert scalar("k: |  # why\n  one\n").first_line == 2

    def test_blank_lines_before_the_text_belong_to_it(self) -> None:
        found = scalar("k: |\n\n \n   one\n")

        assert found.text == "\n\none\n"
        assert (found.first_line, found.indent) == (2, 3)

    def test_an_indentation_indicator_is_obeyed(self) -> None:
        found = scalar("k: |2-\n     one\n  two\n\n")

        assert found.text == "   one\ntwo"
        assert (found.first_line, found.indent, found.aligned) == (2, 2, True)

    def test_a_block_of_blank_lines_has_no_indentation(self) -> None:
        assert scalar("k: |+\n\n\n").indent == 0

    @pytest.mark.parametrize(("written", "indent"), [("one", 3), ("'one'", 4), ('"one"', 4)])
    def test_text_on_one_line_begins_where_it_stands(self, written: str, indent: int) -> None:
        found = scalar(f"k: {written}\n")

        assert (found.first_line, found.indent, found.aligned) == (1, indent, True)

    @pytest.mark.parametrize("written", ["one\n  two", "'one\n  two'", '"one\\ntwo"', ">\n  one\n  two"])
    def test_text_whose_lines_are_not_lines_of_the_file_is_not_aligned(self, written: str) -> None:
        found = scalar(f"k: {written}\n")

        assert (found.first_line, found.aligned) == (1, False)


class TestEncoding:
    @pytest.mark.parametrize(
        ("data", "name"),
        [(b"\xef\xbb\xbfa: 1", "UTF-8"), (b"\xff\xfea\0", "UTF-16"), (b"\xfe\xff\0a", "UTF-16")],
    )
    def test_a_byte_order_mark_is_refused(self, data: bytes, name: str) -> None:
        problem = only_problem(data)

        assert problem.message == f"the file begins with a {name} byte order mark"
        assert problem.fix == "save it as UTF-8 without a byte order mark"
        assert problem.where == at(1, 1)

    def test_bytes_that_are_no_utf_8_are_shown_with_their_place(self) -> None:
        problem = only_problem("a: é\r\nb:日".encode() + b"\xff")

        assert problem.message == "the byte 0xff is not UTF-8"
        assert problem.where == at(2, 4)

    def test_a_binary_file_is_a_short_error(self) -> None:
        problem = only_problem(bytes(range(256)) * 100)

        assert len(str(problem)) < 200
        assert problem.where == at(3, 115)

    @pytest.mark.parametrize(
        ("character", "code"),
        [
            ("\0", "0000"),
            ("\x1b", "001B"),
            ("\x7f", "007F"),
            ("\x85", "0085"),
            ("\u2029", "2029"),
            ("\ufeff", "FEFF"),
            ("\uffff", "FFFF"),
        ],
    )
    def test_control_characters_and_foreign_line_ends_are_refused(self, character: str, code: str) -> None:
        problem = only_problem(f"a: 1\nb: x{character}y".encode())

        assert problem.message == f"the character U+{code} cannot stand in a workflow file"
        assert problem.fix == f'remove it, or write "\\u{code}" inside double quotes'
        assert problem.where == at(2, 5)

    def test_characters_beyond_the_first_plane_are_fine(self) -> None:
        assert scalar("k: \U0001f600").value == "\U0001f600"

    def test_a_tab_is_fine_inside_text(self) -> None:
        assert scalar("k: |\n  a\tb\n").value == "a\tb\n"


class TestProblems:
    def test_duplicate_keys_are_all_reported_with_both_places_and_the_first_counts(self) -> None:
        result = read(b"a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yaml")

        assert [(str(p.where), p.message) for p in result.problems] == [
            ("f.yaml:2:11", "the key 'c' stands twice here, first in line 2, column 5"),
            ("f.yaml:3:1", "the key 'a' stands twice here, first in line 1, column 1"),
        ]
        assert isinstance(result.root, YamlMapping)
        assert [(e.key, e.value.value) for e in result.root.entries if isinstance(e.value, YamlScalar)] == [("a", 1)]

    def test_equal_keys_in_different_mappings_are_no_duplicates(self) -> None:
        assert read(b"a: {x: 1}\nb: {x: 1}\n", "f").problems == ()

    def test_a_document_with_an_anchor_alone_is_still_read(self) -> None:
        assert isinstance(read(b"a: &x 1\n", "f").root, YamlMapping)

    @pytest.mark.parametrize("text", ["a: &x 1\nb: *x", "a: !!str 1", "<<: {a: 1}", "a: " + "9" * 301, '"\\ud800": 1'])
    def test_a_document_with_a_hole_has_no_root(self, text: str) -> None:
        assert read(text.encode(), "f").root is None

    def test_keys_in_escapes_are_cut_and_escaped_in_messages(self) -> None:
        key = '"\\e' + "k" * 300 + '"'
        (problem,) = read(f"{{{key}: 1, {key}: 2}}".encode(), "f").problems

        assert "\x1b" not in problem.message
        assert problem.message.startswith("the key '\\x1bkkk")
        assert len(problem.message) < 300

    def test_after_fifty_problems_reading_ends(self) -> None:
        result = read(b"a: 1\n" * 1000, "f.yaml")

        assert result.root is None
        assert len(result.problems) == MAX_PROBLEMS + 1
        assert result.problems[-1].message == "more than 50 problems; reading ended here"
        assert result.problems[-1].where == at(52, 1)

    def test_problems_found_before_the_syntax_breaks_are_kept(self) -> None:
        result = read(b"a: 1\na: 2\nb: [\n", "f")

        assert [problem.message[:11] for problem in result.problems] == ["the key 'a'", "a value is "]

    def test_an_escape_that_makes_the_parser_fail_is_a_problem(self) -> None:
        problem = only_problem(b'a: 1\nb: "\\UFFFFFFFF"\n')

        assert problem.message == "the text after this place cannot be read as YAML"
        assert problem.where == at(2, 1)


class TestLimits:
    def test_a_file_of_one_mebibyte_is_read_and_one_byte_more_is_refused(self) -> None:
        data = b"a: 1\n#" + b"x" * (MAX_FILE_BYTES - 6)

        assert isinstance(read(data, "f").root, YamlMapping)
        assert only_problem(data + b"x").message == "the file is longer than 1048576 bytes"

    def test_text_of_256_kibibytes_is_read_and_one_byte_more_is_refused(self) -> None:
        most = "é" * (MAX_SCALAR_BYTES // 2)

        assert scalar(f"k: {most}").text == most
        assert only_problem(f"k: {most}x".encode()).message == "this text is longer than 262144 bytes"

    def test_fifty_levels_are_read_and_one_more_is_refused(self) -> None:
        inner = "[" * 49 + "]" * 49

        assert parsed(f"k: {inner}").entries
        problem = only_problem(f"k: [{inner}]".encode())
        assert problem.message == "values are nested more than 50 deep"
        assert problem.where == at(1, 53)

    def test_values_are_counted_before_they_are_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert document.MAX_NODES == 30_000
        monkeypatch.setattr(document, "MAX_NODES", 4)

        assert parsed("k: [y]").entries
        problem = only_problem(b"k: [x, y]")
        assert problem.message == "the document has more than 4 values"
        assert problem.where == at(1, 8)


def _laughs() -> str:
    """Nine levels of ten aliases each: a thousand million leaves when followed."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


HOSTILE: dict[str, tuple[Callable[[], str], str]] = {
    "nothing": (lambda: "", "the document is empty"),
    "an empty text": (lambda: '""', "the document is empty"),
    "alias bomb": (_laughs, "more than 50 problems; reading ended here"),
    "a mapping that contains itself": (lambda: "&x {b: *x}", "the alias *x is not supported"),
    "an alias of nothing": (lambda: "a: *nothing", "the alias *nothing is not supported"),
    "100 000 brackets": (lambda: "[" * 100_000, "values are nested more than 50 deep"),
    "100 000 braces": (lambda: "{" * 100_000, "values are nested more than 50 deep"),
    "500 000 dashes": (lambda: "- " * 500_000, "values are nested more than 50 deep"),
    "500 000 question marks": (lambda: "? " * 500_000, "values are nested more than 50 deep"),
    "nested blocks": (
        lambda: "a:\n" + "".join(" " * n + "a:\n" for n in range(1, 1400)),
        "values are nested more than 50 deep",
    ),
    "a python object": (
        lambda: "a: !!python/object/apply:os.system ['exit 1']",
        "the tag '!!python/object/apply:os.system' is not supported",
    ),
    "a python name": (lambda: "!!python/name:os.system", "the tag '!!python/name:os.system' is not supported"),
    "a number of 200 000 digits": (
        lambda: "a: " + "1" * 200_000,
        "a number of 200000 characters is longer than 300",
    ),
    "a float of 200 000 digits": (
        lambda: "a: 0." + "1" * 200_000,
        "a number of 200002 characters is longer than 300",
    ),
    "a version of 900 000 digits": (
        lambda: "%YAML 1." + "1" * 900_000,
        "a line that begins with `%` is a YAML directive, which is not supported",
    ),
    "300 000 directives": (
        lambda: "%A\n" * 300_000,
        "a line that begins with `%` is a YAML directive, which is not supported",
    ),
    "100 000 documents": (lambda: "--- a\n" * 100_000, "a second document begins here; a workflow is one document"),
    "200 000 anchors": (lambda: "- &a 1\n" * 140_000, "more than 50 problems; reading ended here"),
    "a megabyte of commas": (lambda: "[" + "," * 1_000_000, "a value is missing here"),
    "a megabyte of tabs": (lambda: "\t" * 1_000_000, "a tab stands where YAML allows only spaces"),
    "a megabyte of quotes": (lambda: '"' * 1_000_000, "text stands after the end of the document"),
    "a key of 200 000 characters": (lambda: "? " + "k" * 200_000 + "\n: 1\n? [x]\n: 2", "a key must be text"),
}


@pytest.mark.slow  # not in itself: it measures processor time, which coverage would count as its own
@pytest.mark.parametrize(("build", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_document_is_a_short_error_at_little_cost(build: Callable[[], str], message: str) -> None:
    data = build().encode()
    before = time.process_time()
    result = read(data, "f.yaml")
    seconds = time.process_time() - before

    assert seconds < 1
    assert result.problems[-1].message.startswith(message)
    assert all(problem.where is not None and len(str(problem)) < 400 for problem in result.problems)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: @x", (1, 4), "this character cannot begin a value"),
        ("a: %x", (1, 4), "this character cannot begin a value"),
        ("a: 'x", (1, 4), "the quoted text that begins here has no end"),
        ("a: [x", (2, 1), "the list in `[ ]` has no comma or no end here"),
        ("a: {x", (2, 1), "the mapping in `{ }` has no comma or no end here"),
        ("a: | x\n  y", (1, 6), "text follows `|` or `>` on the same line"),
        ("a: |x\n  y", (1, 5), "text follows `|` or `>` on the same line"),
        ("a: 1\n\tb: 2", (2, 1), "a tab stands where YAML allows only spaces"),
        ("a\nb: 1\nc", (2, 2), "what stands before this `:` cannot be a key"),
        ("a: 1\nb\n", (2, 1), "this line is no `key: value` pair"),
    ],
)
def test_the_complaints_of_the_parser_are_put_into_our_words(text: str, place: tuple[int, int], message: str) -> None:
    problem = only_problem(f"{text}\n".encode())

    assert (problem.message, problem.where) == (message, at(*place))
    assert problem.fix


def _values(value: YamlValue) -> int:
    if isinstance(value, YamlMapping):
        return 1 + sum(1 + _values(entry.value) for entry in value.entries)
    return 1 + sum(map(_values, value.items)) if isinstance(value, YamlSequence) else 1


def test_nothing_of_a_document_is_lost() -> None:
    assert _values(parsed("a: [1, {b: c, d: []}, {}]\ne: {f: g}\n")) == 14


def test_no_module_uses_a_loader_that_builds_objects() -> None:
    """yaml.load and its relatives construct what a document asks for; the C parser dies on deep nesting."""
    forbidden = {"load", "load_all", "full_load", "unsafe_load", "safe_load", "CLoader", "CSafeLoader", "compose"}
    folder = Path(teastreams.workflow.__file__).parent
    used = {
        node.attr
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml"
    }

    assert "parse" in used
    assert not used & forbidden
