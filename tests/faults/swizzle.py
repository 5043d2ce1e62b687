"""Two storms: a timer that interrupts every process each millisecond, and workers stopped and released in disorder.

Runs inside one warm interpreter, like `sweep`. Both must be invisible: every byte arrives, once and in order. The seed
fixes which workers are stopped in which order, not the moment.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import inside
import sweep
import topologies
import warm


def storm() -> None:
    """Tells how each run under the timer ended."""
    sweep.warm_up()
    consumer = topologies.consumer
    topologies.produce = _stormy(topologies.produce)
    topologies.consumer = lambda *given, **named: _stormy(consumer(*given, **named))
    _start_timer()
    runs = [_run(name) for name in ("direct", "broadcast2", "spill", "stderr", "command") for _again in range(2)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    inside.tell(runs=runs)


def _run(name: str) -> str:
    make, consumers = topologies.TOPOLOGIES[name]
    topologies.BOARD.clear()
    make().run(echo_output=False)
    whole = (topologies.SIZE, False, topologies.END_OF_FILE)
    seen = [topologies.BOARD.seen(index) for index in range(1, consumers + 1)]
    return "well" if seen == [whole] * consumers else f"{name}: {seen}"


def _stormy(node: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def run(state: dict[str, Any]) -> Any:
        _start_timer()
        return node(state)

    return run


def _start_timer() -> None:
    signal.signal(signal.SIGALRM, lambda _signal, _frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)


def swizzle(seed: int, runs: int) -> None:
    """Tells what was wrong with the runs, and how many stops there were."""
    sweep.warm_up()
    stops = _Stops(random.Random(seed))
    wrong: list[str] = []
    for _run_again in range(runs):
        topologies.BOARD.clear()
        with tempfile.TemporaryDirectory() as folder:
            outside, ended = warm.attempt(lambda: _run("broadcast8"), Path(folder), look=stops.look)
        wrong += [*outside, *([] if ended == "well" else [str(ended)])]
    inside.tell(wrong=wrong, stops=stops.count)


class _Stops:
    """Stops a random half of all workers one by one, then releases them in another order."""

    def __init__(self, dice: random.Random) -> None:
        self._dice, self.count = dice, 0

    def look(self) -> None:
        workers = [worker for host in _children(os.getpid()) for worker in _children(host)]
        chosen = self._dice.sample(workers, (len(workers) + 1) // 2)
        self.count += len(chosen)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            self._dice.shuffle(chosen)
            for pid in chosen:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                time.sleep(0.0005)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
