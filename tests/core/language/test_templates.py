"""Facts about `core.language.templates`: what a hole may name, what may fill it, and what is refused with advice."""

from __future__ import annotations

import random
from pathlib import PurePosixPath
from typing import Any

import pytest

from teastreams.core.language.templates import Reference, TemplateError, filled, parsed

VALUES: dict[str, dict[str, Any]] = {
    "state": {"path": "a b.gz", "n": 7, "half": 0.5, "deep": {"list": ["x", {"k y": "z"}]}, "flag": True, "none": None},
    "variables": {"limit": 3, "folder": PurePosixPath("/data")},
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain } text }}", "plain } text }}"),
        ("{{ state.path }}", "a b.gz"),
        ("{{state.path}}", "a b.gz"),
        ("in/{{ state.n }}-{{ variables.limit }}.gz", "in/7-3.gz"),
        ("{{ state.half }}", "0.5"),
        ("{{ variables.folder }}/x", "/data/x"),
        ("{{ state['path'] }}", "a b.gz"),
        ('{{ state.deep.list[1]["k y"] }}', "z"),
        ("{{ state.deep['list'][ 0 ] }}", "x"),
        ('{{ "{{" }}.Names}}', "{{.Names}}"),
        ("{{ '}}' }}", "}}"),
        ('{{ "" }}', ""),
    ],
)
def test_a_hole_is_filled_with_the_value_it_names(text: str, shown: str) -> None:
    assert filled(text, VALUES) == shown


def test_what_fills_a_hole_is_not_read_again() -> None:
    """No value can become another template."""
    values = {"state": {"a": "{{ state.b }}", "b": "secret"}, "variables": {}}
    assert filled("{{ state.a }}", values) == "{{ state.b }}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ state }}", "{{ }}", "{{ 1 }}", "{{ stat.x }}", "{{ states.x }}", "{{ state. }}", "{{ state..x }}",
        "{{ state.x y }}", "{{ state.x() }}", "{{ state['x' }}", "{{ state[x] }}", "{{ state[-1] }}", "{{ state[] }}",
        "{{ state.x | upper }}", "{{ 'a' 'b' }}", "{{ ' }}", "{{ state['}}'] ",
    ],
)  # fmt: skip
def test_a_hole_that_names_no_value_is_refused_with_advice(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parsed(text)
    assert caught.value.fix.startswith("write `")


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        (
            "{{ state.gone }}",
            "`{{ state.gone }}` has no value: state holds deep, flag, half, n, none, path",
            "put 'gone' there before this node runs, or correct the name",
        ),
        (
            "{{ state.deep.list[9] }}",
            "`{{ state.deep.list[9] }}` has no value: state holds deep, flag, half, n, none, path",
            "put 9 there before this node runs, or correct the name",
        ),
        (
            "{{ state.n.x }}",
            "`{{ state.n.x }}` has no value: state holds deep, flag, half, n, none, path",
            "put 'x' there before this node runs, or correct the name",
        ),
        (
            "{{ state.deep['list'] }}",
            "`{{ state.deep.list }}` is list, and only a text, a number or a path can stand here",
            "turn it into a text in a node before this one",
        ),
        (
            "{{ state.flag }}",
            "`{{ state.flag }}` is bool, and only a text, a number or a path can stand here",
            "turn it into a text in a node before this one",
        ),
        (
            "{{ state.none }}",
            "`{{ state.none }}` is NoneType, and only a text, a number or a path can stand here",
            "turn it into a text in a node before this one",
        ),
    ],
)
def test_a_hole_that_cannot_be_filled_says_which_and_what_to_do(text: str, message: str, fix: str) -> None:
    with pytest.raises(TemplateError) as caught:
        filled(text, VALUES)
    assert (str(caught.value), caught.value.fix) == (message, fix)


def test_a_secret_is_no_part_of_an_argument() -> None:
    """Every user of the machine sees the arguments of a program."""
    with pytest.raises(TemplateError, match="names no value") as caught:
        parsed("--token={{ secrets.KEY }}")
    assert caught.value.fix.startswith("arguments and paths are no place for secrets")


def test_an_empty_state_holds_nothing() -> None:
    with pytest.raises(TemplateError, match="state holds nothing"):
        filled("{{ state.x }}", {"state": {}, "variables": {}})


def test_a_reference_is_shown_as_it_may_be_written() -> None:
    place = Reference("state", ("a", "b c", 0))
    assert str(place) == "state.a['b c'][0]"
    assert parsed("{{ " + str(place) + " }}") == (place,)


def test_no_text_makes_it_fail_otherwise() -> None:
    """20 000 texts of the characters that mean something, by one seed."""
    chance = random.Random(20)
    for _ in range(20_000):
        text = "".join(chance.choices(["{{", "}}", "{", "}", "state", ".", "x", "[", "]", "'", '"', "0", " "], k=9))
        try:
            parts = parsed(text)
        except TemplateError:
            continue
        assert "{{" not in text or any(isinstance(part, Reference) or part in text for part in parts)
