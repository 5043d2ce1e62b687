"""Python annotations -> types and reducers: what `StateGraph(schema)` takes.

A schema is a mapping of keys to types, or a class with annotations: a TypedDict, a dataclass, any other. A type is a
class, what `typing` makes of classes, or the name that a document would use. `Annotated[list, "append"]` and
`Annotated[list, function]` declare a reducer. Nothing is guessed: what cannot be checked is refused.
"""

from __future__ import annotations

from typing import (
    Annotated,
    Any,
    Literal,
    Mapping,
    Optional,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from teastreams.core.state import reducers as named
from teastreams.core.state.reducers import Reducer
from teastreams.core.state.types import ANY, FLOAT, NAMED, NULL, Type, UnknownType, one_of, type_named

_FIX = 'give a class, a generic such as list[int], or a name such as "list[int]"'


def annotated_keys(schema: Union[Mapping[str, Any], type]) -> Mapping[str, Any]:
    """The annotation of each key. UnknownType when the schema is neither a mapping nor a class, or cannot be read."""
    if isinstance(schema, Mapping):
        return schema
    if not isinstance(schema, type):
        raise UnknownType(f"a schema is a mapping or a class, not {schema!r}", 'write {"key": type}')
    try:
        return get_type_hints(schema, include_extras=True)
    except Exception as error:
        message = f"the annotations of {schema.__name__} cannot be read: {error}"
        raise UnknownType(message, "let them name what is defined where the class is") from error


def type_of(annotation: Any) -> Type:
    """The type that an annotation stands for. UnknownType if it stands for none that can be checked."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or _says_only_presence(origin):
        return type_of(arguments[0])
    if hasattr(annotation, "__supertype__"):  # typing.NewType
        return type_of(annotation.__supertype__)
    if origin is Union or _name(origin) == "UnionType":
        return one_of(type_of(each) for each in arguments)
    if origin is Literal:
        return Type(f"one of {', '.join(map(repr, arguments))}", literals=arguments)
    return _simple(annotation) or _of_class(annotation, origin if isinstance(origin, type) else annotation, arguments)


def _simple(annotation: Any) -> Optional[Type]:
    if isinstance(annotation, str):
        return type_named(annotation)
    if annotation in (Any, object) or isinstance(annotation, TypeVar):
        return ANY
    return NULL if annotation in (None, type(None)) else None


def reducer_of(annotation: Any) -> Optional[Reducer]:
    """The reducer in the metadata of an `Annotated`: a function, or the name of one of ours. None if there is none."""
    origin = get_origin(annotation)
    if _says_only_presence(origin):
        return reducer_of(get_args(annotation)[0])
    if origin is not Annotated:
        return None
    found = (_reducer(each) for each in annotation.__metadata__)
    return next(filter(None, found), None)


def _reducer(metadata: object) -> Optional[Reducer]:
    if isinstance(metadata, str):
        return named.NAMED.get(metadata)
    return metadata if callable(metadata) and not isinstance(metadata, type) else None


def _of_class(annotation: Any, cls: Any, arguments: tuple[Any, ...]) -> Type:
    if not isinstance(cls, type):
        raise UnknownType(f"{annotation!r} is no type that can be checked", _FIX)
    if cls is float:
        return FLOAT
    if cls is complex:
        return Type("complex", (complex, float, int))
    if hasattr(cls, "__total__"):  # a TypedDict: its values are plain dicts
        return NAMED["dict"]
    try:
        isinstance(None, cls)
    except TypeError as error:
        raise UnknownType(f"values cannot be checked against {cls.__name__}: {error}", _FIX) from error
    return _generic(Type(cls.__name__, (cls,)), arguments) if arguments else Type(cls.__name__, (cls,))


def _generic(plain: Type, arguments: tuple[Any, ...]) -> Type:
    """A class with arguments; those that say nothing of the values inside are left out."""
    cls = plain.classes[0]
    if issubclass(cls, tuple):
        return _tuple(arguments)
    if issubclass(cls, Mapping) and len(arguments) == 2:
        key, item = (type_of(each) for each in arguments)
        return Type(f"{plain.name}[{key.name}, {item.name}]", plain.classes, items=item, keys=key)
    if _holds_items(cls) and not issubclass(cls, Mapping) and len(arguments) == 1:
        item = type_of(arguments[0])
        return Type(f"{plain.name}[{item.name}]", plain.classes, items=item)
    return plain


def _tuple(arguments: tuple[Any, ...]) -> Type:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        item = type_of(arguments[0])
        return Type(f"tuple[{item.name}, ...]", (tuple,), items=item)
    places = tuple(type_of(each) for each in arguments)
    return Type(f"tuple[{', '.join(each.name for each in places)}]", (tuple,), fixed=places)


def _holds_items(cls: type) -> bool:
    """Can its items be looked at more than once? An iterator would be used up."""
    return all(hasattr(cls, name) for name in ("__iter__", "__len__", "__contains__"))


def _says_only_presence(origin: Any) -> bool:
    return _name(origin) in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")


def _name(origin: Any) -> str:
    return str(getattr(origin, "__name__", None) or getattr(origin, "_name", ""))
