"""What `compile()` says about the channels of a workflow: the registry of the compiled graph.

Compiling opens nothing and starts nothing, so these tests run in the test process itself. That the platform is asked
is looked at here too: with the streams, not with the process, lies the reason for refusing one.
"""

from __future__ import annotations

import os
import textwrap

import pytest

import teastreams as ts

HEAD = """
settings:
  parallel:
    strategy: process
    streams: {enabled: true, buffer_size: 128KiB}
"""

SEVERAL = HEAD + textwrap.dedent("""
    nodes:
      - name: source
        streams: {stdout: raw, stderr: remarks}
        run: print(1)
      - name: left
        streams: {stdin: raw, stdout: cooked}
        run: print(2)
      - name: right
        streams: {stdin: raw}
        run: print(3)
      - name: remarked
        streams: {stdin: remarks}
        run: print(4)
      - name: taster
        streams: {stdin: cooked}
        run: print(5)
      - name: join
        run: print(6)
    edges:
      - {from: __start__, to: source}
      - from: source
        to: [left, right, remarked]
        parallel: true
        stream_mode: broadcast
        fan_in: join
      - {from: left, to: taster}
      - {from: join, to: __end__}
    """)

WITHOUT_STREAMS = """
nodes:
  - {name: only, run: "return {'done': True}"}
edges:
  - {from: __start__, to: only}
  - {from: only, to: __end__}
"""


def registry(text: str = SEVERAL) -> ts.StreamRegistry:
    """The registry of a compiled document."""
    return ts.YAMLEngine().load_from_string(text).compile().stream_registry


@pytest.mark.scenario("001.4-INT-001")
def test_every_declared_channel_is_registered_and_none_is_open() -> None:
    """Three names, as the document has them; compiling takes no descriptor."""
    before = os.listdir("/dev/fd")
    found = registry()
    assert set(found.channels) == {"raw", "remarks", "cooked"}
    assert not any(channel.is_open or channel.closed for channel in found)
    assert len(os.listdir("/dev/fd")) == len(before)


@pytest.mark.scenario("001.4-INT-002")
def test_a_channel_on_stdout_has_the_direction_stdout_and_its_producer() -> None:
    """Whoever was declared first, reader or writer."""
    for text in (SEVERAL, _readers_first(SEVERAL)):
        found = registry(text)
        for name, producer in (("raw", "source"), ("cooked", "left")):
            channel = found.get(name)
            assert channel is not None
            assert (channel.direction, channel.producer) == (ts.StreamDirection.STDOUT, producer)


@pytest.mark.scenario("QA-001.4-INT-004")
def test_a_channel_on_stderr_has_the_direction_stderr() -> None:
    """It counts as produced, like those on stdout."""
    found = registry()
    remarks = found.get("remarks")
    assert remarks is not None
    assert (remarks.direction, remarks.producer) == (ts.StreamDirection.STDERR, "source")
    assert {channel.name for channel in found.producers()} == {"raw", "remarks", "cooked"}
    assert found.validate() == []


@pytest.mark.scenario("001.4-INT-003")
def test_consumers_are_attached_to_their_channel() -> None:
    """Each by its name, in the order of declaration; two of them make it a broadcast."""
    found = registry()
    assert {name: channel.consumers for name, channel in found.channels.items()} == {
        "raw": ("left", "right"),
        "remarks": ("remarked",),
        "cooked": ("taster",),
    }
    assert {channel.name for channel in found if channel.is_broadcast} == {"raw"}


@pytest.mark.scenario("QA-001.4-INT-005")
def test_the_buffer_size_of_the_settings_holds_for_every_channel() -> None:
    """As set, or 64 KiB."""
    assert {channel.buffer_size for channel in registry()} == {131072}
    assert {channel.buffer_size for channel in registry(SEVERAL.replace(", buffer_size: 128KiB", ""))} == {65536}


@pytest.mark.scenario("QA-001.4-INT-006")
@pytest.mark.parametrize("switch", ["{enabled: false}", "{buffer_size: 64KiB}"])
def test_streams_that_are_not_enabled_are_refused_and_nothing_is_registered(switch: str) -> None:
    """The document does not load, and the one problem gives the line to write."""
    text = SEVERAL.replace("{enabled: true, buffer_size: 128KiB}", switch)
    with pytest.raises(ts.WorkflowError) as refused:
        registry(text)
    (problem,) = refused.value.problems
    assert "node 'source' (and 4 more) has `streams:`, but streams are not enabled" in problem.message
    assert "enabled: true" in problem.fix
    assert problem.where is not None


@pytest.mark.scenario("QA-001.4-INT-006")
def test_a_workflow_without_streams_has_an_empty_registry() -> None:
    """With the switch and without it."""
    assert len(registry(WITHOUT_STREAMS)) == 0
    assert len(registry(HEAD + WITHOUT_STREAMS)) == 0


@pytest.mark.parametrize("name", ["win32", "cygwin"])
@pytest.mark.scenario("001.4-UNIT-017", "QA-001.1-UNIT-017")
def test_windows_is_refused_with_what_to_do_instead(name: str) -> None:
    """`PlatformError` names the platform, what is needed, and two ways out."""
    with pytest.raises(ts.PlatformError) as refused:
        ts.validate_platform(name)
    text = str(refused.value)
    assert name in text
    assert "Linux or macOS" in text
    assert "use parallel_strategy: thread instead, or run under WSL" in text


@pytest.mark.parametrize("name", ["linux", "darwin", "freebsd14", None])
@pytest.mark.scenario("QA-001.1-UNIT-017")
def test_unix_is_accepted(name: str | None) -> None:
    """And so is the platform that this runs on."""
    assert ts.validate_platform(name) is None


@pytest.mark.scenario("001.4-UNIT-017")
def test_a_run_with_streams_on_windows_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run asks the platform itself, and the error reaches the caller as it is."""
    monkeypatch.setattr("sys.platform", "win32")
    app = ts.YAMLEngine().load_from_string(SEVERAL).compile()
    with pytest.raises(ts.PlatformError, match="Linux or macOS"):
        app.run(echo_output=False)


def _readers_first(text: str) -> str:
    """The same document with its nodes the other way round."""
    head, _, rest = text.partition("nodes:\n")
    nodes, _, edges = rest.partition("edges:\n")
    entries = [f"  - name{each}" for each in nodes.split("  - name")[1:]]
    return f"{head}nodes:\n{''.join(reversed(entries))}edges:\n{edges}"
