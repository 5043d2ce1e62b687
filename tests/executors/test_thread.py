"""Branches in threads: isolation, order, retries, circuits, time limits, and nothing left running.

Time is a number that the test moves: `Clock.sleep` advances it, and a branch that takes long says so by advancing it.
Where branches must meet, they meet at barriers and events, never by sleeping.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from teastreams.core.graph import NodeStreamsConfig, ParallelConfig
from teastreams.core.merge import ParallelFlowResult, Update
from teastreams.core.policies import CircuitBreakerConfig, RetryPolicy
from teastreams.errors import WorkflowError
from teastreams.executors.flows import BranchFlow
from teastreams.executors.thread import ThreadExecutor

MEET_SECONDS = 20


class Clock:
    """A clock in the test's hand; `slept` lists what was waited for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FailsFirst:
    """Raises `error` for the first `times` calls, then returns how often it was called."""

    def __init__(self, times: int, error: BaseException) -> None:
        self.times, self.error, self.calls = times, error, 0

    def __call__(self, state: dict[str, Any]) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return {"calls": self.calls}


def executor(clock: Clock, **options: Any) -> ThreadExecutor:
    return ThreadExecutor(sleep=clock.sleep, clock=clock, dice=lambda: 0.0, **options)


def one(run: Callable[[dict[str, Any]], Any], clock: Any = None, /, **config: Any) -> ParallelFlowResult:
    """Run a single branch `b` that starts with {"x": 1}."""
    flow = BranchFlow("b", run, {"x": 1})
    (result,) = executor(clock or Clock()).execute([flow], ParallelConfig(**config))
    return result


class TestState:
    def test_a_returned_mapping_is_merged(self) -> None:
        """The result's state is the branch's state with what it returned."""
        result = one(lambda state: {"y": state["x"] + 1})
        assert dict(result) == {"x": 1, "y": 2}
        assert (result.branch, result.success, result.error, result.exit_code) == ("b", True, None, None)

    def test_any_other_value_becomes_the_result_key(self) -> None:
        """A list is no mapping."""
        assert dict(one(lambda state: [1, 2])) == {"x": 1, "result": [1, 2]}

    def test_without_a_return_changes_in_place_count(self) -> None:
        """Set, changed and removed keys, all three."""

        def run(state: dict[str, Any]) -> None:
            state["y"] = state.pop("x") + 1

        assert dict(one(run)) == {"y": 2}

    def test_what_was_returned_goes_on_top_of_what_was_changed(self) -> None:
        """The same rule as in a forked worker and in the caller's process."""

        def run(state: dict[str, Any]) -> dict[str, Any]:
            state["scratch"] = state["x"] = 99
            return {"y": 2}

        assert dict(one(run)) == {"x": 99, "scratch": 99, "y": 2}

    def test_an_update_can_remove_keys(self) -> None:
        """An `Update` is taken as it is."""
        assert dict(one(lambda state: Update({"y": 2}, frozenset({"x"})))) == {"y": 2}

    def test_branches_do_not_see_each_other(self) -> None:
        """Both change the same nested list at the same moment; each has its own, and the caller's is untouched."""
        shared = {"items": [0]}
        barrier = threading.Barrier(2, timeout=MEET_SECONDS)

        def run(name: str) -> Callable[[dict[str, Any]], None]:
            def body(state: dict[str, Any]) -> None:
                barrier.wait()
                state["items"].append(name)
                barrier.wait()

            return body

        results = ThreadExecutor().execute([BranchFlow(name, run(name), shared) for name in ("a", "b")])
        assert [result["items"] for result in results] == [[0, "a"], [0, "b"]]
        assert shared == {"items": [0]}

    def test_values_that_name_each_other_still_do_in_the_copy(self) -> None:
        """One list under two keys stays one list."""
        items: list[int] = []
        flow = BranchFlow("b", lambda state: {"same": state["p"] is state["q"]}, {"p": items, "q": items})
        assert ThreadExecutor().execute([flow])[0]["same"] is True

    def test_a_value_that_cannot_be_copied_is_shared(self) -> None:
        """A lock is the caller's own; the list beside it is still a copy."""
        lock, items = threading.Lock(), [1]

        def run(state: dict[str, Any]) -> dict[str, bool]:
            return {"lock": state["lock"] is lock, "items": state["items"] is items}

        result = ThreadExecutor().execute([BranchFlow("b", run, {"lock": lock, "items": items})])[0]
        assert (result["lock"], result["items"]) == (True, False)


