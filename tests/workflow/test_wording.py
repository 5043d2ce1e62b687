"""How messages quote, suggest and translate."""

from __future__ import annotations

import time

import pytest

from teastreams.workflow.wording import MAX_QUOTED, complaint, escaped, kind_of, listed, nearest, quoted


def test_quoted_text_is_shown_as_it_is_when_it_is_harmless() -> None:
    assert quoted("a name") == "'a name'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31m", "\\x1b[31m"), ("a\nb", "a\\nb"), ("\u202ex", "\\u202ex"), ("\ud800", "\\ud800"), ("é日", "é日")],
)
def test_what_cannot_be_printed_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize("text", ["x" * 201, "x" * 300_000, "\x1b" * 150])
def test_quoted_text_is_cut_at_200_characters(text: str) -> None:
    shown = escaped(text)

    assert len(shown) == MAX_QUOTED + len("...")
    assert shown.endswith("...")


def test_two_hundred_characters_are_not_cut() -> None:
    assert escaped("x" * 200) == "x" * 200


def test_words_are_listed_between_backquotes() -> None:
    assert listed(("a", "b")) == "`a`, `b`"


def test_the_nearest_name_is_found() -> None:
    assert nearest("stdot", ("stdin", "stdout", "stderr")) == "stdout"


def test_a_word_like_none_of_the_names_has_no_nearest() -> None:
    assert nearest("xyz", ("stdin", "stdout")) is None


def test_only_the_first_thousand_names_are_compared() -> None:
    names = [f"{number:06}" for number in range(1000)] + ["reader"]

    assert nearest("readr", names) is None
    assert nearest("readr", names[1:]) == "reader"


def test_a_very_long_word_is_not_compared() -> None:
    before = time.process_time()

    assert nearest("x" * 250_000, ["x" * 250_000]) is None
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "empty"),
        ("", "empty"),
        (True, "true"),
        (False, "false"),
        (0, "the number 0"),
        (5, "the number 5"),
        (1.5, "the number 1.5"),
        ("x", "the text 'x'"),
    ],
)
def test_values_are_named_by_their_kind(value: object, words: str) -> None:
    assert kind_of(value) == words


def test_a_complaint_without_a_translation_keeps_the_words_of_the_library() -> None:
    assert complaint("strange \x1b thing", "while looking")[0] == (
        "this is not valid YAML: strange \\x1b thing (while looking)"
    )
    assert complaint("strange thing", "")[0] == "this is not valid YAML: strange thing"
