"""Branches in threads of the caller's process: the `thread` strategy.

Every branch works on its own deep copy of the state, made anew for each attempt, so that branches do not see each other
and a failed attempt leaves nothing behind. A value that cannot be copied (a lock, a socket, a generator) is shared by
all branches. Threads cannot carry streams, because descriptors 0, 1 and 2 belong to the process, and cannot be ended
from outside: a branch past its time is waited for and reported as timed out. All threads have been joined when
`execute` returns or raises, but for a second Ctrl-C. Where either matters, the `process` strategy does it.
"""

from __future__ import annotations

import copy
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Sequence, Union

from teastreams.core.endings import ErrorText
from teastreams.core.events import NodeRetried
from teastreams.core.graph import ParallelConfig
from teastreams.core.merge import ParallelFlowResult, Update, merged, returned
from teastreams.core.state.reducers import Reducers
from teastreams.errors import NodeError, Problem, WorkflowError
from teastreams.executors.circuits import Circuits, Permit, Refusal
from teastreams.executors.flows import BranchFlow, branch_flow
from teastreams.runtime.completions import Completions, completions
from teastreams.runtime.node.ending import error_text

if TYPE_CHECKING:
    from teastreams.runtime.channels import StreamRegistry


class ThreadExecutor:
    """Runs the branches of one fan-out in a pool of threads; keeps the circuits of its branches from call to call.

    `max_workers` threads at most; None leaves it to the config, and there None is one thread per branch. `sleep` waits
    so many seconds between attempts (None: ends early when the run is stopped), `clock` gives monotonic seconds, `dice`
    a number in [0, 1) for the jitter. `errors` holds the whole error of each branch that failed last time, the earliest
    first; a result carries only its text. `updates` holds what each branch that returned an `Update` changed, `retried`
    the attempts that were followed by another one. `above` is what stops the branch that these branches belong to,
    `stop` what stops these.
    """

    def __init__(
        self,
        max_workers: Optional[int] = None,
        *,
        sleep: Optional[Callable[[float], object]] = None,
        clock: Callable[[], float] = time.monotonic,
        dice: Optional[Callable[[], float]] = None,
        circuits: Optional[Circuits] = None,
        above: Optional[Stop] = None,
    ) -> None:
        self._max_workers = max_workers
        self._sleep, self._clock, self._dice = sleep, clock, dice or _dice
        self.circuits = circuits or Circuits()
        self._above, self.stop = above, Stop(above)
        self.errors: dict[str, NodeError] = {}
        self.retried: list[NodeRetried] = []
        self.updates: dict[str, Update] = {}

    def execute(
        self,
        flows: Sequence[Union[BranchFlow, Mapping[str, Any]]],
        config: Optional[ParallelConfig] = None,
        stream_registry: Optional[StreamRegistry] = None,
    ) -> list[ParallelFlowResult]:
        """Run all flows to their end and return one result per flow, in the order of `flows`.

        The state of a result is that of the flow with what the branch changed or returned; of a branch that failed, it
        is the state it started from. With `fail_fast`, branches that have not started when one fails never do.

        Raises:
            WorkflowError: a flow or the registry has a channel.
        """
        branches = [branch_flow(flow) for flow in flows]
        _refuse_streams(branches, stream_registry)
        if not branches:
            return []
        config = config or ParallelConfig()
        stop = self.stop = Stop(self._above)
        self.errors, self.retried, self.updates = {}, [], {}
        told = (self.errors, self.retried, self.updates)
        run = _Run(config, self._sleep or stop.wait, self._clock, self._dice, self.circuits, stop, *told)
        size = self._max_workers or config.max_workers or len(branches)
        # After a Ctrl-C nothing new starts; what runs is waited for, unless there is a second one.
        with completions(lambda: stop.by("the caller")) as ended:
            pool = ThreadPoolExecutor(size, "teastreams-branch")
            try:
                return _results([pool.submit(run.result_of, branch) for branch in branches], ended)
            finally:
                stop.by("the caller")
                pool.shutdown(wait=not ended.abandoned)


