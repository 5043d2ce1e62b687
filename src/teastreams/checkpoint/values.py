"""State as JSON text and back: plain JSON values and the few kinds listed in `_KINDS`.

Laws: a value comes back as it was (equal, of the same type, in the same order) or is refused with the path of its key;
nothing is approximated. Reading builds no object but those kinds and what the user's own codecs build: there is no
pickle, no import by name. Only exact types are known, because a subclass would come back as its base; so a wrapper for
secrets is refused by itself.
"""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, timedelta, timezone
from math import isfinite
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Optional

from teastreams.checkpoint.parts import json_of, whole
from teastreams.checkpoint.protocol import CheckpointError
from teastreams.values import dataclass

MAX_DEPTH = 100
MAX_INT_BITS = 4096  # Python refuses to read or write integers of more than 4300 digits as text
MAX_PATH_CHARACTERS = 200

# A value outside JSON is {"$kind": its kind, "value": JSON}. So is, as a list of pairs, a dict that has such a key of
# its own or keys that are not text.
_KIND, _CODEC = "$kind", "codec"


@dataclass(frozen=True)
class Codec:
    """How values of one more type are kept in checkpoints: under `name`, as what `encode` makes of them.

    `type` is meant exactly, not its subclasses. `encode` gives a value that can be kept, `decode` makes the first out
    of it again. The name stands in the file: who reads it needs a codec of that name.
    """

    type: type
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def checked_codecs(codecs: Iterable[Codec]) -> tuple[Codec, ...]:
    """The codecs; ValueError when two have one name or type, or one is for a type that is kept without it."""
    known: list[Codec] = []
    for codec in codecs:
        if codec.type in _ENCODERS or codec.type in (bool, str, type(None)):
            raise ValueError(
                f"the codec {codec.name!r} is for {codec.type.__name__}, which is kept as it is; remove it"
            )
        if any(codec.name == other.name or codec.type is other.type for other in known):
            raise ValueError(f"the codec {codec.name!r} has the name or the type of another one; give it its own")
        known.append(codec)
    return tuple(known)


_NO_CODECS: Mapping[type, Codec] = {}


class _Where:
    """The path to a value, as a chain that becomes text only when somebody has to read it; and the codecs in force."""

    __slots__ = ("codecs", "depth", "key", "parent")

    def __init__(self, parent: Optional[_Where], key: Any, codecs: Mapping[type, Codec] = _NO_CODECS) -> None:
        self.parent, self.key = parent, key
        self.depth: int = parent.depth + 1 if parent else 0
        self.codecs: Mapping[type, Codec] = parent.codecs if parent else codecs

    def __str__(self) -> str:
        keys, here = [], self
        while here.parent is not None:
            keys.append(f"[{here.key!r}]")
            here = here.parent
        text = "state" + "".join(reversed(keys))
        return text if len(text) <= MAX_PATH_CHARACTERS else f"{text[:120]} ... {text[-60:]}"


def tree_of(state: Mapping[str, Any], codecs: Iterable[Codec] = ()) -> Any:
    """The state as JSON values; CheckpointError names the key of a value that cannot be kept."""
    return _encoded(dict(state), _Where(None, None, {codec.type: codec for codec in codecs}))


def text_of(state: Mapping[str, Any]) -> str:
    """The state as ASCII JSON, in one piece."""
    return json_of(tree_of(state))


def _no_part(name: str) -> str:
    raise LookupError(f"its part {name} is not there")


def state_of(text: str, part: Callable[[str], str] = _no_part, codecs: Iterable[Codec] = ()) -> dict[str, Any]:
    """What `text_of` or `divided` was given; CheckpointError if the text, or a part of it, is not of that making."""
    try:
        state = _decoded(whole(json.loads(text), part), {codec.name: codec for codec in codecs})
    except CheckpointError:
        raise
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
    if kind in where.codecs:
        return _by_codec(where.codecs[kind], value, where)
    encode = _ENCODERS.get(kind)
    if encode is None:
        raise CheckpointError(
            f"{where} is a {kind.__module__}.{kind.__qualname__} and cannot be kept in a checkpoint; keep plain data "
            "there (numbers, text, bytes, lists, tuples, sets, dicts, Path, dates and times), "
            "give the checkpointer a Codec for the type, or remove the key first"
        )
    return encode(value, where)


def _by_codec(codec: Codec, value: Any, where: _Where) -> Any:
    try:
        plain = codec.encode(value)
    except Exception as error:
        raise CheckpointError(
            f"{where} could not be kept: the codec {codec.name!r} raised {type(error).__name__}: {error}; correct it"
        ) from error
    # One level deeper: a codec whose values hold values of its own type must come to an end.
    return {_KIND: _CODEC, "value": [codec.name, _encoded(plain, _Where(where, codec.name))]}


def _decoded(value: Any, codecs: Mapping[str, Codec]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, codecs) for item in value]
    if not isinstance(value, dict):
        return value
    if _KIND not in value:
        return {key: _decoded(item, codecs) for key, item in value.items()}
    plain = _decoded(value["value"], codecs)
    if value[_KIND] == _CODEC:
        name, inner = plain
        return _from_codec(name, inner, codecs)
    return _KINDS[value[_KIND]](plain)


def _from_codec(name: Any, plain: Any, codecs: Mapping[str, Codec]) -> Any:
    codec = codecs.get(name)
    if codec is None:
        raise CheckpointError(
            f"the state of a checkpoint was written with the codec {name!r}; give the checkpointer a Codec of that name"
        )
    try:
        return codec.decode(plain)
    except Exception as error:
        raise CheckpointError(
            f"the state of a checkpoint cannot be read: the codec {name!r} raised {type(error).__name__}: {error}; "
            "correct it, or resume from another"
        ) from error


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
