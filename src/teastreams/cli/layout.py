"""The live view as lines: (snapshot, width, height, colour) -> lines, none wider or more than that.

Pure, and ASCII but for the users' own names. Every text that came from outside is made visible here, once. When the
terminal is too low, nodes that have ended go first, then lines from the end; what is missing is counted in the last
line.

     0:12  3 nodes: 2 running, 1 done
    reader   writing   0:12  waits for archive (lines)
    errors   reading   0:12  waits for reader (lines)
    lines    reader -> 1.20 GiB   102 MiB/s
               errors  1.20 GiB   102 MiB/s  [..........]  0 B behind
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

from teastreams.cli.board import Snapshot
from teastreams.cli.visible import clipped, columns, padded, visible
from teastreams.core.events import ChannelProgress, ConsumerProgress, NodeProgress
from teastreams.engine.reporting.quantities import duration, size

BAR_COLUMNS = 10
NAME_COLUMNS = 24
DOING_COLUMNS = 11
SIZE_COLUMNS = 9
RATE_COLUMNS = 11
STYLES = {"bad": "31", "good": "32", "held": "33", "head": "1", "dim": "2"}
OVER = frozenset(("done", "stopped", "failed", "consequence", "tainted", "cancelled", "ended"))
FAILED = frozenset(("failed", "consequence", "tainted", "cancelled"))
OUTSIDE = "(outside)"


class Span(NamedTuple):
    """A piece of a line, and how it looks; "" is plain."""

    text: str
    style: str = ""


class Row(NamedTuple):
    """One line; a row that is `over` tells of something that has ended."""

    spans: tuple[Span, ...]
    over: bool = False


def layout(snapshot: Snapshot, width: int, height: int, colour: bool = False) -> list[str]:
    """The view of one snapshot; at most `height` lines of at most `width` columns, with ANSI colours if asked for."""
    names = _name_columns(snapshot, width)
    nodes = [_node(each, names) for each in snapshot.progress.nodes]
    channels = [row for each in snapshot.progress.channels for row in _channel(each, snapshot, names)]
    rows = _fitted([_head(snapshot), *nodes, *channels], height)
    return [_painted(row.spans, width, colour) for row in rows]


def _name_columns(snapshot: Snapshot, width: int) -> int:
    progress = snapshot.progress
    names = [node.node for node in progress.nodes] + [channel.channel for channel in progress.channels]
    names += [f"  {consumer.node or OUTSIDE}" for channel in progress.channels for consumer in channel.consumers]
    longest = max((columns(visible(name)) for name in names), default=0)
    return max(1, min(longest, NAME_COLUMNS, width // 3))


def _head(snapshot: Snapshot) -> Row:
    progress = snapshot.progress
    doing = [node.doing for node in progress.nodes]
    counts = ", ".join(f"{doing.count(each)} {each}" for each in dict.fromkeys(doing))
    return Row((Span(f"{duration(progress.seconds)}  {len(doing)} nodes: {counts}", "head"),))


def _node(node: NodeProgress, names: int) -> Row:
    over, waits = node.doing in OVER, ""
    if node.waits_for:
        waits = f"  waits for {', '.join(map(visible, node.waits_for))} ({visible(node.channel)})"
    elif node.channel:
        waits = f"  waits for outside ({visible(node.channel)})"
    style = "bad" if node.doing in FAILED else "good" if over else "held" if waits else ""
    spans = (
        Span(padded(visible(node.node), names)),
        Span(f"  {padded(node.doing, DOING_COLUMNS)}", style),
        Span(f"  {duration(node.seconds):>7}", "dim"),
        Span(waits, "held"),
    )
    return Row(spans, over)


def _channel(channel: ChannelProgress, snapshot: Snapshot, names: int) -> list[Row]:
    done = bool(channel.consumers) and all(consumer.done for consumer in channel.consumers)
    figures = _figures(channel.bytes, channel.counted, snapshot.rates.get((channel.channel, "")), done)
    source = Span(f"  from {visible(channel.producer or OUTSIDE)}", "dim")
    head = Row((Span(padded(visible(channel.channel), names)), *figures, source), done)
    return [head, *(_consumer(channel.channel, each, snapshot, names) for each in channel.consumers)]


def _consumer(channel: str, consumer: ConsumerProgress, snapshot: Snapshot, names: int) -> Row:
    name = consumer.node or OUTSIDE
    figures = _figures(consumer.bytes, consumer.counted, snapshot.rates.get((channel, name)), consumer.done)
    dropped = f", {size(consumer.dropped_bytes)} dropped" if consumer.dropped_bytes else ""
    return Row(
        (Span(padded(f"  {visible(name)}", names)), *figures, *_fill(consumer), Span(dropped, "bad")), consumer.done
    )


def _figures(count_bytes: int, counted: str, rate: Optional[float], done: bool) -> tuple[Span, ...]:
    pace = "" if done or rate is None or counted == "unknown" else f"{size(rate)}/s"
    return (Span(f"  {size(count_bytes, counted):>{SIZE_COLUMNS}}"), Span(f"  {pace:>{RATE_COLUMNS}}", "dim"))


def _fill(consumer: ConsumerProgress) -> tuple[Span, ...]:
    """How far a reader is behind: against its limit where a fan-out keeps it, as a plain figure in a bare pipe."""
    held = consumer.buffered_bytes
    if consumer.done or held is None:
        return ()
    behind = f"  {size(held)} behind"
    if not consumer.limit_bytes:
        return (Span(behind, "dim"),)
    full = min(BAR_COLUMNS, -(-held * BAR_COLUMNS // consumer.limit_bytes))
    style = "held" if full == BAR_COLUMNS else ""
    spilling = " (spilling)" if consumer.overflow == "spill" and held > consumer.limit_bytes else ""
    return (Span(f"  [{'#' * full}{'.' * (BAR_COLUMNS - full)}]", style), Span(behind + spilling, style or "dim"))


def _fitted(rows: Sequence[Row], height: int) -> list[Row]:
    if len(rows) <= height:
        return list(rows)
    kept = [row for row in rows if not row.over]
    if len(kept) >= height:
        kept = kept[: max(0, height - 1)]
    more = Row((Span(f"... {len(rows) - len(kept)} more lines", "dim"),))
    return [*kept, more][: max(0, height)]


def _painted(spans: Sequence[Span], width: int, colour: bool) -> str:
    parts, left = [], width
    for span in spans:
        text = clipped(span.text, left)
        left -= columns(text)
        code = STYLES.get(span.style) if colour and text.strip() else None
        parts.append(f"\x1b[{code}m{text}\x1b[0m" if code else text)
        if text != span.text:
            break
    return "".join(parts) if colour else "".join(parts).rstrip()
