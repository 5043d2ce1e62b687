"""What `StateGraph` takes as the schema of its state -> `StateSchema`, with everything wrong in it told at once.

The types are read by `core.state.annotations`; here stand the ways to write a key in Python: a type, an `Annotated`, or
a dict as in a document, {"type": ..., "reducer": ...}; and `reducers=`, which goes before what the schema says.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Union

from teastreams.core.state.annotations import annotated_keys, reducer_of, type_of
from teastreams.core.state.reducers import NAMED, Reducer, replace
from teastreams.core.state.schema import StateSchema
from teastreams.core.state.types import ANY, Type, UnknownType
from teastreams.errors import Problem, WorkflowError

Declared = Union[Mapping[str, Any], type]
Reduced = Mapping[str, Union[str, Reducer]]
_KNOWN = f"a reducer is a function of two values, or one of {', '.join(NAMED)}"


def state_schema(schema: Optional[Declared], reducers: Optional[Reduced], enforce: bool) -> StateSchema:
    """The schema of a state. WorkflowError lists every key that cannot be read."""
    problems: list[Problem] = []
    types: dict[str, Type] = {}
    found: dict[str, Optional[Reducer]] = {}
    for key, annotation in _keys(schema, problems).items():
        written, named = _parted(annotation)
        try:
            types[key] = type_of(written)
        except UnknownType as unknown:
            problems.append(Problem(f"the key {key!r} of the state: {unknown}", unknown.fix))
        found[key] = reducer_of(written) if named is None else _reducer(key, named, problems)
    found.update({key: _reducer(key, named, problems) for key, named in (reducers or {}).items()})
    if problems:
        raise WorkflowError(problems)
    kept = {key: reducer for key, reducer in found.items() if reducer is not None and reducer is not replace}
    return StateSchema(types, kept, enforce)


def _keys(schema: Optional[Declared], problems: list[Problem]) -> Mapping[str, Any]:
    try:
        return annotated_keys(schema or {})
    except UnknownType as unknown:
        problems.append(Problem(str(unknown), unknown.fix))
        return {}


def _parted(annotation: Any) -> tuple[Any, Any]:
    """(the type, the reducer or None) of one key."""
    if isinstance(annotation, Mapping):
        return annotation.get("type", ANY.name), annotation.get("reducer")
    return annotation, None


def _reducer(key: str, named: Any, problems: list[Problem]) -> Optional[Reducer]:
    reducer = NAMED.get(named) if isinstance(named, str) else named
    if callable(reducer):
        return reducer
    problems.append(Problem(f"the key {key!r} of the state has the reducer {named!r}, which is none", _KNOWN))
    return None