class TestOrder:
    def test_results_come_in_the_order_of_the_flows(self) -> None:
        """The first flow ends last, and still stands first."""
        others = threading.Barrier(3, timeout=MEET_SECONDS)

        def last(state: dict[str, Any]) -> dict[str, str]:
            others.wait()
            return {"who": "a"}

        def early(name: str) -> Callable[[dict[str, Any]], dict[str, str]]:
            def body(state: dict[str, Any]) -> dict[str, str]:
                others.wait()
                return {"who": name}

            return body

        flows = [BranchFlow("a", last), BranchFlow("b", early("b")), BranchFlow("c", early("c"))]
        results = ThreadExecutor().execute(flows)
        assert [(result.branch, result["who"]) for result in results] == [("a", "a"), ("b", "b"), ("c", "c")]

    def test_all_branches_run_at_once_unless_limited(self) -> None:
        """Ten branches that wait for each other come to an end."""
        barrier = threading.Barrier(10, timeout=MEET_SECONDS)
        flows = [BranchFlow(str(number), lambda state: {"n": barrier.wait()}) for number in range(10)]
        assert {result["n"] for result in ThreadExecutor().execute(flows)} == set(range(10))

    @pytest.mark.parametrize("where", ["executor", "config"])
    def test_max_workers_limits_the_threads(self, where: str) -> None:
        """With one worker, all branches run in the same thread, one after another."""
        seen: list[tuple[int, int]] = []
        flows = [BranchFlow(str(n), lambda state, n=n: seen.append((n, threading.get_ident()))) for n in range(5)]
        if where == "executor":
            ThreadExecutor(max_workers=1).execute(flows)
        else:
            ThreadExecutor().execute(flows, ParallelConfig(max_workers=1))
        assert [number for number, _ in seen] == [0, 1, 2, 3, 4]
        assert len({thread for _, thread in seen}) == 1

    def test_a_flow_may_be_a_mapping(self) -> None:
        """The keys of `BranchFlow`, as the epic's sketches write it."""
        flow = {"node_name": "b", "run": lambda state: {"y": state["x"]}, "state": {"x": 1}}
        assert ThreadExecutor().execute([flow])[0]["y"] == 1

    def test_no_flows_no_results(self) -> None:
        """An empty fan-out is nothing to do."""
        assert ThreadExecutor().execute([]) == []

    def test_all_threads_have_ended(self) -> None:
        """After results and after failures no thread of ours is left."""
        before = set(threading.enumerate())
        ThreadExecutor().execute([BranchFlow(str(n), FailsFirst(n % 2, OSError())) for n in range(6)])
        assert set(threading.enumerate()) <= before


