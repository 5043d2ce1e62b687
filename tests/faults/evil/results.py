"""Results that cannot be sent, cannot be loaded, or do something when they are.

A result is the node's own: what goes wrong with it is named with the node, in the phase `result`. Loading runs what the
objects say, in the caller's process: what raises there is caught. What ends that process or never returns there cannot
be: a workflow is a program with the caller's rights (see the trust model).
"""

# ruff: noqa: PLE0309, S102, SIM115 - what is wrong here is the point

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any

from evil.catalogue import WELL, evil, failed


@evil(failed("result", "'bad' (generator)"))
def returns_a_generator(state: dict[str, Any]) -> Any:
    return {"good": 1, "bad": (each for each in ())}


@evil(failed("result", "'bad' (lock)"))
def returns_a_lock(state: dict[str, Any]) -> Any:
    return {"bad": threading.Lock()}


@evil(failed("result", "'bad'"))
def returns_an_open_file(state: dict[str, Any]) -> Any:
    return {"bad": open(os.devnull, "w")}


@evil(failed("result", "'bad' (socket)"))
def returns_a_socket(state: dict[str, Any]) -> Any:
    return {"bad": socket.socket()}


@evil(failed("result", "'bad'"))
def returns_its_stdin(state: dict[str, Any]) -> Any:
    return {"bad": sys.stdin.buffer}


@evil(failed("result", "'bad' (TextIOWrapper)"))
def changes_the_state_to_hold_a_file(state: dict[str, Any]) -> None:
    state["bad"] = open(os.devnull, "w")


@evil(failed("result", "'bad'"))
def changes_the_state_to_hold_a_running_generator(state: dict[str, Any]) -> None:
    state["bad"] = (each for each in iter(int, 1))
    next(state["bad"])


@evil()
def returns_functions_and_classes_of_its_own(state: dict[str, Any]) -> Any:
    class Local:
        value = 7

    return {"call": lambda: Local.value, "class": Local, "object": Local()}


class Reduces:
    """Pickles as whatever it was given: a function to call when it is dumped, or one to call when it is loaded."""

    def __init__(self, dump: str = "", load: str = "") -> None:
        self.dump, self.load = dump, load

    def __reduce__(self) -> Any:
        exec(self.dump)
        return (exec, (self.load,))


@evil(failed("result", "evil dump"))
def returns_what_raises_when_it_is_sent(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(dump="raise ValueError('evil dump')")}


@evil(failed("result"))
def returns_what_leaves_when_it_is_sent(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(dump="import sys; sys.exit(0)")}


@evil(failed("result"))
def returns_what_interrupts_when_it_is_sent(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(dump="raise KeyboardInterrupt('evil')")}


@evil(failed("run", "ended without a result"))
def returns_what_ends_when_it_is_sent(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(dump="import os; os._exit(0)")}


@evil(failed("run", "SIGKILL"))
def returns_what_kills_when_it_is_sent(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(dump="import os; os.kill(os.getpid(), 9)")}


@evil(failed("result", "evil load", "cannot be loaded"))
def returns_what_raises_when_it_is_loaded(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(load="raise ValueError('evil load')")}


@evil(failed("result", "cannot be loaded"))
def returns_what_leaves_when_it_is_loaded(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(load="raise SystemExit(3)")}


@evil(failed("result", "cannot be loaded"))
def returns_what_interrupts_when_it_is_loaded(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(load="raise KeyboardInterrupt")}


@evil(failed("result", "cannot be loaded"))
def returns_what_closes_the_generator_when_it_is_loaded(state: dict[str, Any]) -> Any:
    return {"bad": Reduces(load="raise GeneratorExit")}


@evil(failed("result", "cannot be loaded"))
def returns_a_class_that_nobody_can_import(state: dict[str, Any]) -> Any:
    class Lost:
        def __reduce__(self) -> Any:
            return (__import__, ("no.such.module",))

    return {"bad": Lost()}


@evil()
def returns_what_holds_itself(state: dict[str, Any]) -> Any:
    value: list[Any] = []
    value.append(value)
    return {"value": value}


@evil(failed("result", "'deep' (list)"))
def returns_what_is_a_hundred_thousand_deep(state: dict[str, Any]) -> Any:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return {"deep": deep}


class Contrary:
    """Nothing that looks at it gets away."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare")

    def __bool__(self) -> bool:
        raise RuntimeError("do not ask")

    def __len__(self) -> int:
        raise RuntimeError("do not count")

    def __repr__(self) -> str:
        raise RuntimeError("do not show")

    __hash__ = None  # type: ignore[assignment]


@evil()
def returns_what_cannot_be_compared(state: dict[str, Any]) -> Any:
    state["contrary"] = Contrary()
    return {"value": Contrary()}


@evil(WELL)
def returns_something_that_is_no_dict(state: dict[str, Any]) -> Any:
    return Contrary()


class Odd(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError("no items")

    __iter__ = keys = values = items


@evil(failed("result"))
def returns_a_dict_that_cannot_be_walked(state: dict[str, Any]) -> Any:
    return Odd(a=1)


@evil(failed("result"))
def returns_keys_that_cannot_be_hashed_again(state: dict[str, Any]) -> Any:
    class Key:
        def __hash__(self) -> int:
            return 1 / 0 if self.__dict__ else 7  # type: ignore[return-value]

    key = Key()
    value = {key: 1}
    key.spoiled = True  # type: ignore[attr-defined]
    return value


@evil()
def returns_keys_that_are_no_text(state: dict[str, Any]) -> Any:
    return {1: 2, None: 3, ("a",): 4}


@evil()
def empties_the_state(state: dict[str, Any]) -> None:
    state.clear()


@evil(WELL)
def returns_the_state_itself(state: dict[str, Any]) -> Any:
    state["evil"] = 1
    return state


@evil(failed("result", "the limit is 100000"), config={"result_limit": 100_000})
def returns_more_than_the_limit(state: dict[str, Any]) -> Any:
    return {"large": bytes(100_001), "small": 1}


@evil(failed("result|run"), config={"result_limit": 100_000})
def sends_more_than_the_limit_past_our_check(state: dict[str, Any]) -> Any:
    """The supervisor does not trust the worker's own arithmetic."""
    from teastreams.runtime.node import worker

    honest = worker.dump_update
    worker.dump_update = lambda value, state, limit: honest(value, state, 1 << 60)
    return {"large": bytes(1_000_000)}


@evil()
def returns_50_megabytes(state: dict[str, Any]) -> Any:
    return {"large": bytes(50_000_000), "numbers": list(range(100_000))}
