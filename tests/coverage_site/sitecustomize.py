"""Start measuring in every interpreter that the tests start, and in every worker that one forks.

Only found when this folder is on PYTHONPATH, and only active when COVERAGE_PROCESS_START names the configuration; the
coverage stage of the continuous integration sets both. Without this, code that runs in fresh interpreters (all that
forks) would count as never run.

A worker leaves by `os._exit`, which it knows from before its fork. coverage's own `patch = _exit` binds each patched
function to the measurement that was running when it patched, here the parent's: it would save the parent's numbers
again and lose the worker's. So the function asks which measurement runs now.
"""

import os

import coverage

coverage.process_startup()  # does nothing where a .pth file of coverage's own has done it
if coverage.Coverage.current() is not None:
    leave = os._exit

    def save_and_leave(status: int) -> None:
        current = coverage.Coverage.current()
        try:
            if current is not None:
                current.stop()
                current.save()
        finally:
            leave(status)

    os._exit = save_and_leave
