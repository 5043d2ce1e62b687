"""Rate limits shared by threads and forked workers: places are given once each, whoever asks, and whoever dies.

The clock of the table stands still where places are counted: then the waits tell the places exactly, without sleeping.
"""

from __future__ import annotations

import json
from typing import Any

import harness
import pytest

FROZEN = """
import teastreams.runtime.calls as calls
from teastreams.core.limits import RateLimit
from teastreams.services.limits import ACTIONS, Limits

calls.table.monotonic = lambda: 1000.0      # inherited by every worker
calls.table.sleep = lambda seconds: None

def fork_all(bodies):
    pids = []
    for body in bodies:
        pid = os.fork()
        if pid == 0:
            try:
                body()
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
"""


def told(script: str, **options: Any) -> dict[str, Any]:
    return harness.run(FROZEN + script, **options).told


def test_eight_workers_share_one_limiter(tmp_path: Any) -> None:
    """Of 8 x 50 calls at one moment each has a place of its own: none twice, none left out."""
    seen = told(
        """
limits = Limits({"api": RateLimit(rps=4)})
def work(number):
    waits = [limits.wait("api") for _ in range(50)]
    Path(sys.argv[1], str(number)).write_text(json.dumps(waits))
with untouched():
    fork_all([lambda number=number: work(number) for number in range(8)])
limits.close()
tell(waits=[json.loads(Path(sys.argv[1], str(number)).read_text()) for number in range(8)])
""",
        arguments=(str(tmp_path),),
    )
    assert sorted(wait for each in seen["waits"] for wait in each) == [number / 4 for number in range(400)]
    assert all(each == sorted(each) for each in seen["waits"])


def test_threads_share_it_too_and_a_fork_from_a_thread_does_not_inherit_its_lock() -> None:
    """Four threads ask without end while the main thread forks workers that ask as well: nobody waits for ever."""
    seen = told("""
limits = Limits({"api": RateLimit(rps=1)})
stop = threading.Event()
counts = [0] * 4
def ask(number):
    while not stop.is_set():
        limits.wait("api")
        counts[number] += 1
threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
import warnings
warnings.simplefilter("ignore")
for _ in range(30):
    fork_all([lambda: [limits.wait("api") for _ in range(10)]])
stop.set()
for thread in threads: thread.join()
last = limits.wait("api")
limits.close()
tell(last=last, taken=sum(counts) + 300)
""")
    assert seen["last"] == seen["taken"]


def test_a_holder_that_is_killed_leaves_the_lock_to_the_others() -> None:
    """SIGKILL inside the lock: the next one goes on, and the place that was not written down is given again."""
    seen = told("""
import signal
limits = Limits({"api": RateLimit(rps=1)})
def die():
    calls.table.monotonic = lambda: os.kill(os.getpid(), signal.SIGKILL)   # is asked for inside the lock
    limits.wait("api")
with untouched():
    fork_all([die, die])
tell(waits=[limits.wait("api"), limits.wait("api")])
limits.close()
""")
    assert seen["waits"] == [0, 1]


def test_limiters_made_in_a_worker_are_known_to_all_and_names_are_apart() -> None:
    """Whoever comes first makes it; asked for another rate it is refused; the last run's places are remembered."""
    seen = told("""
limits = Limits({"declared": RateLimit(rps=1)})
with untouched():
    fork_all([lambda: limits.wait("new", rate=RateLimit(rpm=30)), lambda: limits.wait("declared")])
def error(*arguments, **named):
    try:
        limits.wait(*arguments, **named)
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"
found = [limits.wait("new", rate=RateLimit(rps=0.5)), limits.wait("declared")]
found.append(limits.wait("other", rate=RateLimit(rps=1)))
errors = [error("new", rate=RateLimit(rpm=31)), error("declared", rate=RateLimit(rps=2)), error("nobody"),
          error("new", timeout=3.5, rate=RateLimit(rpm=30))]
again = Limits({"declared": RateLimit(rps=1)}, limits.close())
tell(found=found, errors=errors, again=[again.wait("declared"), again.wait("new", 4, RateLimit(rpm=30))])
again.close()
""")
    assert seen["found"] == [2, 1, 0]
    mend = "or another burst; give it the same rate everywhere, best once under `rate_limiters` in the settings"
    other, declared, nobody, late = seen["errors"]
    assert other == f"LimitError: the rate limiter 'new' is asked for 31 calls a minute and has 30, {mend}"
    assert declared == f"LimitError: the rate limiter 'declared' is asked for 120 calls a minute and has 60, {mend}"
    assert nobody.startswith("LimitError: there is no rate limiter 'nobody' (declared: 'declared'); add it")
    assert late.startswith("TimeoutError: the rate limiter 'new' is free in 4 s and the timeout is 3.5 s; allow")
    assert seen["again"] == [2, 4]  # the call that timed out has taken no place


