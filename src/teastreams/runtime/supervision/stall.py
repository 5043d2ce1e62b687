"""Notice that nothing moves any more, and say who waits for whom.

Only when `stall_timeout` is set, and only while some channel can still carry bytes: a consumer that computes for an
hour after its input has ended is no stall. A node that moves bytes past `sys.std*` (os.write, a child program) is not
seen by the gauges, so before a stall is declared the kernel's own I/O figures of every worker's group are compared as
well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from teastreams.runtime import calls
from teastreams.runtime.gauges import Gauge, Gauges, Phase
from teastreams.runtime.supervision.sampling import kernel_bytes

if TYPE_CHECKING:
    from teastreams.runtime.supervision.supervisor import Supervisor

LOOKS = 8
"""How often the gauges are read in one stall_timeout: it is declared at most an eighth too late."""


class StallWatch:
    """Looks at the gauges of one section at intervals."""

    def __init__(self, supervisor: Supervisor, gauges: Gauges, timeout_seconds: Optional[float]) -> None:
        self._supervisor, self._timeout = supervisor, timeout_seconds or 0.0
        self._plan = supervisor.order.plan
        self._gauges: dict[str, Gauge] = {
            worker.name: gauges.gauge(index) for index, worker in enumerate(self._plan.workers)
        }
        self._seen: object = None
        self._still_since = calls.table.monotonic()

    def arm(self) -> None:
        """Look again after an eighth of the time."""
        self._supervisor.loop.at("stall", self._timeout / LOOKS, self._look)

    def excuse(self, seconds: float) -> None:
        """Nobody supervised for so long: this time does not count."""
        self._still_since += seconds

    def _look(self) -> None:
        now = calls.table.monotonic()
        seen = self._movement()
        if seen != self._seen or not self._can_move():
            self._seen, self._still_since = seen, now
        if now - self._still_since >= self._timeout:
            self._supervisor.fault("stall", self._story())
        else:
            self.arm()

    def _movement(self) -> tuple[int, ...]:
        counts = [gauge.moved(fd) for gauge in self._gauges.values() for fd in (0, 1, 2)]
        return (
            *counts,
            *(
                sum(kernel_bytes(child.pid) or ())
                for child in self._supervisor.running()
                if self._is_opaque(child.name)
            ),
        )

    def _is_opaque(self, name: str) -> bool:
        """A node with wires through which nothing was counted may move bytes by other means."""
        worker = next(each for each in self._plan.workers if each.name == name)
        gauge = self._gauges[name]
        busy = gauge.phase in (Phase.OWN_CODE, Phase.PROGRAM)
        return any(gauge.moved(wire.fd) == 0 and busy for wire in worker.wires)

    def _can_move(self) -> bool:
        running = {child.name for child in self._supervisor.running()}
        closed = self._supervisor.judge.closed
        return any(
            (channel.producer in running or channel.fanout in running) and (channel.producer, channel.fd) not in closed
            for channel in self._plan.channels.values()
        )

    def waits(self) -> str:
        """Who waits for whom, and who is busy, right now; "" when no node runs."""
        return "; ".join(filter(None, (self._wait_of(child.name) for child in self._supervisor.running())))

    def _story(self) -> str:
        return (
            f"no byte moved in this section for {self._timeout:g} s: {self.waits()}; "
            "look at what these nodes wait for outside their streams, or give the lagging consumer `overflow: spill`"
        )

    def _wait_of(self, name: str) -> Optional[str]:
        phase = self._gauges[name].phase
        channel = self._plan.inputs.get(name)
        if name not in self._plan.nodes:
            return None
        if phase is Phase.READING and channel is not None:
            return f"{name!r} waits for bytes of {channel!r} from {_named(self._plan.channels[channel].producer)}"
        if phase is Phase.VERDICT:
            return f"{name!r} waits for everything upstream of {channel!r} to end"
        if phase is Phase.WRITING:
            return f"{name!r} waits for room in {self._outputs(name)}"
        return f"{name!r} is {'another program' if phase is Phase.PROGRAM else 'in its own code'}"

    def _outputs(self, name: str) -> str:
        readers = {
            channel: [consumer.node for consumer in self._plan.channels[channel].consumers]
            for channel in self._plan.outputs.get(name, ())
        }
        return (
            ", ".join(f"{channel!r}, read by {', '.join(map(_named, nodes))}" for channel, nodes in readers.items())
            or "its log"
        )


def _named(node: str) -> str:
    return repr(node) if node else "the caller"
