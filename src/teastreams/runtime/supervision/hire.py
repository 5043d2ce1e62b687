"""Give a worker its descriptors and fork it.

Workers are forked in rows. Pipes are opened right before the row in which the first of their two holders is forked, and
closed on this side right after that of each holder: the supervisor holds few ends at any time. Who inherits an end of
another worker of its row closes it before it says that it is ready. Nothing stays open when a start fails half-way.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from functools import partial
from typing import Callable, Optional

from teastreams.core.plan import OUTSIDE, Channel, Worker
from teastreams.runtime import calls, fork
from teastreams.runtime.exits import watch_exit
from teastreams.runtime.fanout.tee import Post, run_fanout
from teastreams.runtime.fds import Fd, copy_of, make_pipe, resize, room_for
from teastreams.runtime.gauges import Gauges
from teastreams.runtime.loop import Loop
from teastreams.runtime.node.program import Program, run_program
from teastreams.runtime.node.worker import Seat, run_node
from teastreams.runtime.supervision.child import STREAM_NAMES, Child, Log
from teastreams.runtime.supervision.order import Order
from teastreams.runtime.supervision.sampling import sink_gauges


class Hire:
    """Starts the workers of one order, in rows.

    `lines` collects (node, stream, text) of output that is no channel.
    """

    def __init__(self, order: Order, loop: Loop, gauges: Gauges) -> None:
        self._order, self._loop, self._gauges = order, loop, gauges
        self._ends: dict[tuple[str, str], Fd] = dict(order.given)
        self._indexes = {worker.name: index for index, worker in enumerate(order.plan.workers)}
        self.lines: deque[tuple[str, str, str]] = deque()

    def start_some(self, waiting: deque[Worker], children: dict[str, Child], on_start: Callable[[Child], None]) -> None:
        """Fork the next of `waiting`, as many as the order allows at a time, and enter them in `children`.

        `on_start` is called for each that was forked, also when the next one could not be; of that nothing is left.
        LimitError when descriptors, memory or processes run out.
        """
        workers = [waiting.popleft() for _ in range(min(len(waiting), self._order.forks_at_once))]
        forked: list[Child] = []
        try:
            self._fork(workers, forked)
        finally:
            children.update((child.name, child) for child in forked)
            for child in forked:
                child.exit = watch_exit(child.pid)
                on_start(child)

    def _fork(self, workers: list[Worker], forked: list[Child]) -> None:
        """One right after another: all that can be done before the first fork or after the last one is done there.

        A fork makes every page of this process read-only, and each that is written to before the next one is a fault:
        300 of 500 of them, and a fifth of the time of a run of ten nodes, are saved.
        """
        with ExitStack() as stack:
            hired = [self._prepare(worker, stack.enter_context(_Pipes())) for worker in workers]
            try:
                fork.launch([process for _child, process, _target, _pipes in hired])
            finally:
                for child, process, _target, pipes in hired:
                    if process.pid is not None:
                        child.process, child.pid = process, process.pid
                        forked.append(child)
                        pipes.keep_ours()

    def _prepare(
        self, worker: Worker, pipes: _Pipes
    ) -> tuple[Child, fork.WorkerProcess, Callable[[], None], _Pipes]:
        """The target is held: `start` gives it up, and what goes with it would be taken apart between two forks."""
        with room_for(repr(worker.name)):
            child, seat = self._seat(worker, pipes)
            target = self._target(worker, seat)
            return child, fork.prepare(worker.name, target, seat.lifeline.number), target, pipes

    def take(self, pipe: str, side: str) -> Optional[Fd]:
        """The end that the caller holds, once the worker at the other one was forked; None if it holds it already."""
        return self._ends.pop((pipe, side), None)

    def close(self) -> None:
        """Close the pipe ends of workers that were never forked."""
        for fd in self._ends.values():
            fd.close()
        self._ends.clear()

    def _seat(self, worker: Worker, pipes: _Pipes) -> tuple[Child, Seat]:
        """The descriptors of both sides."""
        name = worker.name
        result, result_end = pipes.to_us(f"result of {name}")
        control, control_end = pipes.from_us(f"control of {name}")
        lifeline, lifeline_end = pipes.from_us(f"lifeline of {name}")
        child = Child(name, self._loop, result, control, lifeline, self._order.program_of(name) is not None)
        child.limit_result(self._order.result_limit_bytes)
        logs = {} if worker.fanout_of else self._logs(worker, child, pipes)
        ends = self._take_ends(worker, pipes)
        outputs = [wire for wire in worker.wires if wire.fd]
        child.outputs = frozenset(wire.fd for wire in outputs)
        child.lent = frozenset(wire.fd for wire in outputs if self._is_lent(wire.channel))
        if child.program:
            child.witnesses = {wire.fd: pipes.ours(copy_of(ends[wire.pipe, "w"])) for wire in outputs}
        return child, Seat(
            name=name,
            result=result_end,
            control=control_end,
            lifeline=lifeline_end,
            gauge=self._gauges.gauge(self._indexes[name]),
            wires={wire.fd: ends[wire.pipe, "r" if wire.fd == 0 else "w"] for wire in worker.wires},
            logs=logs,
            keep=tuple(ends.values()) if worker.fanout_of else (),
            producer=self._order.plan.producer_of(name),
            drain_seconds=self._order.settings.drain_seconds,
            counts_records=self._order.progress_seconds is not None,
            result_limit_bytes=self._order.result_limit_bytes,
            lent=child.lent,
        )

    def _logs(self, worker: Worker, child: Child, pipes: _Pipes) -> dict[int, Fd]:
        theirs: dict[int, Fd] = {}
        for fd, name in STREAM_NAMES.items():
            if worker.wire(fd) is None:
                read, theirs[fd] = pipes.to_us(f"{name} of {worker.name}")
                child.logs[fd] = Log(read, partial(self._line, worker.name, name))
        return theirs

    def _is_lent(self, channel: str) -> bool:
        """May somebody outside the section hold a write end of it?"""
        consumers = self._order.plan.channels[channel].consumers
        return any(consumer.node == OUTSIDE for consumer in consumers)

    def _line(self, node: str, stream: str, text: str) -> None:
        self.lines.append((node, stream, text))

    def _take_ends(self, worker: Worker, pipes: _Pipes) -> dict[tuple[str, str], Fd]:
        """The channel ends this worker holds, opening the pipes whose other holder comes later."""
        taken: dict[tuple[str, str], Fd] = {}
        for pipe, side in self._order.plan.ends_of(worker.name):
            if (pipe, side) not in self._ends:
                self._ends[pipe, "r"], self._ends[pipe, "w"] = make_pipe(f"channel {pipe}")
                if self._order.pipe_bytes is not None:
                    resize(self._ends[pipe, "w"], self._order.pipe_bytes)
            taken[pipe, side] = pipes.theirs(self._ends.pop((pipe, side)))
        return taken

    def _target(self, worker: Worker, seat: Seat) -> Callable[[], None]:
        if worker.fanout_of is None:
            job = self._order.jobs[worker.name]
            if isinstance(job.body, Program):
                return partial(run_program, seat, job.body)
            return partial(run_node, seat, job.body, job.state, job.reducers)
        channel = self._order.plan.channels[worker.fanout_of]
        return partial(run_fanout, seat, _post(channel, seat, self._order, self._gauges))


def _post(channel: Channel, seat: Seat, order: Order, gauges: Gauges) -> Post:
    ends = {(pipe, side): fd for (pipe, side), fd in zip(order.plan.ends_of(seat.name), seat.keep)}
    return Post(
        channel=channel,
        source=ends[channel.source, "r"],
        sinks={consumer.node: ends[consumer.pipe, "w"] for consumer in channel.consumers},
        # Moving the bytes is the worker's business; saying who has how many costs a little, and only who asks pays.
        sink_gauges=sink_gauges(order.plan, gauges, channel.name) if order.progress_seconds is not None else (),
        spill_directory=order.spill_directory,
    )


class _Pipes:
    """The pipe ends of one start. The worker's are closed on this side in any case, ours unless they are kept."""

    def __init__(self) -> None:
        self._ours: list[Fd] = []
        self._theirs: list[Fd] = []

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_exc: object) -> None:
        for fd in (*self._theirs, *self._ours):
            fd.close()

    def keep_ours(self) -> None:
        """The start succeeded: our ends belong to the child's record now."""
        self._ours.clear()

    def theirs(self, fd: Fd) -> Fd:
        """Enter an end that goes to the worker."""
        self._theirs.append(fd)
        return fd

    def ours(self, fd: Fd) -> Fd:
        """Enter an end that stays here."""
        self._ours.append(fd)
        return fd

    def to_us(self, label: str) -> tuple[Fd, Fd]:
        """A pipe from the worker to us, as (our end, its end)."""
        read, write = make_pipe(label)
        self._ours.append(read)
        calls.table.set_blocking(read.number, False)
        return read, self.theirs(write)

    def from_us(self, label: str) -> tuple[Fd, Fd]:
        """A pipe from us to the worker, as (our end, its end)."""
        read, write = make_pipe(label)
        self._ours.append(write)
        calls.table.set_blocking(write.number, False)
        return write, self.theirs(read)
