"""runtime/node/worker.py: what the code of a node may do to its own process without misleading anybody."""

from __future__ import annotations

from typing import Any

import harness
import pytest

PRELUDE = """
def graph(p, c, second=None):
    g = ts.StateGraph()
    g.add_node("p", p, streams={"stdout": "x"})
    g.add_node("c", c, streams={"stdin": "x"})
    g.set_entry_point("p")
    return g.compile()

def attempt(p, c):
    try:
        with untouched():
            result = graph(p, c).run({"given": 1}, echo_output=False)
        tell(state=dict(result.state), bytes=result.channels["x"].bytes, output=dict(result.nodes["c"].output_tail))
    except ts.WorkflowFailed as failed:
        tell(cause=failed.primary.node, phase=failed.primary.phase, message=failed.primary.message)

def cat(state): return {"text": sys.stdin.read()}
def hello(state): print("hello"); return {"made": 1}
"""


def attempt(script: str, **options: Any) -> dict[str, Any]:
    return harness.run(PRELUDE + script, deadline_seconds=30, **options).told


class TestCopies:
    """A node may fork by itself; the copy runs out of the node's code into ours."""

    def test_a_copy_that_comes_out_of_the_node_reports_nothing(self) -> None:
        told = attempt("""
def p(state):
    pid = os.fork()
    print("one of two")
    if pid: os.waitpid(pid, 0)
    return {"copy": pid == 0}
attempt(p, cat)""")

        assert told["state"] == {"given": 1, "copy": False, "text": "one of two\n" * 2}

    @pytest.mark.parametrize(("code", "status"), [("return {}", 0), ("raise ValueError('in the copy')", 1)])
    def test_its_end_is_the_nodes_business(self, code: str, status: int) -> None:
        told = attempt(f"""
def p(state):
    pid = os.fork()
    if pid == 0: {code}
    return {{"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}}
attempt(p, cat)""")

        assert told["state"]["status"] == status


class TestForgery:
    def test_what_is_written_into_the_pipe_to_the_supervisor_does_not_bring_it_down(self) -> None:
        """Any word at any time, and without what belongs to it."""
        told = attempt("""
def p(state):
    for fd in range(3, 300):
        for kind in range(1, 20):
            try: os.write(fd, bytes([kind]) + bytes(8))
            except OSError: break
    return {"made": 1}
attempt(p, cat)
attempt(hello, cat)""")

        assert told["state"] == {"given": 1, "made": 1, "text": "hello\n"}

    def test_noise_in_it_is_an_end_without_a_result(self) -> None:
        told = attempt("""
def p(state):
    for fd in range(3, 300):
        try: os.write(fd, b"hello world")
        except OSError: pass
attempt(p, cat)""")

        assert (told["cause"], told["message"].split(",")[0]) == ("p", "ended without a result")


class TestStandardStreams:
    def test_a_node_may_put_other_objects_in_their_places(self) -> None:
        """Ours are flushed all the same."""
        told = attempt("""
import io
def p(state):
    print("before"); sys.stdout, mine = io.StringIO(), sys.stdout
    print("kept aside"); mine.write("after")
attempt(p, cat)""")

        assert told["state"]["text"] == "before\nafter"

    def test_or_none(self) -> None:
        told = attempt("""
def p(state):
    print("before"); sys.stdout = sys.stderr = None
attempt(p, cat)""")

        assert told["state"]["text"] == "before\n"

    def test_what_cannot_be_flushed_is_the_nodes_failure(self) -> None:
        told = attempt("""
def p(state):
    class Full:
        closed = False
        def flush(self): raise OSError(28, "No space left on device")
    sys.stderr = Full()
attempt(p, cat)""")

        assert (told["cause"], told["phase"]) == ("p", "run")
        assert "No space left" in told["message"]

    def test_a_flush_that_is_cut_off_by_an_exit_is_no_return(self) -> None:
        """Status 0 and bytes that are missing: nobody may take that for success."""
        told = attempt("""
def p(state):
    class Leaving:
        closed = False
        def flush(self): sys.exit(0)
    sys.stdout = Leaving()
attempt(p, cat)""")

        assert (told["cause"], told["phase"]) == ("p", "run")
        assert "cut off by SystemExit" in told["message"]

    def test_the_text_layer_may_be_taken_off_and_another_put_on(self) -> None:
        told = attempt("""
import io
def p(state):
    print("before", flush=True)
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="ascii")
    print("after")
attempt(p, cat)""")

        assert told["state"]["text"] == "before\nafter\n"

    def test_or_be_deleted(self) -> None:
        told = attempt("""
def p(state):
    print("before"); del sys.stdout
attempt(p, cat)""")

        assert told["state"]["text"] == "before\n"

    def test_but_does_not_cover_the_failure_that_came_first(self) -> None:
        told = attempt("""
def p(state):
    class Full:
        closed = False
        def flush(self): raise OSError(28, "No space left on device")
    sys.stderr = Full()
    raise ValueError("first")
attempt(p, cat)""")

        assert told["message"] == "first"

    def test_the_last_bytes_that_nobody_read_do_not_undo_what_was_returned(self) -> None:
        told = attempt("""
def p(state):
    print("line", flush=True)
    print("never read" * 10)
    while not os.path.exists(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".left"): time.sleep(0.001)
    return {"made": 1}
def c(state):
    line = sys.stdin.readline(); sys.stdin.close()
    Path(os.environ["TEASTREAMS_SCENARIO_HISTORY"] + ".left").touch()
    return {"line": line}
attempt(p, c)""")

        assert told["state"] == {"given": 1, "made": 1, "line": "line\n"}

    def test_output_that_is_no_channel_is_kept_line_by_line(self) -> None:
        told = attempt("""
def c(state):
    print("out"); print("err", file=sys.stderr); os.write(2, b"raw"); return cat(state)
attempt(hello, c)""")

        assert told["output"] == {"stdout": "out", "stderr": "err\nraw"}

    def test_a_child_program_sees_the_same_streams(self) -> None:
        told = attempt("""
import subprocess
def p(state): subprocess.run(["echo", "from a program"], check=True)
def c(state): return {"text": subprocess.run(["cat"], stdout=subprocess.PIPE, text=True, check=True).stdout}
attempt(p, c)""")

        assert told["state"]["text"] == "from a program\n"


class TestSignals:
    def test_every_handler_and_the_mask_are_those_of_a_fresh_program(self) -> None:
        """A handler of the host that survived into a node would make it immune to SIGTERM."""
        told = attempt("""
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
def p(state):
    handlers = {int(n): signal.getsignal(n) for n in signal.valid_signals()}
    odd = {n: str(each) for n, each in handlers.items() if each not in (signal.SIG_DFL, None)}
    mask = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    return {"odd": odd, "mask": mask, "wakeup": signal.set_wakeup_fd(-1)}
attempt(p, cat)""")["state"]

        ignored = str(harness.signal.SIG_IGN)
        sigxfsz = str(int(harness.signal.SIGXFSZ))
        interrupt = str(int(harness.signal.SIGINT))
        lifeline = str(int(harness.signal.SIGIO))  # the portable lifeline is a handler of our own
        others = {n: text for n, text in told["odd"].items() if n not in (interrupt, lifeline)}
        assert others == {"13": ignored, sigxfsz: ignored}
        assert "default_int_handler" in told["odd"][interrupt]
        assert (told["mask"], told["wakeup"]) == ([], -1)
