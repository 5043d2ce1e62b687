"""What the words of a command line mean, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from teastreams.cli import arguments
from teastreams.cli.arguments import MOST_SECONDS, UsageError, command_line, given_state


def state_of(*words: str) -> dict[str, Any]:
    return given_state(command_line(["run", "w.yaml", *words]))


def test_without_words_the_state_is_empty() -> None:
    """A workflow may need no input."""
    assert state_of() == {}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("x=3", 3),
        ("x=3.5", 3.5),
        ("x=true", True),
        ("x=null", None),
        ('x={"a": [1]}', {"a": [1]}),
        ('x="3"', "3"),
        ("x=tea", "tea"),
        ("x=a=b", "a=b"),
        ("x=", ""),
        ("x=True", "True"),
        ("x=[1", "[1"),
        ("x=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_where_it_is_json_and_text_elsewhere(pair: str, value: Any) -> None:
    """Everything after the first equals sign."""
    assert state_of("--set", pair) == {"x": value}


@pytest.mark.parametrize("pair", ["x", "=1", ""])
def test_a_pair_needs_a_key_and_an_equals_sign(pair: str) -> None:
    """The message shows what was written."""
    with pytest.raises(UsageError, match="write it as KEY=VALUE") as refused:
        state_of("--set", pair)
    assert repr(pair) in str(refused.value)


def test_single_keys_come_after_the_input_and_the_last_one_wins() -> None:
    """Whatever the order of the options."""
    assert state_of("--set", "a=1", "--input", '{"a": 0, "b": 0}', "--set", "a=2") == {"a": 2, "b": 0}


@pytest.mark.parametrize(("text", "kind"), [("[1]", "list"), ("3", "int"), ("null", "NoneType"), ('"x"', "str")])
def test_input_that_is_no_object_is_refused(text: str, kind: str) -> None:
    """A state has keys."""
    with pytest.raises(UsageError, match=f"must be a JSON object, this is a {kind}"):
        state_of("--input", text)


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "[" * 100_000])
def test_input_that_is_no_json_is_refused(text: str) -> None:
    """Even where the parser gives up for its depth."""
    with pytest.raises(UsageError, match="--input is no JSON"):
        state_of("--input", text)


def test_a_file_is_read_as_utf_8(tmp_path: Path) -> None:
    """JSON is UTF-8; a file in another encoding is named, and so is one that is not there."""
    file = tmp_path / "in"
    file.write_bytes(json.dumps({"tea": "thé"}, ensure_ascii=False).encode("utf-8"))
    assert state_of("--input", f"@{file}") == {"tea": "thé"}
    file.write_bytes(b'{"tea": "th\xe9"}')
    with pytest.raises(UsageError, match=r"cannot be read.*utf-8"):
        state_of("--input", f"@{file}")
    with pytest.raises(UsageError, match="No such file"):
        state_of("--input", f"@{file}.absent")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "", "1e9"])
def test_seconds_are_positive_and_fit_a_timer(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the limit in the message."""
    with pytest.raises(SystemExit) as left:
        command_line(["run", "w.yaml", f"--timeout={text}"])
    assert left.value.code == 2
    assert f"positive number of seconds, at most {MOST_SECONDS}, not {text!r}" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("60", 60.0), ("1e8", 1e8)])
def test_seconds_may_be_a_fraction(text: str, seconds: float) -> None:
    """And as many as three years."""
    assert command_line(["run", "w.yaml", "--timeout", text]).timeout == seconds


def test_every_exit_code_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts are written from it."""
    with pytest.raises(SystemExit):
        command_line(["run", "--help"])
    told = " ".join(capsys.readouterr().out.split()).partition("exit codes:")[2]
    assert [int(word) for word in told.replace(",", "").split() if word.isdigit()] == [0, 1, 2, 3, 5, 75, 130, 143]


def test_input_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "MOST_CHARACTERS", 100)
    with pytest.raises(UsageError, match="--input @/dev/zero: more than 100 characters; let a node read"):
        state_of("--input", "@/dev/zero")


def test_a_name_that_no_file_can_have_is_told() -> None:
    with pytest.raises(UsageError, match="the file cannot be read: embedded null byte"):
        state_of("--input", "@a\0b")
