"""Exceptions that resist being printed, pickled, named or kept short.

The report about a failure is plain data, capped: whatever an exception does, its node is named.
"""

# ruff: noqa: PLE0307, S102, SLOT000 - what is wrong here is the point

from __future__ import annotations

import os
import sys
from typing import Any

from evil.catalogue import BOUNDED, evil, failed


class StrRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@evil(failed("run", "StrRaises"))
def raises_what_cannot_be_printed(state: dict[str, Any]) -> None:
    raise StrRaises


class StrLeaves(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


@evil(failed("run", "StrLeaves"))
def raises_what_leaves_when_printed(state: dict[str, Any]) -> None:
    raise StrLeaves


class StrInterrupts(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@evil(failed("run", "StrInterrupts"))
def raises_what_interrupts_when_printed(state: dict[str, Any]) -> None:
    raise StrInterrupts


class StrEnds(Exception):
    def __str__(self) -> str:
        os._exit(0)


@evil(failed("run", "ended without a result, exit code 0"))
def raises_what_ends_when_printed(state: dict[str, Any]) -> None:
    raise StrEnds


class StrRecurses(Exception):
    def __str__(self) -> str:
        return str(self)


@evil(failed("run", "StrRecurses"))
def raises_what_recurses_when_printed(state: dict[str, Any]) -> None:
    raise StrRecurses


class StrIsNone(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]


@evil(failed("run", "StrIsNone"))
def raises_what_has_no_text(state: dict[str, Any]) -> None:
    raise StrIsNone


class Text(str):
    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("no part")

    replace = __getitem__  # type: ignore[assignment]


class StrIsOdd(Exception):
    def __str__(self) -> str:
        return Text("odd text")


@evil(failed("run", "StrIsOdd: odd text"))
def raises_a_text_of_its_own_class(state: dict[str, Any]) -> None:
    raise StrIsOdd


class ReprRaises:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@evil(failed("run", "KeyError"))
def raises_an_argument_that_cannot_be_shown(state: dict[str, Any]) -> None:
    raise KeyError(ReprRaises())


class ReduceRaises(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


@evil(failed("run", "ReduceRaises: text"))
def raises_what_cannot_be_pickled(state: dict[str, Any]) -> None:
    raise ReduceRaises("text")


class NeedsTwo(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


@evil(failed("run", "NeedsTwo: 1 and 2"))
def raises_what_cannot_be_unpickled(state: dict[str, Any]) -> None:
    raise NeedsTwo(1, 2)


@evil(failed("run", "Local: here"))
def raises_a_class_that_nobody_else_has(state: dict[str, Any]) -> None:
    class Local(Exception):
        pass

    raise Local("here")


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class WithoutName(Exception, metaclass=Nameless):
    pass


@evil(failed("run"))
def raises_a_class_without_a_name(state: dict[str, Any]) -> None:
    raise WithoutName("text")


class Mirror(type):
    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        return 7

    @property
    def __module__(cls) -> Any:
        return None


class WithOddName(Exception, metaclass=Mirror):
    pass


@evil(failed("run"))
def raises_a_class_whose_name_is_no_text(state: dict[str, Any]) -> None:
    raise WithOddName("text")


@evil(failed("run", "xxxx"))
def raises_a_message_of_10_megabytes(state: dict[str, Any]) -> None:
    raise ValueError("x" * 10_000_000)


@evil(failed("run", "unusual"))
def raises_a_message_of_every_odd_character(state: dict[str, Any]) -> None:
    raise ValueError("unusual \x00 \x1b[31m \ud800 \u202e \r\n\x07")


@evil(failed("run", "ValueError"))
def raises_in_a_circle_of_causes(state: dict[str, Any]) -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


@evil(failed("run", "ValueError"))
def raises_behind_a_chain_of_ten_thousand_causes(state: dict[str, Any]) -> None:
    at = error = ValueError("last")
    for number in range(10_000):
        at.__cause__ = ValueError(number)
        at = at.__cause__
    raise error


@evil(failed("run", "ExceptionGroup"), possible=lambda: sys.version_info >= (3, 11))
def raises_a_group_of_groups(state: dict[str, Any]) -> None:
    group: Any = ValueError("innermost")
    for depth in range(200):
        group = ExceptionGroup(f"depth {depth}", [group, StrRaises()])  # type: ignore[name-defined]  # noqa: F821
    raise group


@evil(failed("run", "ValueError: noted"))
def raises_with_notes_that_are_none(state: dict[str, Any]) -> None:
    error = ValueError("noted")
    error.__notes__ = [7, ReprRaises(), "a note"]  # type: ignore[attr-defined]
    raise error


@evil(failed("run", "ValueError: noted"))
def raises_with_an_object_for_its_notes(state: dict[str, Any]) -> None:
    error = ValueError("noted")
    error.__notes__ = ReprRaises()  # type: ignore[attr-defined]
    raise error


class CauseRaises(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no cause")


@evil(failed("run", "CauseRaises"))
def raises_what_has_no_cause_to_show(state: dict[str, Any]) -> None:
    raise CauseRaises("text")


class ClassLies(Exception):
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no class")


@evil(failed("run"))
def raises_what_denies_its_class(state: dict[str, Any]) -> None:
    raise ClassLies("text")


class PretendsUpstream(Exception):
    """isinstance() asks `__class__`: it says to be an end by SystemExit."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return SystemExit


@evil(failed("run"))
def raises_what_pretends_to_be_an_exit(state: dict[str, Any]) -> None:
    raise PretendsUpstream("text")


class OddErrno(OSError):
    @property
    def errno(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no number")


@evil(failed("run", "OddErrno"))
def raises_an_oserror_without_a_number(state: dict[str, Any]) -> None:
    raise OddErrno("text")


class OddExit(SystemExit):
    @property
    def code(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no code")


@evil(failed("run"))
def leaves_by_an_exit_without_a_code(state: dict[str, Any]) -> None:
    raise OddExit


@evil(failed("run", "SyntaxError"))
def raises_a_syntax_error_of_its_own_making(state: dict[str, Any]) -> None:
    """The traceback module looks into these: a file, a line, an offset, which here are rubbish."""
    place = (None, -5, 10**9, b"text", "x", ReprRaises())
    raise SyntaxError("odd", place if sys.version_info >= (3, 10) else place[:4])


@evil(BOUNDED)
def raises_through_a_traceback_of_a_million_lines(state: dict[str, Any]) -> None:
    """A deep one and a wide one: the report is capped."""
    source = "\n".join(f"def f{n}(): f{n + 1}()" for n in range(300)) + "\ndef f300(): raise ValueError('x' * 9999)"
    scope: dict[str, Any] = {}
    exec(compile(source, "w" * 50_000, "exec"), scope)
    scope["f0"]()
