"""cli/visible.py: nothing in a text can act on a terminal, and its width is known."""

from __future__ import annotations

import pytest

from teastreams.cli.visible import clipped, columns, padded, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 100 %", "plain words, 100 %"),
        ("thé 日本 é", "thé 日本 é"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\rb\nc\x00\x7f", "a\\rb\\nc\\x00\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("file\u202etxt.exe\u2066", "file\\u202etxt.exe\\u2066"),
        ("\ud800 \u2028", "\\ud800 \\u2028"),
        ("a\tb", "a b"),
    ],
)
def test_controls_are_written_out(text: str, shown: str) -> None:
    """Escape sequences, C1 controls, line ends, marks of direction, half characters."""
    assert visible(text) == shown


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("aあb", 4)])
def test_width_is_counted_in_columns(text: str, width: int) -> None:
    """Wide characters take two, marks on a letter none."""
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "most", "cut"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd~"),
        ("日本語", 5, "日本~"),
        ("日本語", 4, "日~"),
        ("ab", 1, "~"),
        ("ab", 0, ""),
    ],
)
def test_what_is_too_wide_is_cut_with_a_mark(text: str, most: int, cut: str) -> None:
    """Never in the middle of a wide character, and never wider than asked."""
    assert clipped(text, most) == cut
    assert columns(clipped(text, most)) <= max(0, most)


def test_padding_makes_columns() -> None:
    assert [padded(each, 4) for each in ("ab", "日本語", "")] == ["ab  ", "日~ ", "    "]
