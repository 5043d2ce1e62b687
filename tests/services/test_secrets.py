"""Facts about secrets: where they come from, and how little of them is shown."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any, Mapping

import cloudpickle  # type: ignore[import-untyped]
import pytest

import teastreams as ts
from teastreams.core.policies import ERROR_KEY
from teastreams.runtime.secrecy import masked
from teastreams.services import secrets as module
from teastreams.services.secrets import Secret, SecretError, Secrets, opened
from teastreams.workflow.load import load_bytes

CANARY = "canary-0123456789"


def read(sources: ts.SecretSources, folder: str = "") -> dict[str, str]:
    with opened(sources, folder) as secrets:
        return {name: secrets[name].reveal() for name in secrets}


class TestSecret:
    def test_it_shows_itself_to_nobody_who_does_not_ask(self) -> None:
        secret = Secret(CANARY)

        assert secret.reveal() == CANARY
        for shown in (str(secret), repr(secret), f"{secret:>40}", f"{secret!r}", "%s" % secret, repr([secret])):  # noqa: UP031
            assert CANARY not in shown
            assert "***" in shown
        assert not hasattr(secret, "__dict__")

    @pytest.mark.parametrize("dump", [pickle.dumps, cloudpickle.dumps, json.dumps])
    def test_it_cannot_be_written(self, dump: Any) -> None:
        with pytest.raises(TypeError) as caught:
            dump({"key": Secret(CANARY)})

        assert CANARY not in str(caught.value)

    def test_a_copy_is_itself(self) -> None:
        secret = Secret(CANARY)

        assert copy.copy(secret) is secret
        assert copy.deepcopy([secret])[0] is secret

    def test_two_of_one_text_are_equal_and_neither_is_its_text(self) -> None:
        assert Secret("a") == Secret("a")
        assert hash(Secret("a")) == hash(Secret("a"))
        assert Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert hash(Secret("a")) != hash("a")


class TestSecrets:
    secrets = Secrets({"A": Secret(CANARY)}, "$A")

    def test_they_are_asked_by_name(self) -> None:
        secrets = self.secrets

        assert (secrets["A"], secrets.get("A"), secrets.get("B")) == (Secret(CANARY), Secret(CANARY), None)
        assert secrets.has("A")
        assert "B" not in secrets
        assert (list(secrets), len(secrets), repr(secrets)) == (["A"], 1, "Secrets(A)")

    def test_one_that_is_missing_is_named_with_where_it_was_looked_for(self) -> None:
        with pytest.raises(SecretError, match=r"there is no secret 'B'; looked in \$A"):
            self.secrets["B"]


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, text in (("APP_KEY", CANARY), ("APP_", "x"), ("OTHER", "other")):
            monkeypatch.setenv(name, text)

    def test_only_the_variables_that_are_listed_are_secrets(self) -> None:
        assert read(ts.SecretSources(env=("OTHER", "ABSENT"))) == {"OTHER": "other"}

    def test_a_prefix_is_no_part_of_the_name(self) -> None:
        assert read(ts.SecretSources(env_prefix="APP_")) == {"KEY": CANARY}

    def test_a_variable_that_is_listed_keeps_its_name(self) -> None:
        assert read(ts.SecretSources(env=("APP_KEY",), env_prefix="APP_")) == {"APP_KEY": CANARY}


class TestFiles:
    def test_a_folder_has_one_in_each_file(self, tmp_path: Path) -> None:
        """As orchestrators mount them, by links to a hidden folder. One newline at the end is no part of it."""
        hidden = tmp_path / "..data"
        hidden.mkdir()
        (hidden / "key").write_text(f"{CANARY}\n")
        (tmp_path / "key").symlink_to(hidden / "key")
        (tmp_path / "lines").write_text(" a\n b\n\n")
        (tmp_path / ".hidden").write_text("x")
        (tmp_path / "folder").mkdir()

        assert read(ts.SecretSources(files=(str(tmp_path),))) == {"key": CANARY, "lines": " a\n b\n"}

    def test_a_file_has_one_in_each_line(self, tmp_path: Path) -> None:
        (tmp_path / "all.env").write_text(f"# for tests\n\nKEY={CANARY}\n  URL = https://x/?a=b \nEMPTY=\n")

        assert read(ts.SecretSources(files=("all.env",)), str(tmp_path)) == {
            "KEY": CANARY,
            "URL": "https://x/?a=b",
            "EMPTY": "",
        }

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"A=1\ncanary-0123456789\n", "line 2 of PATH is no `NAME=VALUE`; correct it"),
            (b"=canary-0123456789", "line 1 of PATH is no `NAME=VALUE`"),
            (b"A=canary-0123456789\xff", "PATH is not UTF-8 text; keep bytes in Base64"),
            (b"A=" + b"x" * (1 << 20), "PATH has more than 1048576 bytes; name a file of secrets"),
            (None, "the secrets in PATH cannot be read: No such file or directory; check `files`"),
        ],
    )
    def test_one_that_cannot_be_read_is_told_without_its_content(self, content: Any, text: str, tmp_path: Path) -> None:
        path = tmp_path / "secrets"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SecretError) as caught:
            read(ts.SecretSources(files=(str(path),)))

        assert str(caught.value).replace(str(path), "PATH").startswith(text)
        assert CANARY not in f"{caught.value} {caught.value.__cause__}"

    def test_a_name_in_two_places_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("K=1")
        (tmp_path / "b").write_text("K=2")
        with pytest.raises(SecretError, match=r"the secret 'K' is in two places, .*/a and .*/b; keep one of them"):
            read(ts.SecretSources(files=("a", "b")), str(tmp_path))


class Point:
    """An entry point of an installed distribution."""

    def __init__(self, name: str, provider: Any) -> None:
        self.name, self._provider = name, provider

    def load(self) -> Any:
        if isinstance(self._provider, Exception):
            raise self._provider
        return self._provider


class Points(list):  # type: ignore[type-arg]
    def select(self, group: str) -> list[Point]:
        return list(self) if group == "teastreams.secrets" else []

    get = lambda self, group, default: self.select(group)  # noqa: E731  Python 3.9's way of asking


class TestProviders:
    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        points = Points(
            [
                Point("vault", lambda settings: {"KEY": CANARY, **settings}),
                Point("broken", ImportError("no such module")),
                Point("failing", self.fail),
                Point("numbers", lambda settings: {"KEY": 5}),
            ]
        )
        monkeypatch.setattr("importlib.metadata.entry_points", lambda: points)

    @staticmethod
    def fail(settings: Mapping[str, Any]) -> Mapping[str, str]:
        raise PermissionError(f"denied with token {CANARY}")

    def test_one_that_is_installed_is_called_with_its_settings(self) -> None:
        assert read(ts.SecretSources(provider="vault", provider_settings={"A": "b"})) == {"KEY": CANARY, "A": "b"}

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("none", r"there is no provider 'none' of secrets \(installed: broken, failing, numbers, vault\)"),
            ("broken", "the provider 'broken' cannot be imported: ImportError: no such module"),
            ("failing", "the provider 'failing' raised PermissionError; call it alone to see why"),
            ("numbers", "the provider 'numbers' gave a int for 'KEY'; names and secrets are text"),
        ],
    )
    def test_one_that_does_not_work_is_named(self, name: str, text: str) -> None:
        with pytest.raises(SecretError, match=text) as caught:
            read(ts.SecretSources(provider=name))

        assert CANARY not in f"{caught.value} {caught.value.__cause__}"

    @pytest.mark.parametrize("given", [{"KEY": CANARY}, {"KEY": Secret(CANARY)}, lambda: {"KEY": CANARY}])
    def test_what_is_given_in_python_is_a_source(self, given: Any) -> None:
        assert read(ts.SecretSources(given=given)) == {"KEY": CANARY}

    def test_sources_do_not_show_what_they_were_given(self) -> None:
        assert CANARY not in repr(ts.SecretSources(given={"KEY": CANARY}, provider_settings={"token": CANARY}))


@pytest.mark.parametrize(
    "form",
    [
        "two\nlines and a 'quote' & more",
        r"two\nlines and a 'quote' & more",
        "two%0Alines%20and%20a%20%27quote%27%20%26%20more",
        "two%0Alines+and+a+%27quote%27+%26+more",
        "lines and a 'quote' & more",
    ],
)
def test_it_is_guarded_in_the_forms_that_it_takes_by_itself(form: str) -> None:
    with opened(ts.SecretSources(given={"KEY": "two\nlines and a 'quote' & more"})):
        assert masked(f"<{form}>") == "<***>"
    assert masked(form) == form


# -- in workflows -----------------------------------------------------------------------------------------------------


def graph(document: str, file: str = "x.yaml") -> ts.StateGraph:
    found, problems = load_bytes(document.encode(), file)
    assert not problems
    assert found is not None
    return ts.StateGraph.from_graph(found)


def test_a_document_names_its_sources() -> None:
    found = graph(
        """
