"""The checker sees each invariant broken, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from checker import History, Reader, check, recorded_as

WHOLE = Reader("consumer1", 100, wrong=False, end=1, whole=100)
CUT = replace(WHOLE, count=50, end=2)
WELL = History(readers=(WHOLE,))
FAILED = History(how="failed", cause="producer", message="it failed", victim="producer", readers=(CUT,))

GOOD = {
    "all is well": WELL,
    "the producer failed and its reader was told": FAILED,
    "a reader was cut before it could be told": replace(FAILED, readers=(replace(CUT, end=0),)),
    "a limit was reached": History(how="limit", message="no room"),
    "the host was killed": History(how="died", second=False, readers=(replace(CUT, end=0),)),
    "several are named": replace(FAILED, cause="consumer1, producer"),
    "the memory is within its bound": replace(WELL, memory_bytes=5, memory_limit_bytes=5),
}
BROKEN = {
    "I1: consumer1 read other bytes": replace(WELL, readers=(replace(WHOLE, wrong=True),)),
    "I1: consumer1 read 101 bytes of 100": replace(WELL, readers=(replace(WHOLE, count=101),)),
    "I1: consumer1 took 99 of 100 bytes": replace(FAILED, readers=(replace(WHOLE, count=99),)),
    "I1: the run ended well, and consumer1": replace(WELL, readers=(replace(WHOLE, count=5, end=0),)),
    "I2: consumer1 saw an end of file": replace(FAILED, cut_upstream=True, readers=(replace(CUT, end=1),)),
    "I2: a failed section left state: x": replace(FAILED, keys=("x",)),
    "I3: processes [7] outlived": replace(WELL, outside=("processes [7] outlived the host",)),
    "I4: a child is left": replace(WELL, untouched="a child is left: pid 7"),
    "I5: ": replace(WELL, untouched="changed its caller's world: {'descriptors': (3, 4)}"),
    "I6: it held 6 bytes, 5 allowed": replace(WELL, memory_bytes=6, memory_limit_bytes=5),
    "I7: it took 11.0 s": replace(WELL, seconds=11.0),
    "I7: it hung": replace(WELL, outside=("it hung; its stacks are in what it printed",)),
    "I8: the caller got KeyError": History(how="KeyError", message="'x'"),
    "I8: 'producer' is at fault, and 'consumer1' is named": replace(FAILED, cause="consumer1"),
    "I8: the error says nothing": replace(FAILED, message=""),
    "I8: 'producer' was ended, and the run ended well": replace(WELL, victim="producer", hard=True),
    "I9: ": replace(WELL, untouched="changed its caller's world: {'umask': (18, 0)}"),
    "I10: ": replace(WELL, second=False),
    "I11: the host printed: Traceback": replace(WELL, outside=("the host printed: Traceback",)),
    "I12: a secret stands in stderr": replace(WELL, canaries=("stderr",)),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_good_history_has_no_violation(history: History) -> None:
    """Also of runs that failed as they should."""
    assert check(history) == []


@pytest.mark.parametrize(("begins", "history"), BROKEN.items(), ids=BROKEN)
def test_a_broken_history_is_seen(begins: str, history: History) -> None:
    """By exactly the invariant that it breaks."""
    assert [violation.startswith(begins) for violation in check(history)] == [True]


def test_every_invariant_has_a_history_that_breaks_it() -> None:
    assert {begins.split(":")[0] for begins in BROKEN} == {f"I{number}" for number in range(1, 13)}


def test_a_history_survives_json() -> None:
    """Lists become tuples again, readers become readers."""
    data: dict[str, Any] = {"how": "failed", "keys": ["x"], "readers": [vars(WHOLE)]}
    assert recorded_as(data) == History(how="failed", keys=("x",), readers=(WHOLE,))
