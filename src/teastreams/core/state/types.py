"""What a value of the state may be, and where a value is something else.

A `Type` is plain data, made from the name in a document here, or from a Python annotation in `annotations`. It decides
as typing does: an int is a float, a bool is an int, a subclass is its base. Containers are looked through to the last
item, so a check of `list[int]` costs what the list is long, and one of `list` nothing. Nothing is converted.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Optional

from teastreams.values import dataclass

MAX_SHOWN = 40
MAX_TEXT = 200


@dataclass(frozen=True)
class Type:
    """One type: an instance of one of `classes`, with `items` and `keys` for what is inside, or one of `choices`.

    `fixed` are the types of a tuple's places, `literals` the only values allowed. `name` is what messages call it.
    """

    name: str
    classes: tuple[type, ...] = (object,)
    items: Optional[Type] = None
    keys: Optional[Type] = None
    fixed: Optional[tuple[Type, ...]] = None
    choices: tuple[Type, ...] = ()
    literals: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Mismatch:
    """A value that is not what was declared. `path` names it from the state's key on, as in `log[2]`."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path!r} must be {self.expected}, not {self.found}"


class UnknownType(Exception):
    """A declaration that names no type; `fix` is what to write instead."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


ANY = Type("any")
NULL = Type("null", (type(None),))
STR = Type("str", (str,))
INT = Type("int", (int,))
FLOAT = Type("float", (float, int))
NAMED: Mapping[str, Type] = {
    "str": STR,
    "int": INT,
    "float": FLOAT,
    "bool": Type("bool", (bool,)),
    "bytes": Type("bytes", (bytes,)),
    "list": Type("list", (list,)),
    "dict": Type("dict", (dict,)),
    "set": Type("set", (set, frozenset)),
    "tuple": Type("tuple", (tuple,)),
    "any": ANY,
    "null": NULL,
}
ALIASES = {
    "Any": "any",
    "None": "null",
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "mapping": "dict",
}


def type_named(text: str) -> Type:
    """The type that a text such as `dict[str, int] | null` names. UnknownType, with what to write, if it names none."""
    if len(text) > MAX_TEXT:
        raise UnknownType(f"a type of {len(text)} characters is longer than {MAX_TEXT}", "write `dict` or `list`")
    choices = _parts(text, "|")
    if len(choices) > 1:
        return one_of(type_named(choice) for choice in choices)
    name, bracket, inner = text.strip().partition("[")
    plain = NAMED.get(ALIASES.get(name.strip(), name.strip()))
    if plain is None:
        raise UnknownType(f"{_quoted(name.strip())} is no type", f"the types are {', '.join(NAMED)}")
    if not bracket:
        return plain
    if not inner.endswith("]"):
        raise UnknownType(f"{_quoted(text)} has no closing bracket", f"write `{name.strip()}[...]`")
    return _with_arguments(plain, [type_named(part) for part in _parts(inner[:-1], ",")])


def one_of(choices: Iterable[Type]) -> Type:
    """The union of some types; of one, itself."""
    known = tuple(choices)
    return known[0] if len(known) == 1 else Type(" | ".join(each.name for each in known), choices=known)


def mismatch(wanted: Type, value: Any, path: str) -> Optional[Mismatch]:
    """The first place at which `value` is not what is wanted, or None; `path` is how messages call the value."""
    if wanted.choices:
        return _in_choices(wanted, value, path)
    if wanted.literals and not any(type(value) is type(each) and value == each for each in wanted.literals):
        return Mismatch(path, wanted.name, shown(value))
    if not isinstance(value, wanted.classes) or _of_other_length(wanted, value):
        return Mismatch(path, wanted.name, shown(value))
    inside = (mismatch(inner, each, place) for inner, each, place in _inside(wanted, value, path))
    return next(filter(None, inside), None)


def shown(value: Any) -> str:
    """A value as a message speaks of it: its type, and as much of it as is short."""
    name = type(value).__name__
    if value is None:
        return "null"
    if type(value) in (str, bytes):
        return f"{name}: {value[:MAX_SHOWN]!r}{'...' if len(value) > MAX_SHOWN else ''}"
    if type(value) in (bool, float) or (type(value) is int and abs(value) < 10**MAX_SHOWN):
        return f"{name}: {value!r}"
    return f"{name} with {len(value)} items" if type(value) in (list, dict, tuple, set, frozenset) else name


def _of_other_length(wanted: Type, value: Any) -> bool:
    return wanted.fixed is not None and len(value) != len(wanted.fixed)


def _in_choices(wanted: Type, value: Any, path: str) -> Optional[Mismatch]:
    found = [mismatch(choice, value, path) for choice in wanted.choices]
    if None in found:
        return None
    # A list that holds one wrong item is meant as the list of the union: the item is what to name.
    inner = [each for each in found if each is not None and each.path != path]
    return inner[0] if len(inner) == 1 else Mismatch(path, wanted.name, shown(value))


def _inside(wanted: Type, value: Any, path: str) -> Iterator[tuple[Type, Any, str]]:
    """What is to be checked inside a container: (type, value, path)."""
    if wanted.fixed is not None:
        yield from ((inner, each, f"{path}[{at}]") for at, (inner, each) in enumerate(zip(wanted.fixed, value)))
    elif wanted.items is not None and wanted.keys is not None:
        for key, each in value.items():
            yield wanted.keys, key, f"a key of {path}"
            yield wanted.items, each, f"{path}[{shown(key).partition(': ')[2]}]"
    elif wanted.items is not None:
        yield from ((wanted.items, each, f"{path}[{at}]") for at, each in enumerate(value))


def _with_arguments(plain: Type, arguments: list[Type]) -> Type:
    name = f"{plain.name}[{', '.join(each.name for each in arguments)}]"
    if plain.name == "dict" and len(arguments) == 2:
        return Type(name, plain.classes, items=arguments[1], keys=arguments[0])
    if plain.name in ("list", "set") and len(arguments) == 1:
        return Type(name, plain.classes, items=arguments[0])
    if plain.name == "tuple":
        return Type(name, plain.classes, fixed=tuple(arguments))
    fixes = {"dict": "write `dict[str, int]`", "list": "write `list[str]`", "set": "write `set[str]`"}
    raise UnknownType(f"`{name}` is no type", fixes.get(plain.name, f"write `{plain.name}`"))


def _parts(text: str, mark: str) -> list[str]:
    """The text between the marks that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _quoted(text: str) -> str:
    shown = text[:MAX_SHOWN]
    return f"`{shown if shown.isprintable() else ascii(shown)[1:-1]}`" if text else "an empty text"
