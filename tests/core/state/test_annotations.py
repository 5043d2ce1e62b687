"""core/state/annotations.py: Python annotations as types and reducers."""

from __future__ import annotations

import collections
import operator
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    Literal,
    Mapping,
    NewType,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)

import pytest
from typing_extensions import NotRequired, Required

from teastreams.core.state.annotations import annotated_keys, reducer_of, type_of
from teastreams.core.state.reducers import append
from teastreams.core.state.types import UnknownType, mismatch

Item = TypeVar("Item")
# The notation is that of Python 3.10.
SHORT = [(operator.or_(int, None), "int | null", [1, None], ["a"])] if sys.version_info >= (3, 10) else []
Name = NewType("Name", str)


class Inner(TypedDict):
    x: int


@pytest.mark.parametrize(
    ("annotation", "name", "fits", "fits_not"),
    [
        (int, "int", [1], ["a"]),
        (float, "float", [1, 1.5], ["a"]),
        (complex, "complex", [1, 1.5, 1j], ["a"]),
        (Any, "any", [object()], []),
        (object, "any", [None], []),
        (Item, "any", [None], []),
        (None, "null", [None], [0]),
        ("list[int]", "list[int]", [[1]], [["a"]]),
        (list[int], "list[int]", [[1]], [["a"]]),
        (List[List[int]], "list[list[int]]", [[[1]]], [[1], [["a"]]]),
        (Dict[str, Any], "dict[str, any]", [{"a": None}], [{1: 1}]),
        (Mapping[str, int], "Mapping[str, int]", [{"a": 1}], [[], {"a": "b"}]),
        (collections.Counter, "Counter", [collections.Counter()], [{}]),
        (collections.Counter[str], "Counter", [collections.Counter("a")], [{}]),
        (Collection[str], "Collection[str]", [{"a": 1}, ["a"]], [[1]]),
        (Sequence[int], "Sequence[int]", [[1], (1,)], [["a"], 1]),
        (Optional[int], "int | null", [1, None], ["a"]),
        (Union[int, str], "int | str", [1, "a"], [None]),
        (Tuple[int, str], "tuple[int, str]", [(1, "a")], [(1,), ("a", 1)]),
        (tuple[int, ...], "tuple[int, ...]", [(), (1, 2)], [("a",)]),
        (Literal["a", 1], "one of 'a', 1", ["a", 1], ["b", True]),
        (Annotated[int, "how many"], "int", [1], ["a"]),
        (Name, "str", ["a"], [1]),
        (Inner, "dict", [{}], [[]]),
        (Path, "Path", [Path()], ["a"]),
        (NotRequired[int], "int", [1], ["a"]),
        (Iterator[int], "Iterator", [iter([1])], [[1]]),
        (Callable[[int], int], "Callable", [len], [1]),
        (type, "type", [int], [1]),
        *SHORT,
    ],
)
def test_an_annotation_takes_its_values(annotation: Any, name: str, fits: list[Any], fits_not: list[Any]) -> None:
    """An iterator is not looked into: that would use it up."""
    wanted = type_of(annotation)
    assert wanted.name == name
    assert [mismatch(wanted, value, "key") for value in fits] == [None] * len(fits)
    assert all(mismatch(wanted, value, "key") for value in fits_not)


class Speaks(Protocol):
    def speak(self) -> None: ...


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (3, "3 is no type that can be checked"),
        (Speaks, "values cannot be checked against Speaks: "),
        ("lst", "`lst` is no type"),
        (list["lst"], "`lst` is no type|ForwardRef"),  # noqa: F821  not defined is what is meant
    ],
)
def test_what_cannot_be_checked_is_refused(annotation: Any, said: str) -> None:
    with pytest.raises(UnknownType) as refused:
        type_of(annotation)
    assert any(str(refused.value).startswith(each) or each in str(refused.value) for each in said.split("|"))
    assert refused.value.fix


class Typed(TypedDict, total=False):
    log: Annotated[list, append]
    total: Annotated[int, operator.add]


@dataclass
class Data:
    log: Annotated[List[str], "a note", "append"]
    name: str = ""


class Broken:
    log: nowhere  # type: ignore[name-defined]  # noqa: F821


def test_the_keys_of_a_class_are_its_annotations() -> None:
    assert list(annotated_keys(Typed)) == ["log", "total"]
    assert list(annotated_keys(Data)) == ["log", "name"]
    assert annotated_keys({"a": int}) == {"a": int}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (Broken, "the annotations of Broken cannot be read: name 'nowhere' is not defined"),
        ([int], "a schema is a mapping or a class, not [<class 'int'>]"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(UnknownType) as refused:
        annotated_keys(schema)
    assert str(refused.value) == said


def test_a_reducer_is_a_function_or_a_name_in_the_metadata() -> None:
    """A class and a text that names none are other people's metadata."""
    keys = annotated_keys(Typed)
    assert (reducer_of(keys["log"]), reducer_of(keys["total"])) == (append, operator.add)
    assert reducer_of(annotated_keys(Data)["log"]) is append
    assert reducer_of(Annotated[int, int, "a note", 3]) is None
    assert reducer_of(int) is None


def test_marks_of_presence_say_nothing_of_the_reducer() -> None:
    assert reducer_of(Required[Annotated[list, append]]) is append
