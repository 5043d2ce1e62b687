"""Facts about what this process keeps to itself. What workers do about it is in the scenarios."""

from __future__ import annotations

import os

import pytest

from teastreams.core.security.redaction import Redaction
from teastreams.runtime import calls
from teastreams.runtime.node.ending import classify, error_text
from teastreams.runtime.secrecy import (
    forget_environment,
    guarding,
    longest_bytes,
    masked,
    masked_bytes,
    safe_cause,
)

RED = Redaction.of(["red-secret"])
BLUE = Redaction.of(["blue-secret-text"])


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_it_holds_for_the_time_of_the_block_and_of_the_longest_of_several() -> None:
    text = "red-secret blue-secret-text"
    with guarding(RED), guarding(BLUE):
        assert masked(text) == "*** ***"
        assert masked_bytes(text.encode()) == b"*** ***"
        assert longest_bytes() == len("blue-secret-text")
    with guarding(RED):
        assert masked(text) == "*** blue-secret-text"
    assert masked(text) == text
    assert longest_bytes() == 0


def test_an_exception_is_told_without_it() -> None:
    """Its message, its traceback, and those of what it came from."""
    with guarding(RED):
        try:
            try:
                raise KeyError("inner red-secret")
            except KeyError as inner:
                raise ValueError("outer red-secret") from inner
        except ValueError as error:
            text = error_text(error)
            report = classify(SystemExit("red-secret"), frozenset())

    assert text.message == "outer ***"
    assert "red-secret" not in text.traceback
    assert "inner ***" in text.traceback
    assert report.error is not None
    assert report.error.message == "***"


def test_a_cut_message_has_no_half_of_it() -> None:
    with guarding(RED):
        text = error_text(ValueError("x" * (16 * 1024 - 4) + "red-secret"))

    assert text.message.endswith("x***")


def test_an_exception_is_kept_as_an_object_only_when_it_tells_nothing() -> None:
    plain, telling, unprintable = ValueError("plain"), ValueError("red-secret"), Unprintable()
    chained = ValueError("plain")
    chained.__cause__ = telling

    assert safe_cause(telling) is telling
    with guarding(RED):
        assert safe_cause(plain) is plain
        assert safe_cause(telling) is None
        assert safe_cause(chained) is None
        assert safe_cause(unprintable) is unprintable  # a traceback says that it cannot be printed
        assert safe_cause(None) is None


def test_a_worker_forgets_the_variables_and_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a worker of a run with secrets does."""
    limited: list[int] = []
    monkeypatch.setenv("RED", "red-secret")
    monkeypatch.setattr(calls.table, "set_core_limit", lambda: limited.append(0))

    forget_environment()
    assert os.environ["RED"] == "red-secret"
    with guarding(RED, frozenset({"RED", "NOT_THERE"})):
        forget_environment()
    assert "RED" not in os.environ
    assert limited == [0]
