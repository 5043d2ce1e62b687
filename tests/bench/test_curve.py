"""Curves of given times: their table, their JSON, and the rate of the slowest reader."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import harness
import pytest

from teastreams.bench.figures import Comparison, Side

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import curve  # noqa: E402
import curves  # noqa: E402

MB = 1_000_000


def at(*seconds: float) -> Comparison:
    """Ours, another with twice the seconds, and one that is missing."""
    twice = tuple(2 * each for each in seconds)
    sides = (Side("teastreams", seconds), Side("a | b", twice), Side("tee", (), "there is no tee"))
    return Comparison("x", "x", "MB/s", 1000 * MB, sides)


CURVE = curve.Curve("s", "Sizes", "bytes in a write", curve.BYTES, ((64, at(8.0, 4.0, 2.0)), (1 << 20, at(0.3))))


def test_the_table_has_a_row_for_each_place_and_a_column_for_each_side() -> None:
    """Behind the others' figures how many times as fast ours is."""
    assert curve.as_markdown(CURVE).split("\n") == [
        "| bytes in a write | teastreams, MB/s | a \\| b, MB/s | tee, MB/s |",
        "| ---: | ---: | ---: | ---: |",
        "| 64 B | 250 | 125 (2.00) | not measured |",
        "| 1 MiB | 3333 | 1667 (2.00) | not measured |",
    ]
    assert curve.absences(CURVE) == ("tee: there is no tee",)


def test_figures_of_a_side_are_where_it_was_measured() -> None:
    """Medians in the unit."""
    assert curve.values(CURVE)["teastreams"] == [(64, 250.0), (1 << 20, pytest.approx(3333.33, abs=0.01))]
    assert curve.values(CURVE)["tee"] == []


def test_a_curve_comes_back_from_json() -> None:
    """Whole."""
    assert curve.curve_from_dict(json.loads(json.dumps(curve.curve_as_dict(CURVE)))) == CURVE


@pytest.mark.parametrize(
    ("place", "unit", "text"),
    [
        (64, "bytes", "64 B"),
        (4096, "bytes", "4 KiB"),
        (1 << 20, "bytes", "1 MiB"),
        (1500, "bytes", "1500 B"),
        (16, "", "16"),
    ],
)
def test_places_are_named_by_their_unit(place: int, unit: str, text: str) -> None:
    """In powers of 1024 where that loses nothing."""
    assert curve.place_text(place, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (1.0, "1.00"), (12.345, "12.3"), (99.96, "100"), (3333.3, "3333")]
)
def test_three_digits_count(value: float, text: str) -> None:
    """And more only before the point."""
    assert curve.number_text(value) == text


def test_the_slowest_reader_has_the_rate() -> None:
    """The bytes of its first read came while no clock ran."""
    reads = [curves.Read(20, 80, 2.0), curves.Read(60, 40, 2.0)]
    assert curves.seconds_for(400, 100, reads) == 20.0
    assert curves.seconds_for(400, 100, [curves.Read(100, 0, 0.5)]) == 2.0


def test_a_writer_writes_blocks_until_its_time_is_over() -> None:
    """So many between two looks at the clock; some even when it comes too late to write any."""
    found: list[bytes] = []
    assert curves.write_for(found.append, curves.Point(40_000, 1, 0.0)) == 40_000
    assert curves.write_for(found.append, curves.Point(16_384, 1, 0.0)) == 65_536
    assert [len(each) for each in found] == [40_000, *[16_384] * 4]


def test_a_reader_that_got_too_little_is_no_measurement() -> None:
    """Whoever else got everything."""
    with pytest.raises(SystemExit, match=r"got \[99, 100\] of 100 bytes"):
        curves.seconds_for(400, 100, [curves.Read(100, 0, 1.0), curves.Read(50, 49, 1.0)])


@pytest.mark.parametrize("name", curves.CURVES)
def test_a_curve_rises_and_compares_the_same_sides_everywhere(name: str) -> None:
    """Ours first."""
    _curve, tasks = curves.planned(name, 0.25)
    places = [place for place, _task in tasks]
    assert places == sorted(set(places))
    assert len({tuple(way.name for way in task.ways) for _place, task in tasks}) == 1
    assert tasks[0][1].ways[0].name == "teastreams"


WAYS = """
import sys
sys.path.insert(0, sys.argv[1])
import curves
point = curves.Point(4096, 2, 0.001)
told = {}
with untouched():
    for name, through, absent in curves.ways(*dict.fromkeys((*curves.DIRECT, *curves.BROADCAST))):
        written, reads = through(point) if through else (0, [])
        told[name] = absent or [written, *(read.first + read.rest for read in reads)]
tell(**told)
"""


@pytest.mark.slow
def test_every_way_brings_every_byte_to_every_reader() -> None:
    """And leaves nothing behind; one that is missing says why."""
    told: dict[str, Any] = harness.run(WAYS, arguments=(str(BENCHMARKS),)).told
    assert set(told) == {"teastreams", *curves.DIRECT, *curves.BROADCAST}
    for name, found in told.items():
        assert isinstance(found, str) or (len(found) == 3 and found[0] >= 4096 and len(set(found)) == 1), name
    assert isinstance(told["teastreams"], list)