def _results(futures: Sequence[Future[ParallelFlowResult]], ended: Completions) -> list[ParallelFlowResult]:
    """Wait for all; nothing when the wait was given up."""
    for future in futures:
        future.add_done_callback(ended.tell)
    return [future.result() for future in futures] if ended.wait(len(futures)) else []


class Stop:
    """Who stopped the branches, if anybody did; waiting ends at once when somebody does.

    What stops those `above`, in one of whose branches these run, stops these as well.
    """

    def __init__(self, above: Optional[Stop] = None) -> None:
        self._event = threading.Event()
        self._below: list[Stop] = []
        self.who: Optional[str] = None
        if above is not None:
            above._below.append(self)
            if above.who is not None:
                self.by(above.who)

    def by(self, who: str) -> None:
        """Somebody stops them; the first is remembered."""
        if self.who is None:
            self.who = who
            self._event.set()
            for each in self._below:
                each.by(who)

    def wait(self, seconds: float) -> None:
        """So many seconds, or until somebody stops them."""
        self._event.wait(seconds)


@dataclass(frozen=True)
class _Run:
    """One `execute`: what all its branches share."""

    config: ParallelConfig
    sleep: Callable[[float], object]
    clock: Callable[[], float]
    dice: Callable[[], float]
    circuits: Circuits
    stop: Stop
    errors: dict[str, NodeError]
    retried: list[NodeRetried]
    updates: dict[str, Update]

    def result_of(self, branch: BranchFlow) -> ParallelFlowResult:
        """Run one branch to its end, with all its attempts."""
        if self.stop.who is not None:
            text = f"branch {branch.node_name!r} was not started: {self.stop.who!r} failed first (fail_fast)"
            return _failure(branch, text, "Cancelled")
        started = self.clock()
        result = self._attempts(branch, started)
        seconds = self.clock() - started
        limit = _limit_seconds(branch, self.config)
        if limit is not None and seconds > limit:
            result = _timed_out(branch, result, seconds, limit)
            self.errors[branch.node_name] = _late_error(result)
        if not result.success and self.config.fail_fast:
            self.stop.by(branch.node_name)
        return replace(result, timing_ms=seconds * 1000)

    def _attempts(self, branch: BranchFlow, started: float) -> ParallelFlowResult:
        """Call the branch until it succeeds or there is no reason to try again; its circuit is asked each time."""
        permit = self._ask(branch)
        if isinstance(permit, Refusal):
            return _failure(branch, permit.reason, "CircuitOpen")
        attempt = 0
        while True:
            attempt += 1
            result, error = _attempt(branch, self.config.include_traceback, self.updates)
            self._remember(branch.node_name, error)
            self.circuits.report(permit, result.success, self.clock())
            done = error is None or not self._wait_to_retry(branch, attempt, error, started)
            permit = None if done else self._ask(branch)
            # A circuit that opened between two attempts is no news: the error that opened it is.
            if done or isinstance(permit, Refusal):
                break
        return replace(result, retry_count=attempt - 1)

    def _remember(self, branch: str, error: Optional[ErrorText]) -> None:
        """The last attempt's error is the branch's."""
        if error is None:
            self.errors.pop(branch, None)
        else:
            self.errors[branch] = _whole_error(branch, error)

    def _ask(self, branch: BranchFlow) -> Union[Permit, Refusal, None]:
        return self.circuits.ask(branch.node_name, self.config.circuit_breaker, self.clock())

    def _wait_to_retry(self, branch: BranchFlow, attempt: int, error: ErrorText, started: float) -> bool:
        """Wait until the next attempt is due; False when there is to be none."""
        policy = self.config.retry_policy
        if policy is None or self.stop.who is not None or not policy.should_retry(attempt, error.names):
            return False
        delay = policy.delay_seconds(attempt, self.dice())
        limit = _limit_seconds(branch, self.config)
        if limit is not None and self.clock() - started + delay >= limit:
            return False
        text = f"{error.type}: {error.message}"
        self.retried.append(NodeRetried(branch.node_name, attempt, policy.max_retries + 1, delay, text))
        self.sleep(delay)
        return self.stop.who is None