def test_the_table_has_an_end() -> None:
    """One limiter more than there is room for is an error that says so."""
    seen = told("""
limits = Limits({})
for number in range(256):
    limits.wait(str(number), rate=RateLimit(rps=1))
try:
    limits.wait("one more", rate=RateLimit(rps=1))
except ts.LimitError as error:
    tell(error=str(error))
limits.close()
""")
    assert seen["error"].startswith("a run can have 256 rate limiters, 'one more' is one more")


def test_a_wait_that_is_given_up_is_an_error() -> None:
    """The pause says that the run is stopping."""
    seen = told("""
limits = Limits({"api": RateLimit(rps=1)})
pauses = []
limits.wait("api", pause=pauses.append)
try:
    limits.wait("api", pause=pauses.append)
except ts.LimitError as error:
    tell(error=str(error), pauses=pauses)
limits.close()
""")
    assert seen["error"] == "the wait for the rate limiter 'api' was given up, because the run is being stopped"
    assert seen["pauses"] == [1]


# -- in a workflow ----------------------------------------------------------------------------------------------------

FORK = """
def workflow(strategy, limits):
    graph = ts.StateGraph(parallel_config=ts.ParallelConfig(strategy), rate_limiters=limits)
    def ask(state, context):
        with context.limit("api") as turn:
            return {"waits": [turn.waited_seconds, *(context.limit("api").waited_seconds for _ in range(9))]}
    names = [f"n{number}" for number in range(8)]
    for name in names:
        graph.add_node(name, run=ask)
    graph.add_node("j", run=lambda parallel_results: {"waits": sorted(w for r in parallel_results for w in r["waits"])})
    return graph.add_parallel_edge(ts.START, names, fan_in="j").set_finish_point("j").compile()
"""


@pytest.mark.parametrize("strategy", ["thread", "process"])
def test_the_branches_of_a_run_share_a_limiter_and_the_next_run_goes_on(strategy: str) -> None:
    """80 calls of 8 branches have 80 places; the next run has the 80 after them; nothing is left behind."""
    seen = told(
        FORK
        + f"""
import teastreams.executors.thread as thread
thread.Stop.wait = lambda self, seconds: None
app = workflow({strategy!r}, {{"api": ts.RateLimit(rps=2)}})
with untouched():
    tell(waits=[app.run({{}}).state["waits"] for _ in range(2)])
"""
    )
    assert seen["waits"] == [[number / 2 for number in range(80)], [number / 2 for number in range(80, 160)]]


def test_without_limiters_a_node_is_told_what_to_write() -> None:
    """And a run without them opens nothing."""
    seen = told(
        FORK
        + """
try:
    with untouched():
        workflow("thread", {}).run({}, echo_output=False)
except ts.WorkflowFailed as failed:
    tell(error=failed.primary.message)
"""
    )
    assert seen["error"].endswith(
        "asks for the rate limiter 'api', and the workflow has none; "
        "add it to the settings: `rate_limiters: {api: {rpm: 60}}`"
    )


def test_the_action_waits_calls_and_says_so() -> None:
    """`ratelimit.wrap`: results pass through, a mapping is given the wait, an unknown action is named."""
    seen = told("""
limits = Limits({"api": RateLimit(rps=1)})
actions = {"get": lambda context, url: {"url": url}, "text": lambda context: "text"}
context = ts.Context("n", services={"limits": lambda *given: limits.wait(*given), "actions": actions})
wrap = ACTIONS["ratelimit.wrap"]
found = [wrap(context, action="get", limiter="api", args={"url": url}) for url in "uv"]
found.append(wrap(context, action="text", limiter="own", rpm=60))
try:
    wrap(context, action="put", limiter="api")
except ts.LimitError as error:
    found.append(str(error))
tell(found=found, same=ACTIONS["actions.ratelimit_wrap"] is wrap)
limits.close()
""")
    first, second, text, error = seen["found"]
    assert first == {"url": "u", "_ratelimit_limiter": "api", "_ratelimit_waited_ms": 0}
    assert json.dumps(second) == '{"url": "v", "_ratelimit_limiter": "api", "_ratelimit_waited_ms": 1000.0}'
    assert text == "text"
    assert error == "`ratelimit.wrap` is to call 'put', which is no action; write the name of one"
    assert seen["same"] is True
