"""State as JSON text and back: plain JSON values and the few kinds listed in `_KINDS`.

Laws: a value comes back as it was (equal, of the same type, in the same order) or is refused with the path of its key;
nothing is approximated. Reading builds no object but those kinds: there is no pickle, no import by name, no hook. Only
exact types are known, because a subclass would come back as its base; so a wrapper for secrets is refused by itself.
"""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, timedelta, timezone
from math import isfinite
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

from teastreams.checkpoint.parts import json_of, whole
from teastreams.errors import TeaStreamsError

MAX_DEPTH = 100
MAX_INT_BITS = 4096  # Python refuses to read or write integers of more than 4300 digits as text
MAX_PATH_CHARACTERS = 200

# A value outside JSON is {"$kind": its kind, "value": JSON}. So is, as a list of pairs, a dict that has such a key of
# its own or keys that are not text.
_KIND = "$kind"


class CheckpointError(TeaStreamsError, ValueError):
    """A checkpoint cannot be written, found or trusted; the text says which, why, and what to do."""


class _Where:
    """The path to a value, as a chain that becomes text only when somebody has to read it."""

    __slots__ = ("depth", "key", "parent")

    def __init__(self, parent: Optional[_Where], key: Any) -> None:
        self.parent, self.key = parent, key
        self.depth: int = parent.depth + 1 if parent else 0

    def __str__(self) -> str:
        keys, here = [], self
        while here.parent is not None:
            keys.append(f"[{here.key!r}]")
            here = here.parent
        text = "state" + "".join(reversed(keys))
        return text if len(text) <= MAX_PATH_CHARACTERS else f"{text[:120]} ... {text[-60:]}"


def tree_of(state: Mapping[str, Any]) -> Any:
    """The state as JSON values; CheckpointError names the key of a value that cannot be kept."""
    return _encoded(dict(state), _Where(None, None))


def text_of(state: Mapping[str, Any]) -> str:
    """The state as ASCII JSON, in one piece."""
    return json_of(tree_of(state))


def _no_part(name: str) -> str:
    raise LookupError(f"its part {name} is not there")


def state_of(text: str, part: Callable[[str], str] = _no_part) -> dict[str, Any]:
    """What `text_of` or `divided` was given; CheckpointError if the text, or a part of it, is not of that making."""
    try:
        state = _decoded(whole(json.loads(text), part))
    # All that json and the decoders of _KINDS raise on text that somebody else wrote.
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(f"the state of a checkpoint cannot be read: {error!r}") from error
    if not isinstance(state, dict):
        raise CheckpointError("the state of a checkpoint is not a mapping")
    return state


def _encoded(value: Any, where: _Where) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if where.depth > MAX_DEPTH:
        raise CheckpointError(f"{where} is nested deeper than {MAX_DEPTH} levels, or contains itself; flatten it")
    encode = _ENCODERS.get(kind)
    if encode is None:
        raise CheckpointError(
            f"{where} is a {kind.__module__}.{kind.__qualname__} and cannot be kept in a checkpoint; keep plain data "
            "there (numbers, text, bytes, lists, tuples, sets, dicts, Path, dates and times) or remove the key first"
        )
    return encode(value, where)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _KIND in value:
        return _KINDS[value[_KIND]](_decoded(value["value"]))
    return {key: _decoded(item) for key, item in value.items()}


def _list(value: Any, where: _Where) -> list[Any]:
    return [_encoded(item, _Where(where, index)) for index, item in enumerate(value)]


def _dict(value: dict[Any, Any], where: _Where) -> Any:
    if all(type(key) is str for key in value) and _KIND not in value:
        return {key: _encoded(item, _Where(where, key)) for key, item in value.items()}
    pairs = [[_encoded(key, _Where(where, key)), _encoded(item, _Where(where, key))] for key, item in value.items()]
    return {_KIND: "dict", "value": pairs}


def _set(value: Any, where: _Where) -> list[Any]:
    # Sorted, so that equal sets are equal text whatever the hash seed of the process.
    return sorted((_encoded(item, _Where(where, item)) for item in value), key=json.dumps)


def _int(value: int, where: _Where) -> int:
    if value.bit_length() > MAX_INT_BITS:
        bits = value.bit_length()
        raise CheckpointError(f"{where} is an integer of {bits} bits, at most {MAX_INT_BITS}; keep it as bytes")
    return value


def _float(value: float, _where: _Where) -> Any:
    return value if isfinite(value) else {_KIND: "float", "value": str(value)}


def _datetime(value: datetime, where: _Where) -> list[Any]:
    if value.tzinfo is not None and type(value.tzinfo) is not timezone:
        zone = type(value.tzinfo)
        raise CheckpointError(
            f"{where} is a datetime with a {zone.__module__}.{zone.__qualname__}, which would come back as a fixed "
            "offset; keep value.astimezone(timezone.utc) there"
        )
    return [value.isoformat(), value.fold]


def _bytes(value: Any, _where: _Where) -> str:
    return base64.b64encode(value).decode()


def _unbytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(value: Any, _where: _Where) -> str:
    return str(value)


def _of_kind(name: str, encode: Callable[[Any, _Where], Any]) -> Callable[[Any, _Where], Any]:
    return lambda value, where: {_KIND: name, "value": encode(value, where)}


_ENCODERS: dict[type, Callable[[Any, _Where], Any]] = {
    int: _int,
    float: _float,
    list: _list,
    dict: _dict,
    tuple: _of_kind("tuple", _list),
    set: _of_kind("set", _set),
    frozenset: _of_kind("frozenset", _set),
    bytes: _of_kind("bytes", _bytes),
    bytearray: _of_kind("bytearray", _bytes),
    type(Path()): _of_kind("path", _text),
    date: _of_kind("date", _text),
    datetime: _of_kind("datetime", _datetime),
    timedelta: _of_kind("timedelta", lambda value, _where: [value.days, value.seconds, value.microseconds]),
}

_KINDS: dict[str, Callable[[Any], Any]] = {
    "bytearray": lambda text: bytearray(_unbytes(text)),
    "bytes": _unbytes,
    "date": date.fromisoformat,
    "datetime": lambda pair: datetime.fromisoformat(pair[0]).replace(fold=pair[1]),
    "dict": dict,
    "float": float,
    "frozenset": frozenset,
    "path": Path,
    "set": set,
    "timedelta": lambda parts: timedelta(*parts),
    "tuple": tuple,
}
