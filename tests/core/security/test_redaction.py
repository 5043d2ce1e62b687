"""Facts about taking what must not be shown out of text and bytes."""

from __future__ import annotations

import random

import pytest

from teastreams.core.security.redaction import LEAST_CHARACTERS, MASK, Redaction


@pytest.mark.parametrize(
    ("needles", "text", "shown"),
    [
        ([], "nothing to hide", "nothing to hide"),
        (["secret"], "", ""),
        (["secret"], "a secret.", "a ***."),
        (["secret"], "secretsecret", "***"),
        (["secret", "secretive"], "secretive secret", "*** ***"),
        (["abcdef123", "123456xyz"], "<abcdef123456xyz>", "<***>"),
        (["aaaaaa"], "aaaaaaaaab", "***b"),
        (["one\ntwo-three"], "one\ntwo-three; two-three", "***; ***"),
        (["  padded  "], "[padded]", "[***]"),
        (["short"], "short", "short"),
        (["grün-grün"], "ist grün-grün!", "ist ***!"),
    ],
)
def test_what_is_shown(needles: list[str], text: str, shown: str) -> None:
    """Of needles that overlap nothing is left, and a needle that is too short is not looked for."""
    redaction = Redaction.of(iter(needles))

    assert redaction.text(text) == shown
    assert redaction.data(text.encode()) == shown.encode()


def test_it_does_not_show_itself() -> None:
    assert "secret" not in repr(Redaction.of(["secret-text"]))


def test_the_longest_needle_counts_in_bytes() -> None:
    assert Redaction.of(["grüne1", "abcdef"]).longest_bytes == 7
    assert Redaction().longest_bytes == 0


def test_bytes_that_are_no_text_are_masked_as_well() -> None:
    """A variable of the environment may hold any bytes."""
    needle = b"\xff\xfe-secret".decode("utf-8", "surrogateescape")

    assert Redaction.of([needle]).data(b"a \xff\xfe-secret b") == b"a *** b"


@pytest.mark.parametrize("seed", range(200))
def test_no_needle_is_left_in_any_text(seed: int) -> None:
    """And what belongs to none stays, in its order."""
    dice = random.Random(seed)

    def word(least: int, most: int) -> str:
        return "".join(dice.choice("ab") for _ in range(dice.randint(least, most)))

    needles = [word(LEAST_CHARACTERS, 9) for _ in range(3)]
    text = word(0, 60)
    shown = Redaction.of(needles).text(text)

    covered = {
        place
        for needle in needles
        for start in range(len(text))
        if text.startswith(needle, start)
        for place in range(start, start + len(needle))
    }
    assert shown.replace(MASK, "") == "".join(each for place, each in enumerate(text) if place not in covered)
    assert not any(needle in part for needle in needles for part in shown.split(MASK))