settings:
  secrets:
    backend: env
    env: {names: [A, B], prefix: APP_}
    files: [one, two]
    provider: {name: vault, url: https://x, paths: [1]}
nodes: [{name: n, run: "return {}"}]
"""
    )
    assert found.graph.services.secrets == ts.SecretSources(
        ("A", "B"), "APP_", ("one", "two"), "vault", {"url": "https://x", "paths": [1]}
    )
    short = graph('settings: {secrets: {env: A, files: x, provider: p}}\nnodes: [{name: n, run: "return {}"}]')
    assert short.graph.services.secrets == ts.SecretSources(("A",), "", ("x",), "p")


def test_a_path_begins_at_the_document(tmp_path: Path) -> None:
    (tmp_path / "s.env").write_text(f"K={CANARY}")
    (tmp_path / "x.yaml").write_text(
        "settings: {secrets: {files: s.env}}\n"
        'nodes: [{name: n, run: \'return {"length": len(context.secrets["K"].reveal())}\'}]'
    )
    app = ts.YAMLEngine().load_from_file(str(tmp_path / "x.yaml")).compile()

    assert app.run().state == {"length": len(CANARY)}


def test_actions_give_wrapped_secrets() -> None:
    document = """
nodes:
  - {name: get, uses: secrets.get, with: {key: KEY}, output: got}
  - {name: none, uses: secrets.get, with: {key: NONE, default: 5}, output: none}
  - {name: has, uses: secrets.has, with: {key: KEY}, output: has}
"""
    state = graph(document).compile(secrets={"KEY": CANARY}).run().state

    assert state["got"] == {"success": True, "found": True, "value": Secret(CANARY)}
    assert state["none"] == {"success": True, "found": False, "value": 5}
    assert state["has"] == {"success": True, "exists": True}


def test_a_workflow_without_a_source_says_how_to_name_one() -> None:
    built = ts.StateGraph()
    built.add_node("n", run=lambda state, context: context.secrets["KEY"])
    with pytest.raises(ts.WorkflowFailed) as caught:
        built.compile().run()

    assert "the workflow names no source; add one to the settings: `secrets: {env: [NAME]}`" in str(caught.value)


def test_a_plain_node_that_fails_tells_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither its error nor the object of its exception, nor the error that stands in the state."""

    def fail(state: Any, context: ts.Context) -> None:
        raise ValueError(context.secrets["KEY"].reveal())

    built = ts.StateGraph(secrets={"KEY": CANARY})
    built.add_node("n", run=fail)
    with pytest.raises(ts.WorkflowFailed) as caught:
        built.compile().run()
    assert CANARY not in str(caught.value)
    assert caught.value.primary.__cause__ is None
    assert caught.value.primary.message == "***"

    built = ts.StateGraph(secrets={"KEY": CANARY})
    built.add_node("n", run=fail, on_error="graceful")
    state = built.compile(checkpointer=ts.MemoryCheckpointer()).run().state
    assert state[ERROR_KEY]["message"] == "***"


def test_a_condition_that_raises_tells_nothing() -> None:
    def route(state: Any) -> str:
        raise KeyError(CANARY)

    built = ts.StateGraph(secrets={"KEY": CANARY})
    built.add_node("a", run=lambda state: None).add_node("b", run=lambda state: None)
    built.set_entry_point("a").add_conditional_edges("a", route, {"b": "b"}).set_finish_point("b")
    with pytest.raises(ts.WorkflowFailed) as caught:
        built.compile().run()

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_thread_that_fails_tells_nothing() -> None:
    def fail(state: Any, context: ts.Context) -> None:
        raise ValueError(context.secrets["KEY"].reveal())

    built = ts.StateGraph(secrets={"KEY": CANARY}, parallel_config=ts.ParallelConfig(strategy="thread"))
    built.add_node("s", run=lambda state: None).add_node("a", run=fail).add_node("b", run=lambda state: None)
    built.add_node("join", run=lambda state, parallel_results: {"told": [r.error for r in parallel_results]})
    built.set_entry_point("s").add_parallel_edge("s", "a", "join").add_parallel_edge("s", "b", "join")
    built.set_finish_point("join")

    try:
        told = repr(built.compile().run().state)
    except ts.WorkflowFailed as failed:
        told = str(failed)
    assert CANARY not in told
    assert "***" in told


def test_one_in_the_state_is_refused_by_a_checkpoint_which_names_its_key() -> None:
    built = ts.StateGraph(secrets={"KEY": CANARY})
    built.add_node("n", run=lambda state, context: {"token": context.secrets["KEY"]})
    with pytest.raises(ts.CheckpointError, match="token") as caught:
        built.compile(checkpointer=ts.MemoryCheckpointer()).run()

    assert CANARY not in str(caught.value)


def test_what_was_guarded_is_guarded_no_longer_after_the_run() -> None:
    built = ts.StateGraph(secrets={"KEY": CANARY})
    built.add_node("n", run=lambda state: {"masked": masked(CANARY)})

    assert built.compile().run().state == {"masked": "***"}
    assert masked(CANARY) == CANARY
    assert module.GROUP == "teastreams.secrets"
