"""Deeds with processes: children left behind, groups left, siblings and the supervisor attacked, signals ignored.

What stays in the worker's group ends with it. What leaves the group on purpose and holds a stream is found out by the
stream that does not end, and is the node's failure.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from evil.catalogue import BOUNDED, SKIP, WELL, Attempt, evil, failed


@evil(producer=failed("run", "wait for it"), consumer=WELL)
def leaves_a_child_that_never_ends(state: dict[str, Any]) -> None:
    subprocess.Popen(["sleep", "1000"]).returncode = 0


@evil(producer=failed("run", "wait for it"), consumer=WELL, escapes=True)
def leaves_a_child_in_a_session_of_its_own(state: dict[str, Any]) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()


@evil(producer=failed("run", "wait for it"), consumer=WELL)
def leaves_a_grandchild_in_its_group(state: dict[str, Any]) -> None:
    """Its own child has ended, so that nobody knows of the grandchild; it is killed with the group."""
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()


@evil(producer=WELL, consumer=WELL)
def waits_for_its_children(state: dict[str, Any]) -> None:
    subprocess.run(["true"], check=True)
    assert subprocess.run(["echo", "a"], stdout=subprocess.PIPE, check=True).stdout == b"a\n"


@evil(consumer=SKIP)
def lets_a_child_write_for_it(state: dict[str, Any]) -> None:
    subprocess.run([sys.executable, "-S", "-c", "import sys; sys.stdout.write('by a child')"], check=True)
    Attempt.sent.update(b"by a child")
    Attempt.sent_bytes += len(b"by a child")


@evil(producer=WELL, consumer=WELL)
def forks_a_child_that_returns_into_our_code(state: dict[str, Any]) -> None:
    """Two processes come out of the node's code; the report is that of the worker."""
    if os.fork() != 0:
        os.wait()


@evil(producer=WELL, consumer=WELL)
def forks_a_child_that_raises_into_our_code(state: dict[str, Any]) -> None:
    if os.fork() == 0:
        raise ValueError("in the copy")
    os.wait()


@evil(failed("run", "in the worker"))
def forks_and_raises_in_the_worker_while_the_copy_returns(state: dict[str, Any]) -> None:
    if os.fork() != 0:
        os.wait()
        raise ValueError("in the worker")


def _square(number: int) -> int:
    return number * number


@evil()
def uses_multiprocessing(state: dict[str, Any]) -> Any:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return {"squares": pool.map(_square, range(5))}


@evil()
def uses_a_process_of_multiprocessing_and_a_queue(state: dict[str, Any]) -> Any:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put("from the child"))
    process.start()
    value = queue.get()
    process.join()
    return {"value": value}


@evil()
def uses_a_pool_of_processes(state: dict[str, Any]) -> Any:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return {"squares": list(pool.map(_square, range(3)))}


@evil()
def uses_a_pool_of_threads(state: dict[str, Any]) -> Any:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return {"squares": list(pool.map(_square, range(3)))}


@evil()
def uses_a_loop_of_asyncio(state: dict[str, Any]) -> Any:
    async def talk() -> bytes:
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0]

    return {"said": asyncio.run(talk())}


@evil(producer=SKIP)
def reads_its_stdin_in_a_loop_of_asyncio(state: dict[str, Any]) -> Any:
    async def read() -> int:
        return len(await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read))

    return {"n": asyncio.run(read())}


@evil(BOUNDED)
def asks_for_a_session_of_its_own(state: dict[str, Any]) -> None:
    """It leads its group already, so the system refuses."""
    os.setsid()


@evil(failed("timeout"), settings={"timeout": 0.4})
def leaves_its_group_and_hangs(state: dict[str, Any]) -> None:
    """Its group is empty then: it must be ended by its own number."""
    os.setpgid(0, os.getpgid(os.getppid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


@evil(WELL)
def leaves_its_group_and_returns(state: dict[str, Any]) -> None:
    os.setpgid(0, os.getpgid(os.getppid()))


@evil(failed("timeout"), settings={"timeout": 0.4})
def ignores_every_signal_and_hangs(state: dict[str, Any]) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    while True:
        time.sleep(1000)


@evil(failed("timeout"), settings={"timeout": 0.4})
def stops_itself(state: dict[str, Any]) -> None:
    """A stopped process cannot die politely: it is asked, woken, and forced."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1000)


@evil(failed("timeout"), settings={"timeout": 0.4})
def computes_for_ever(state: dict[str, Any]) -> None:
    while True:
        sum(range(100))


@evil(failed("timeout"), settings={"timeout": 0.4})
def waits_for_a_lock_for_ever(state: dict[str, Any]) -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@evil(failed("timeout"), settings={"timeout": 0.4})
def sleeps_for_ever(state: dict[str, Any]) -> None:
    time.sleep(1000)


@evil(failed("run", "SIGTERM"))
def terminates_its_own_group(state: dict[str, Any]) -> None:
    os.kill(0, signal.SIGTERM)
    time.sleep(1000)


@evil(failed("run", "SIGKILL"))
def kills_its_own_group(state: dict[str, Any]) -> None:
    subprocess.Popen(["sleep", "1000"])
    os.kill(0, signal.SIGKILL)


@evil(
    producer=failed("run", "SIGKILL", culprit="told"),
    consumer=failed("run", "SIGKILL", culprit="ordinary"),
    others=False,
    needs_company=True,
)
def kills_its_sibling(state: dict[str, Any]) -> None:
    """Whoever was killed is the cause that can be seen."""
    sibling = "told" if Attempt.role == "producer" else "ordinary"
    os.kill(_pid_of(sibling), signal.SIGKILL)


def _pid_of(node: str) -> int:
    while True:
        path = Attempt.folder / "notes"
        for line in path.read_text().splitlines():
            told = json.loads(line)
            if told.get("node") == node:
                return int(told["pid"])
        time.sleep(0.002)


@evil(producer=BOUNDED, consumer=SKIP, others=False)
def stops_its_sibling_for_a_while(state: dict[str, Any]) -> None:
    sibling = _pid_of("told" if Attempt.role == "producer" else "ordinary")
    os.kill(sibling, signal.SIGSTOP)
    time.sleep(0.05)
    os.kill(sibling, signal.SIGCONT)


@evil(WELL)
def wakes_its_supervisor_with_harmless_signals(state: dict[str, Any]) -> None:
    for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGURG):
        for _ in range(50):
            os.kill(os.getppid(), number)


@evil()
def collects_children_it_does_not_have(state: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    subprocess.Popen(["true"]).wait()
    try:
        os.wait()
    except ChildProcessError:
        return


@evil(producer=failed("run"), consumer=WELL, settings={"drain_seconds": 0.2})
def leaves_a_child_that_floods_its_stream(state: dict[str, Any]) -> None:
    """It outlives its node, so the stream has no end that could be trusted."""
    if os.fork() == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        while True:
            os.write(1, b"flood" * 1000)


@evil(WELL)
def forks_a_hundred_children(state: dict[str, Any]) -> None:
    for _ in range(100):
        if os.fork() == 0:
            os._exit(0)