class TestFailure:
    def test_an_exception_is_a_result(self) -> None:
        """Type, text, traceback with the user's line, and the state it started from."""

        def run(state: dict[str, Any]) -> None:
            state["x"] = 2
            raise KeyError("no such thing")

        result = one(run)
        assert (result.success, result.error_type, result.error) == (False, "KeyError", "'no such thing'")
        assert dict(result) == {"x": 1}
        assert result.traceback is not None
        assert 'raise KeyError("no such thing")' in result.traceback
        assert "executors/thread.py" not in result.traceback

    def test_the_traceback_can_be_left_out(self) -> None:
        """`include_traceback` False leaves None."""
        assert one(FailsFirst(1, OSError("x")), include_traceback=False).traceback is None

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
    def test_leaving_by_force_ends_the_branch_only(self, error: BaseException) -> None:
        """What would end a program is an ordinary failure of its branch."""
        good = BranchFlow("good", lambda state: {"ok": 1})
        results = ThreadExecutor().execute([BranchFlow("bad", FailsFirst(1, error)), good])
        assert [result.success for result in results] == [False, True]
        assert results[0].error_type == type(error).__name__

    def test_an_error_that_cannot_be_shown_is_still_reported(self) -> None:
        """`__str__` raises; the result says so."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise ValueError

        result = one(FailsFirst(1, Mute()), include_traceback=False)
        assert (result.error_type, "Mute.__str__ raised" in str(result.error)) == ("Mute", True)

    def test_others_go_on_by_default(self) -> None:
        """One fails first, the one after it in the same thread still runs."""
        flows = [BranchFlow("bad", FailsFirst(1, OSError())), BranchFlow("next", lambda state: {"ran": True})]
        results = ThreadExecutor(max_workers=1).execute(flows)
        assert [result.success for result in results] == [False, True]

    def test_fail_fast_cancels_what_has_not_started(self) -> None:
        """The rest is not run, and says because of whom."""
        ran: list[str] = []
        flows = [BranchFlow("good", lambda state: ran.append("good")), BranchFlow("bad", FailsFirst(1, OSError()))]
        flows += [BranchFlow(name, lambda state: ran.append("late")) for name in ("c", "d")]
        results = ThreadExecutor(max_workers=1).execute(flows, ParallelConfig(fail_fast=True))
        assert ran == ["good"]
        assert [result.error_type for result in results] == [None, "OSError", "Cancelled", "Cancelled"]
        assert "'bad' failed first" in str(results[3].error)

    def test_fail_fast_ends_the_waiting_of_others(self) -> None:
        """A branch between two attempts, an hour apart, comes back at once when a sibling fails."""
        waiting = threading.Event()
        attempts: list[int] = []

        def retried(state: dict[str, Any]) -> None:
            attempts.append(1)
            waiting.set()
            raise ValueError("first attempt")

        def bad(state: dict[str, Any]) -> None:
            waiting.wait(MEET_SECONDS)
            raise OSError

        policy = RetryPolicy(base_delay=3600, max_delay=3600, retry_on=("ValueError",))
        config = ParallelConfig(fail_fast=True, retry_policy=policy)
        results = ThreadExecutor().execute([BranchFlow("a", retried), BranchFlow("b", bad)], config)
        assert [result.error_type for result in results] == ["ValueError", "OSError"]
        assert attempts == [1]

    def test_an_interrupt_in_the_caller_starts_nothing_new(self) -> None:
        """Ctrl-C while a branch waits an hour for its next attempt: it is woken, the next branch never starts."""
        program = textwrap.dedent(
            """
            import os, signal, threading
            from teastreams.core.graph import ParallelConfig
            from teastreams.core.policies import RetryPolicy
            from teastreams.executors.thread import ThreadExecutor

            def first(state):
                os.kill(os.getpid(), signal.SIGINT)
                raise OSError

            flows = [{"node_name": "a", "run": first}, {"node_name": "b", "run": lambda state: os._exit(9)}]
            policy = RetryPolicy(base_delay=3600, max_delay=3600)
            try:
                ThreadExecutor(max_workers=1).execute(flows, ParallelConfig(retry_policy=policy))
            except KeyboardInterrupt:
                print("interrupted with", threading.active_count(), "thread")
            """
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
        assert (done.returncode, done.stdout) == (0, "interrupted with 1 thread\n"), done.stderr

    def test_an_interrupt_between_any_two_calls_leaves_no_lock_taken(self) -> None:
        """A process for each place in the standard library where Ctrl-C could strike; none waits for ever."""
        program = textwrap.dedent(
            """
            import os, signal, sys, threading
            from teastreams.executors.thread import ThreadExecutor

            flows = [{"node_name": name, "run": lambda state: {"ran": True}} for name in "ab"]
            library = {threading.__file__, sys.modules["concurrent.futures.thread"].__file__}

            def attempt(place):
                passed = 0

                def strike(frame, event, _):
                    nonlocal passed
                    passed += frame.f_code.co_filename in library
                    if passed == place:
                        sys.setprofile(None)
                        signal.raise_signal(signal.SIGINT)

                sys.setprofile(strike)
                try:
                    ThreadExecutor(max_workers=1).execute(flows)
                    return "beyond the last place"
                except KeyboardInterrupt:
                    return "interrupted" if threading.active_count() == 1 else "left a thread"
                finally:
                    sys.setprofile(None)

            place, said = 0, ""
            while said != "beyond the last place":
                place += 1
                ours, theirs = os.pipe()
                if not os.fork():
                    signal.alarm(30)
                    os.write(theirs, attempt(place).encode())
                    os._exit(0)
                os.close(theirs)
                said = os.read(ours, 99).decode() or "hung"
                os.close(ours)
                os.wait()
                assert said in ("interrupted", "beyond the last place"), (place, said)
            print("places:", place)
            """
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout.split()[1]) > 100

    def test_a_second_interrupt_is_not_held_back(self) -> None:
        """The caller leaves; the branch that cannot be ended is waited for by the interpreter's exit.

        Each signal is the branch's thread's own: the thread that waits in the main thread is not interrupted by it.
        """
        program = textwrap.dedent(
            """
            import signal, threading
            from teastreams.executors.thread import ThreadExecutor

            left = threading.Event()

            def stubborn(state):
                while not left.wait(0.01):
                    signal.raise_signal(signal.SIGINT)

            try:
                ThreadExecutor().execute([{"node_name": "a", "run": stubborn}])
            except KeyboardInterrupt:
                left.set()
                print("left")
            """
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
        assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr


class TestRetry:
    def test_a_failed_branch_is_tried_again(self) -> None:
        """Two failures, two waits, then the result; the count is in it."""
        clock = Clock()
        result = one(FailsFirst(2, OSError()), clock, retry_policy=RetryPolicy(base_delay=1, backoff_multiplier=3))
        assert (result.success, result["calls"], result.retry_count) == (True, 3, 2)
        assert clock.slept == [1, 3]
        assert result.timing_ms == 4000

    def test_retries_end(self) -> None:
        """The last error is reported, and no wait follows it."""
        clock = Clock()
        branch = FailsFirst(99, OSError("still"))
        result = one(branch, clock, retry_policy=RetryPolicy(max_retries=2))
        assert (branch.calls, result.retry_count, result.error) == (3, 2, "still")
        assert clock.slept == [1, 2]

    def test_each_attempt_starts_from_the_original_state(self) -> None:
        """What a failed attempt did to its copy is gone."""
        seen: list[int] = []

        def run(state: dict[str, Any]) -> None:
            seen.append(len(state["items"]))
            state["items"].append(1)
            if len(seen) < 3:
                raise OSError

        flow = BranchFlow("b", run, {"items": []})
        executor(Clock()).execute([flow], ParallelConfig(retry_policy=RetryPolicy()))
        assert seen == [0, 0, 0]

    @pytest.mark.parametrize(("names", "calls"), [(("OSError",), 2), (("ValueError",), 1)])
    def test_retry_on_chooses_by_class(self, names: tuple[str, ...], calls: int) -> None:
        """ConnectionResetError is an OSError and no ValueError."""
        branch = FailsFirst(1, ConnectionResetError())
        one(branch, retry_policy=RetryPolicy(retry_on=names))
        assert branch.calls == calls

    def test_a_retry_that_would_come_too_late_is_not_waited_for(self) -> None:
        """With four seconds left there is no use in waiting for eight."""
        clock = Clock()
        policy = RetryPolicy(base_delay=8)
        result = one(FailsFirst(1, OSError("first")), clock, retry_policy=policy, timeout_seconds=4.0)
        assert (clock.slept, result.error) == ([], "first")


class TestCircuit:
    CONFIG = ParallelConfig(circuit_breaker=CircuitBreakerConfig(failure_threshold=2, reset_timeout=30.0))

    def test_it_opens_after_failures_in_a_row(self) -> None:
        """Two failing runs; the third does not call the branch and says when it would."""
        clock, branch = Clock(), FailsFirst(2, OSError())
        threads = executor(clock)
        flow = BranchFlow("b", branch)
        results = [threads.execute([flow], self.CONFIG)[0] for _ in range(3)]
        assert [result.error_type for result in results] == ["OSError", "OSError", "CircuitOpen"]
        assert branch.calls == 2
        assert "tried again in 30.0 s" in str(results[2].error)

    def test_it_closes_after_a_successful_trial(self) -> None:
        """After the reset time one call goes through, and the circuit is as new."""
        clock, branch = Clock(), FailsFirst(2, OSError())
        threads = executor(clock)
        flow = BranchFlow("b", branch)
        for _ in range(2):
            threads.execute([flow], self.CONFIG)
        clock.now += 30
        assert [threads.execute([flow], self.CONFIG)[0].success for _ in range(3)] == [True, True, True]

    def test_each_branch_has_its_own(self) -> None:
        """One branch's failures do not stop another."""
        threads = executor(Clock())
        flows = [BranchFlow("bad", FailsFirst(99, OSError())), BranchFlow("good", lambda state: {})]
        for _ in range(3):
            results = threads.execute(flows, self.CONFIG)
        assert [result.error_type for result in results] == ["CircuitOpen", None]

    def test_it_ends_retries_and_the_error_stays_the_cause(self) -> None:
        """The second failure opens the circuit: no third attempt, and the error is the branch's own."""
        clock, branch = Clock(), FailsFirst(99, OSError("mine"))
        config = ParallelConfig(retry_policy=RetryPolicy(max_retries=9), circuit_breaker=self.CONFIG.circuit_breaker)
        (result,) = executor(clock).execute([BranchFlow("b", branch)], config)
        assert (branch.calls, result.error, result.retry_count) == (2, "mine", 1)


