"""What one word of YAML means, and what a size is."""

from __future__ import annotations

import math
import time

import pytest

from teastreams.workflow.scalars import MAX_DIGITS, resolved, size_of


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_null_has_five_spellings(text: str) -> None:
    assert resolved(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False)],
)
def test_true_and_false_are_written_in_three_cases(text: str, value: bool) -> None:
    assert resolved(text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("5", 5), ("-5", -5), ("+5", 5), ("010", 10), ("9" * MAX_DIGITS, int("9" * MAX_DIGITS))],
)
def test_decimal_digits_are_an_integer(text: str, value: int) -> None:
    result = resolved(text)

    assert type(result) is int
    assert result == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-999", 0.0),
        (".inf", math.inf),
        ("+.Inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_a_point_or_an_exponent_makes_a_float(text: str, value: float) -> None:
    result = resolved(text)

    assert type(result) is float
    assert result == value


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_nan_is_a_float(text: str) -> None:
    result = resolved(text)

    assert isinstance(result, float)
    assert math.isnan(result)


@pytest.mark.parametrize(
    "text",
    [
        "on", "off", "yes", "no", "On", "NO", "y", "n", "tRUE", "nULL", "12:30:45", "1:20", "2026-01-02", "0x1F",
        "0o17", "0b1", "1_000", "1,5", "1.2.3", "e3", ".", "-", "+", "--1", "1e", ".e1", "inf", "nan", "+.nan", "<<",
        "=", "1 2", "\u0661", "1\n",
    ],
)  # fmt: skip
def test_everything_else_is_text(text: str) -> None:
    assert resolved(text) == text


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1" * 297 + "e99"])
def test_a_number_beyond_the_range_of_floats_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        resolved(text)


@pytest.mark.parametrize("text", ["9" * (MAX_DIGITS + 1), "1" * 200_000, "0." + "1" * 200_000, "1e" + "1" * 200_000])
def test_a_very_long_number_is_refused_at_once_without_being_repeated(text: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match=f"^a number of {len(text)} characters is longer than 300$"):
        resolved(text)

    assert time.process_time() - before < 0.2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5B", 5),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("8MiB", 8 * 1024**2),
        ("1GiB", 1024**3),
        ("2TiB", 2 * 1024**4),
        ("1KB", 1000),
        ("1MB", 1000**2),
        ("3GB", 3 * 1000**3),
        ("1TB", 1000**4),
        ("8mib", 8 * 1024**2),
        ("0KiB", 0),
    ],
)
def test_a_size_is_a_whole_number_and_a_unit(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "64", "64K", "64k", "1.5GiB", "-1KiB", "KiB", "64  KiB", "64KiBs", "64PiB", "64iB", "1" * 16 + "KiB", "x"],
)
def test_anything_else_is_no_size(text: str) -> None:
    assert size_of(text) is None
