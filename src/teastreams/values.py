"""Records as `dataclasses` makes them, without writing and compiling code for each.

`dataclasses.dataclass` composes the text of six functions for a frozen class and compiles it: half a millisecond, 65 ms
for the 130 records of this package, more than the rest of `import teastreams`. Here the six are closures over the names
of the fields, which the standard decorator still finds; so `fields`, `replace`, `asdict`, `copy.replace`, pattern
matching and `inspect.signature` work as ever, and type checkers see the standard decorator itself.

Making one costs about as much as with a generated `__init__` of a frozen class, so nothing is lost later.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Callable, Optional

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: Optional[type] = None, *, frozen: bool = False, eq: bool = True) -> Any:
        """As `dataclasses.dataclass`, with the options that this package uses."""
        if cls is None:
            return lambda decorated: _record(decorated, frozen, eq)
        return _record(cls, frozen, eq)


def _record(cls: type, frozen: bool, eq: bool) -> type:
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cls)
    own = cls.__dict__
    init = _init(fields, "__post_init__" in own)
    wanted: dict[str, Any] = {"__init__": init, "__signature__": _Signature(init)}
    if "__repr__" not in own:
        wanted["__repr__"] = _repr([field.name for field in fields if field.repr])
    if eq:
        compared = _compared([field.name for field in fields if field.compare])
        if "__eq__" not in own:
            wanted["__eq__"] = _eq(compared)
        if own.get("__hash__") is None:  # a class that defines __eq__ has None there
            wanted["__hash__"] = _hash(compared) if frozen else None
    if frozen:
        wanted.update(_frozen(cls, frozenset(field.name for field in fields)))
    for name, value in wanted.items():
        if callable(value):
            value.__name__, value.__qualname__ = name, f"{cls.__qualname__}.{name}"
        setattr(cls, name, value)
    parameters: Any = own["__dataclass_params__"]  # a record derived from this one is checked against them
    parameters.init = parameters.repr = True
    parameters.eq, parameters.frozen = eq, frozen
    return cls


def _init(fields: tuple[dataclasses.Field[Any], ...], has_post: bool) -> Callable[..., None]:
    names = tuple(field.name for field in fields)
    known, count = frozenset(names), len(names)
    defaults = {field.name: field.default for field in fields if field.default is not MISSING}
    factories: dict[str, Callable[[], Any]] = {
        field.name: field.default_factory for field in fields if field.default_factory is not MISSING
    }

    def init(self: Any, /, *args: Any, **given: Any) -> None:
        values = self.__dict__  # past __setattr__, which a frozen class refuses
        values.update(zip(names, args))
        if len(args) > count or (given and (not given.keys() <= known or given.keys() & values.keys())):
            raise TypeError(_wrong_call(type(self).__qualname__, names, args, given))
        values.update(given)
        if len(values) < count:
            missing = [name for name in names if name not in values]
            for name in missing:
                if name in defaults:
                    values[name] = defaults[name]
                elif name in factories:
                    values[name] = factories[name]()
                else:
                    raise TypeError(f"{type(self).__qualname__}() misses a value for {name!r}")
        if has_post:
            self.__post_init__()

    return init


def _wrong_call(what: str, names: tuple[str, ...], args: tuple[Any, ...], given: dict[str, Any]) -> str:
    if len(args) > len(names):
        return f"{what}() takes {len(names)} values, not {len(args)}"
    for name in given:
        if name not in names:
            return f"{what}() got an unexpected keyword argument {name!r}; its fields are {', '.join(names)}"
    twice = next(name for name in names[: len(args)] if name in given)
    return f"{what}() got multiple values for {twice!r}"


def _repr(names: list[str]) -> Callable[[Any], str]:
    @recursive_repr()
    def show(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return show


def _compared(names: list[str]) -> Callable[[Any], Any]:
    """What stands for a record in comparisons."""
    return attrgetter(*names) if names else lambda _record: ()


def _eq(compared: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def equal(self: Any, other: Any) -> Any:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    return equal


def _hash(compared: Callable[[Any], Any]) -> Callable[[Any], int]:
    def digest(self: Any) -> int:
        return hash(compared(self))

    return digest


def _frozen(cls: Any, names: frozenset[str]) -> dict[str, Callable[..., None]]:
    """`__setattr__` and `__delattr__` that refuse the fields; a subclass may have attributes of its own."""

    def refuse_set(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def refuse_delete(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": refuse_set, "__delattr__": refuse_delete}


class _Signature:
    """Made when somebody asks: `help`, an editor, a test."""

    def __init__(self, init: Callable[..., None]) -> None:
        self._init = init

    def __get__(self, instance: Any, owner: type) -> Any:
        import inspect  # 10 ms, and only who asks for a signature needs it

        # A record that can be called has the signature of its __call__, a subclass with an __init__ that one's.
        if instance is not None or owner.__dict__.get("__init__", self._init) is not self._init:
            raise AttributeError("__signature__")
        parameters = [
            inspect.Parameter(
                field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=_shown(field, inspect)
            ).replace(annotation=field.type)
            for field in dataclasses.fields(owner)
        ]
        return inspect.Signature(parameters, return_annotation=None)


def _shown(field: dataclasses.Field[Any], inspect: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is MISSING else field.default_factory()