class TestTime:
    def test_a_branch_past_its_time_is_reported_as_timed_out(self) -> None:
        """It is waited for; the text says so, and how it ended."""
        clock = Clock()

        def slow(state: dict[str, Any]) -> dict[str, Any]:
            clock.now += 5
            return {"y": 2}

        result = one(slow, clock, timeout_seconds=2.0)
        assert (result.success, result.error_type, dict(result)) == (False, "TimeoutError", {"x": 1})
        assert "timed out" in str(result.error)
        assert "5.000 s of 2 s, then ended well" in str(result.error)
        assert "a thread cannot be ended" in str(result.error)

    def test_how_a_late_branch_failed_is_kept(self) -> None:
        """Its own error is in the text and its traceback in the result."""
        clock = Clock()

        def slow(state: dict[str, Any]) -> None:
            clock.now += 5
            raise ValueError("mine")

        result = one(slow, clock, timeout_seconds=2.0)
        assert result.error_type == "TimeoutError"
        assert "ended with ValueError: mine" in str(result.error)
        assert 'raise ValueError("mine")' in str(result.traceback)

    def test_the_time_of_the_branch_goes_before_that_of_the_config(self) -> None:
        """Ten seconds for this one, two for the others."""
        clock = Clock()

        def slow(state: dict[str, Any]) -> None:
            clock.now += 5

        flow = BranchFlow("b", slow, timeout_seconds=10.0)
        assert executor(clock).execute([flow], ParallelConfig(timeout_seconds=2.0))[0].success


