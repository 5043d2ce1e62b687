"""teastreams/values.py: records behave as those of the standard decorator, case by case beside it.

Every fact is checked with both decorators, so that what the standard one does is not this file's opinion.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from typing import Any, Callable, Optional

import pytest

import teastreams as ts
from teastreams.values import dataclass as lean

DECORATORS = [pytest.param(dataclasses.dataclass, id="standard"), pytest.param(lean, id="lean")]
both = pytest.mark.parametrize("decorator", DECORATORS)


def point(decorator: Callable[..., Any], **options: Any) -> Any:
    class Point:
        """A place."""

        x: int
        y: int = 2
        names: list = dataclasses.field(default_factory=list)
        hidden: Optional[str] = dataclasses.field(default=None, repr=False, compare=False)

    return decorator(**options)(Point) if options else decorator(Point)


@both
def test_values_come_by_place_by_name_and_by_default(decorator: Any) -> None:
    """A default factory makes a new value for each record."""
    kind = point(decorator, frozen=True)
    one, two = kind(1), kind(x=1, y=5, names=["a"])
    assert (one.x, one.y, one.names, one.hidden) == (1, 2, [], None)
    assert (two.x, two.y, two.names) == (1, 5, ["a"])
    assert kind(1).names is not one.names


@both
@pytest.mark.parametrize(
    ("args", "given"), [((), {}), ((1, 2, [], "", 5), {}), ((1,), {"x": 2}), ((1,), {"z": 2}), ((), {"y": 1})]
)
def test_a_wrong_call_is_a_type_error(decorator: Any, args: Any, given: Any) -> None:
    """Too few values, too many, one twice, an unknown one."""
    with pytest.raises(TypeError):
        point(decorator)(*args, **given)


def test_the_words_of_a_wrong_call_name_the_field() -> None:
    """Which one is missing, unknown or given twice."""
    kind = point(lean)
    for args, given, word in [
        ((), {}, "'x'"),
        ((1,), {"z": 2}, "'z'; its fields are x, y, names, hidden"),
        ((1,), {"x": 2}, "multiple values for 'x'"),
        ((1, 2, [], "", 5), {}, "takes 4 values, not 5"),
    ]:
        with pytest.raises(TypeError, match=word):
            kind(*args, **given)


@both
def test_equal_records_are_equal_and_others_are_not(decorator: Any) -> None:
    """A field that is not compared does not count; a record of another class is never equal."""
    kind, other = point(decorator, frozen=True), point(decorator, frozen=True)
    assert kind(1, hidden="a") == kind(1, hidden="b")
    assert kind(1) != kind(2)
    assert kind(1) != other(1)
    assert (kind(1) == 1) is False


@both
def test_a_frozen_record_is_hashable_and_refuses_changes(decorator: Any) -> None:
    """FrozenInstanceError for the fields, and for anything else."""
    kind = decorator(frozen=True)(type("Pair", (), {"__annotations__": {"a": int, "b": int}}))
    assert hash(kind(1, 2)) == hash(kind(1, 2))
    assert len({kind(1, 2), kind(1, 2), kind(2, 2)}) == 2
    record = kind(1, 2)
    for attempt in (lambda: setattr(record, "a", 1), lambda: setattr(record, "new", 1), lambda: delattr(record, "a")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            attempt()
    assert record == kind(1, 2)


@both
def test_a_record_that_is_not_frozen_changes_and_is_not_hashable(decorator: Any) -> None:
    """As the standard decorator has it."""
    record = point(decorator)(1)
    record.x = 5
    assert record.x == 5
    with pytest.raises(TypeError):
        hash(record)


@both
def test_without_eq_a_record_is_equal_to_itself_alone(decorator: Any) -> None:
    """And hashable by identity."""
    kind = point(decorator, frozen=True, eq=False)
    one = kind(1)
    assert [one] == [one]
    assert one != kind(1)
    assert hash(one) == hash(one)


@both
def test_repr_shows_the_fields_that_are_shown(decorator: Any) -> None:
    """A record inside itself is three dots."""
    record = point(decorator)(1, hidden="x")
    assert repr(record).endswith("Point(x=1, y=2, names=[])")
    record.names.append(record)
    assert repr(record).endswith("Point(x=1, y=2, names=[...])")


@both
def test_own_methods_stay(decorator: Any) -> None:
    """What a class defines itself is not replaced."""

    class Own:
        a: int

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError("below zero")

    kind = decorator(frozen=True)(Own)
    assert (repr(kind(1)), hash(kind(1)), kind(1) == kind(2)) == ("mine", 7, True)
    with pytest.raises(ValueError, match="below zero"):
        kind(-1)


@both
def test_a_record_without_fields_is_a_record(decorator: Any) -> None:
    """Equal to any other of its class."""
    kind = decorator(frozen=True)(type("Empty", (), {}))
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    assert repr(kind()) == "Empty()"


@both
def test_the_functions_of_dataclasses_work(decorator: Any) -> None:
    """fields, replace, asdict, astuple, is_dataclass, and copy.replace where there is one."""
    kind = point(decorator, frozen=True)
    record = kind(1, names=["a"])
    assert [field.name for field in dataclasses.fields(kind)] == ["x", "y", "names", "hidden"]
    assert dataclasses.replace(record, y=9) == kind(1, 9, ["a"])
    assert dataclasses.asdict(record) == {"x": 1, "y": 2, "names": ["a"], "hidden": None}
    assert dataclasses.astuple(record) == (1, 2, ["a"], None)
    assert dataclasses.is_dataclass(kind)
    if sys.version_info >= (3, 10):
        assert kind.__match_args__ == ("x", "y", "names", "hidden")
    if sys.version_info >= (3, 13):
        assert copy.replace(record, x=3).x == 3


@both
def test_a_class_can_be_derived(decorator: Any) -> None:
    """With the standard decorator, frozen from frozen; a plain subclass may have attributes of its own."""
    kind = point(decorator, frozen=True)
    derived = dataclasses.dataclass(frozen=True)(type("More", (kind,), {"__annotations__": {"z": int}, "z": 3}))
    assert derived(1).z == 3
    plain = type("Plain", (kind,), {})(1)
    plain.extra = 5
    assert plain.extra == 5
    del plain.extra
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del plain.x


@both
def test_a_signature_is_there_for_who_asks(decorator: Any) -> None:
    """Of the class its fields, of a record that can be called its call, of a subclass its own __init__."""
    kind = point(decorator)
    assert list(inspect.signature(kind).parameters) == ["x", "y", "names", "hidden"]
    assert inspect.signature(kind).parameters["y"].default == 2
    assert inspect.signature(kind).parameters["x"].default is inspect.Parameter.empty

    class Callee:
        a: int

        def __call__(self, state: Any) -> None: ...

    assert list(inspect.signature(decorator(Callee)(1)).parameters) == ["state"]
    own = type("Own", (kind,), {"__init__": lambda self, q: None})
    assert list(inspect.signature(own).parameters) == ["q"]


def test_records_of_the_package_can_be_pickled_and_copied() -> None:
    """Equal before and after, frozen as before."""
    record = ts.NodeFinished("a", "done", 1.5, 0)
    for again in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert again == record
        with pytest.raises(dataclasses.FrozenInstanceError):
            again.node = "b"


def test_methods_carry_the_name_of_their_class() -> None:
    """A traceback and a profile say whose they are."""
    assert ts.NodeFinished.__init__.__qualname__ == "NodeFinished.__init__"
    assert ts.NodeFinished.__eq__.__name__ == "__eq__"