def _attempt(
    branch: BranchFlow, include_traceback: bool, updates: dict[str, Update]
) -> tuple[ParallelFlowResult, Optional[ErrorText]]:
    """Call the branch once on its own copy of the state; the result, and the error if there was one."""
    own = _own_copy(branch.state)
    try:
        if not callable(branch.run):
            raise TypeError("a program needs a process of its own; use the process strategy")
        value = branch.run(own)
        if isinstance(value, Update):
            updates[branch.node_name] = value
        state = _state_after(value, own, branch.reducers)
    # Not only Exception: sys.exit() in a branch ends the branch. A real Ctrl-C arrives in the main thread, never here.
    except BaseException as raised:
        error = error_text(raised)
        failed = _failure(branch, error.message, error.type)
        return replace(failed, traceback=error.traceback if include_traceback else None), error
    return ParallelFlowResult(branch.node_name, state=state), None


def _state_after(value: Any, own: dict[str, Any], reducers: Reducers) -> dict[str, Any]:
    """What the branch did to its copy, and what it returned on top."""
    if value is None:
        return dict(own)
    return merged(own, [value if isinstance(value, Update) else Update(returned(value))], reducers)


def _own_copy(state: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(dict(state))
    except Exception:  # whatever a value's own __deepcopy__ raises
        return {key: _copied(value) for key, value in state.items()}


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def _refuse_streams(branches: Sequence[BranchFlow], registry: Optional[StreamRegistry]) -> None:
    names = [branch.node_name for branch in branches if branch.streams is not None and branch.streams.channels]
    if not names and not (registry is not None and registry.channels):
        return
    whose = f"the nodes {', '.join(names)} have" if names else "the registry has"
    raise WorkflowError(
        [
            Problem(
                f"{whose} stream channels, and threads cannot carry streams: they share one stdin and one stdout",
                "write `parallel_strategy: process` on the edge, or `strategy: process` under settings.parallel",
            )
        ]
    )


def _limit_seconds(branch: BranchFlow, config: ParallelConfig) -> Optional[float]:
    return config.timeout_seconds if branch.timeout_seconds is None else branch.timeout_seconds


def _timed_out(branch: BranchFlow, result: ParallelFlowResult, seconds: float, limit: float) -> ParallelFlowResult:
    ending = "well" if result.success else f"with {result.error_type}: {result.error}"
    text = (
        f"branch {branch.node_name!r} timed out: it took {seconds:.3f} s of {limit:g} s, then ended {ending}; a thread "
        "cannot be ended from outside, a process can: write `parallel_strategy: process`"
    )
    late = _failure(branch, text, "TimeoutError")
    return replace(late, traceback=result.traceback, retry_count=result.retry_count)


def _failure(branch: BranchFlow, error: str, error_type: str) -> ParallelFlowResult:
    return ParallelFlowResult(branch.node_name, False, dict(branch.state), error, error_type)


def _whole_error(branch: str, error: ErrorText) -> NodeError:
    """Of a branch of several nodes, the one is named in which it was raised."""
    return NodeError(
        error.node or branch,
        error.phase,
        error.message,
        error_type=error.type,
        traceback=error.traceback,
        error_type_names=error.names,
    )


def _late_error(result: ParallelFlowResult) -> NodeError:
    text = result.error or ""
    return NodeError(
        result.branch, "timeout", text, error_type=result.error_type or "", traceback=result.traceback or ""
    )


def _dice() -> float:
    import random  # only who tries again rolls them

    return random.random()