class TestStreams:
    @pytest.mark.scenario("001.4-UNIT-011")
    def test_a_branch_with_a_channel_is_refused(self) -> None:
        """Nothing runs; the error names the node and the line to write."""
        ran: list[str] = []
        streams = NodeStreamsConfig(stdout="lines")
        flow = BranchFlow("reader", lambda state: ran.append("x"), streams=streams)
        with pytest.raises(WorkflowError) as caught:
            ThreadExecutor().execute([flow])
        assert "reader" in str(caught.value)
        assert "`parallel_strategy: process`" in str(caught.value)
        assert ran == []

    def test_the_channels_of_a_mapping_count_as_well(self) -> None:
        """A flow written as plain data, streams and all."""
        flow = {"node_name": "reader", "run": lambda state: None, "streams": {"stdin": "lines"}}
        with pytest.raises(WorkflowError, match="reader"):
            ThreadExecutor().execute([flow])

    def test_a_registry_with_channels_is_refused(self) -> None:
        """Whatever the flows say."""
        registry: Any = SimpleNamespace(channels={"lines": object()})
        with pytest.raises(WorkflowError, match="threads cannot carry streams"):
            ThreadExecutor().execute([BranchFlow("b", lambda state: None)], None, registry)

    def test_an_empty_registry_is_the_ordinary_path(self) -> None:
        """No channels, nothing to refuse; neither has a node whose streams name none."""
        registry: Any = SimpleNamespace(channels={})
        flow = BranchFlow("b", lambda state: {"pid": os.getpid()}, streams=NodeStreamsConfig())
        assert ThreadExecutor().execute([flow], None, registry)[0]["pid"] == os.getpid()
