"""workflow/readers/state.py: `state_schema:` and `settings.state` of a document, and what is wrong in them."""

from __future__ import annotations

import textwrap

from teastreams.core.graph import Graph
from teastreams.core.state.reducers import add, append
from teastreams.workflow.load import load_bytes

NODES = "nodes: [{name: a, run: return 1}]\n"


def loaded(text: str) -> Graph:
    graph, problems = load_bytes((textwrap.dedent(text) + NODES).encode(), "w.yaml")
    assert problems == ()
    assert graph is not None
    return graph


def told(text: str) -> list[str]:
    return [str(problem) for problem in load_bytes((textwrap.dedent(text) + NODES).encode(), "w.yaml")[1]]


def test_types_and_reducers_by_key() -> None:
    """Short and long form; a key may have a reducer and no type; `replace` is what holds anyway."""
    schema = loaded(
        """
        settings: {state: {enforce: true}}
        state_schema:
          path: str
          name: str | null
          log: {type: "list[str]", reducer: append, description: what happened}
          total: {reducer: add}
          last: {type: int, reducer: replace}
        """
    ).schema
    assert {key: each.name for key, each in schema.types.items()} == {
        "path": "str",
        "name": "str | null",
        "log": "list[str]",
        "last": "int",
    }
    assert schema.reducers == {"log": append, "total": add}
    assert schema.enforced is True


def test_types_are_not_enforced_unless_the_settings_say_so() -> None:
    assert loaded("state_schema: {path: str}\n").schema.enforced is False
    assert loaded("settings: {state: {}}\nstate_schema: {path: str}\n").schema.enforced is False
    assert loaded("").schema.types == {}


def test_everything_wrong_is_told_at_once_with_its_place() -> None:
    assert told(
        """
        settings: {state: {enforce: maybe, strict: true}}
        state_schema:
          a: strng
          b: 3
          c: {type: [str], reducer: apend}
          d: {type: int, reducer: append}
          e: {typ: int}
          f: {type: list, reducer: merge}
          g: {type: "list | null", reducer: append}
        """
    ) == [
        "w.yaml:2:29: `enforce` of settings.state must be true or false, not the text 'maybe'; write `enforce: true`",
        "w.yaml:2:36: unknown key 'strict' in settings.state; the keys here are `enforce`",
        "w.yaml:4:6: the type of the state key 'a': `strng` is no type; did you mean `str`?",
        (
            "w.yaml:5:6: the type of the state key 'b' must be the name of a type, not the number 3; "
            "write a type such as `str`, or `list[str]`"
        ),
        (
            "w.yaml:6:13: the type of the state key 'c' must be the name of a type, not a list; "
            "write a type such as `str`, or `list[str]`"
        ),
        (
            "w.yaml:6:29: `reducer` of the state key 'c' must be one of `append`, `add`, `merge`, `replace`, not "
            "the text 'apend'; write `reducer: append`"
        ),
        (
            "w.yaml:7:27: the reducer `append` of the state key 'd' needs a list, and its type is `int`; "
            "write `type: list`, or another reducer"
        ),
        "w.yaml:8:7: unknown key 'typ' in the state key 'e'; did you mean `type`?",
        (
            "w.yaml:9:28: the reducer `merge` of the state key 'f' needs a dict, and its type is `list`; "
            "write `type: dict`, or another reducer"
        ),
    ]


def test_settings_that_are_no_mapping_are_one_problem() -> None:
    assert len(told("settings: [1]\nstate_schema: {a: str}\n")) == 1
