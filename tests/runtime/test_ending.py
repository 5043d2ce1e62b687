"""runtime/node/ending.py: how a node's code ended, as data that survives where the exception would not."""

from __future__ import annotations

import errno
import json
from typing import Any, Callable, Optional

import pytest

from teastreams.core.endings import Ending, ErrorText, How
from teastreams.errors import NodeError, UpstreamFailed
from teastreams.runtime.node import ending
from teastreams.runtime.node.ending import (
    BranchFailed,
    Report,
    classify,
    current_error_text,
    dump_report,
    error_text,
    load_report,
    report_from,
)

NONE: frozenset[int] = frozenset()
STDOUT = frozenset({1})


def raised(code: Callable[[], Any]) -> BaseException:
    """The exception with its traceback, as a worker catches it."""
    try:
        code()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def chained(how: str) -> BaseException:
    def code() -> None:
        try:
            raise UpstreamFailed("p", "killed")
        except UpstreamFailed as error:
            if how == "cause":
                raise ValueError("mine") from error
            if how == "context":
                raise ValueError("mine") from ValueError("another")
            raise ValueError("mine") from None

    return raised(code)


def ours_in(file: str, code: str, **names: Any) -> None:
    """Run code as if it stood in a file of ours."""
    exec(compile(code, f"{ending.OUR_CODE}/runtime/{file}", "exec"), names)  # noqa: S102


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class TestClassify:
    @pytest.mark.parametrize(
        ("error", "broken", "how", "exit_code"),
        [
            (None, NONE, How.RETURNED, 0),
            (SystemExit(), NONE, How.RETURNED, 0),
            (SystemExit(0), NONE, How.RETURNED, 0),
            (SystemExit(False), NONE, How.RETURNED, 0),
            (SystemExit(256), NONE, How.RETURNED, 0),
            (SystemExit(42), NONE, How.RAISED, 42),
            (SystemExit(300), NONE, How.RAISED, 44),
            (SystemExit(-1), NONE, How.RAISED, 255),
            (SystemExit("text"), NONE, How.RAISED, 1),
            (SystemExit(0.0), NONE, How.RAISED, 1),
            (ValueError("x"), NONE, How.RAISED, 1),
            (KeyboardInterrupt(), NONE, How.RAISED, 1),
            (GeneratorExit(), NONE, How.RAISED, 1),
            (UpstreamFailed("p", "x"), NONE, How.UPSTREAM, 1),
            (UpstreamFailed("p", "x"), STDOUT, How.UPSTREAM, 1),
            (BrokenPipeError(errno.EPIPE, "x"), STDOUT, How.EPIPE, 0),
            (BrokenPipeError(errno.EPIPE, "a socket"), NONE, How.RAISED, 1),
            (ValueError("x"), STDOUT, How.RAISED, 1),
        ],
    )
    def test_the_kind_of_end(
        self, error: Optional[BaseException], broken: frozenset[int], how: How, exit_code: int
    ) -> None:
        report = classify(error, broken)

        assert (report.how, report.exit_code, report.broken, report.phase) == (how, exit_code, broken, "run")

    @pytest.mark.parametrize("code", [None, 0, 42])
    def test_an_exit_code_is_no_error(self, code: Optional[int]) -> None:
        """The code says it all."""
        assert classify(SystemExit(code), NONE).error is None

    def test_a_text_given_to_exit_is_one(self) -> None:
        assert classify(SystemExit("no such file"), NONE).error == ErrorText("SystemExit", "no such file")

    @pytest.mark.parametrize(
        ("how", "kind"), [("cause", How.UPSTREAM), ("context", How.RAISED), ("suppressed", How.RAISED)]
    )
    def test_what_was_raised_because_of_a_failure_upstream_is_a_consequence(self, how: str, kind: How) -> None:
        """However it is dressed, unless the node says that it is something else."""
        assert classify(chained(how), NONE).how is kind

    def test_an_error_while_handling_one_is_one(self) -> None:
        def code() -> None:
            try:
                raise UpstreamFailed("p", "killed")
            except UpstreamFailed:
                {}["cleaning up"]

        assert classify(raised(code), NONE).how is How.UPSTREAM

    def test_a_circle_of_causes_ends(self) -> None:
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first

        assert classify(first, NONE).how is How.RAISED

    def test_the_phase_of_an_error_inside_a_branch_is_that_of_its_node(self) -> None:
        inner = NodeError("b", "timeout", "timed out", error_type="TimeoutError", traceback="t", error_type_names=["X"])
        report = classify(BranchFailed(inner), NONE)

        assert (report.phase, report.error) == (
            "timeout",
            ErrorText("TimeoutError", "timed out", "t", "b", ("X",), "timeout"),
        )


class TestResistance:
    """What an exception does when it is looked at changes nothing: its node raised it."""

    class Leaves(Exception):
        def __str__(self) -> str:
            raise SystemExit(0)

    class PretendsToLeave(Exception):
        @property
        def __class__(self) -> Any:
            return SystemExit

    class WithoutCode(SystemExit):
        @property
        def code(self) -> Any:
            raise RuntimeError

    class WithoutCause(Exception):
        @property
        def __cause__(self) -> Any:
            raise RuntimeError

    class Nameless(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise RuntimeError

    @pytest.mark.parametrize("kind", [Leaves, PretendsToLeave, WithoutCode, WithoutCause])
    def test_it_is_an_error_of_its_own_class(self, kind: type[BaseException]) -> None:
        report = classify(kind(), NONE)

        assert (report.how, report.exit_code) == (How.RAISED, 1)
        assert report.error is not None
        assert report.error.type == kind.__name__

    def test_a_class_without_a_name_has_the_one_it_was_given(self) -> None:
        text = error_text(self.Nameless("Given", (Exception,), {})("x"))

        assert (text.type, text.message, text.names) == ("Given", "x", ("Given",))


class TestErrorText:
    def test_has_the_type_the_message_the_bases_and_the_traceback(self) -> None:
        text = error_text(raised(lambda: int("many")))

        assert (text.type, text.node) == ("ValueError", "")
        assert text.message == "invalid literal for int() with base 10: 'many'"
        assert {"ValueError", "Exception"} <= set(text.names)
        assert 'int("many")' in text.traceback

    def test_the_traceback_begins_at_the_users_first_frame(self) -> None:
        """How we called the node is nobody's business; what the node called of ours is."""

        def ours() -> None:
            ours_in("worker.py", "call()", call=theirs)

        def theirs() -> None:
            ours_in("stdio.py", "1 / 0")

        def first(error: BaseException) -> BaseException:
            """As if the worker itself had caught it."""
            assert error.__traceback__ is not None
            error.__traceback__ = error.__traceback__.tb_next.tb_next.tb_next  # type: ignore[union-attr]
            return error

        text = error_text(first(raised(ours))).traceback

        assert "worker.py" not in text
        assert "theirs" in text
        assert "stdio.py" in text

    def test_an_error_of_our_own_code_alone_is_shown_all_the_same(self) -> None:
        error = raised(lambda: ours_in("worker.py", "1 / 0"))
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next.tb_next.tb_next  # type: ignore[union-attr]

        assert "worker.py" in error_text(error).traceback

    def test_without_a_message_that_can_be_made(self) -> None:
        assert error_text(Unprintable()).message == "its message cannot be shown: Unprintable.__str__ raised"

    def test_without_a_traceback_that_can_be_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_args: object) -> list[str]:
            raise RecursionError

        monkeypatch.setattr(ending.traceback, "format_exception", fail)
        text = error_text(ValueError("x"))

        assert (text.type, text.message, text.traceback) == ("ValueError", "x", "")

    def test_is_cut_at_its_limits(self) -> None:
        text = error_text(ValueError("x" * 1_000_000))

        assert len(text.message) == ending.MESSAGE_LIMIT
        assert ending.TEXT_LIMIT <= len(text.traceback) <= ending.TEXT_LIMIT + 10
        assert text.traceback.endswith("x\n")
        assert "\n...\n" in text.traceback

    def test_of_the_exception_being_handled(self) -> None:
        try:
            raise KeyError("k")
        except KeyError:
            assert (current_error_text().type, current_error_text().message) == ("KeyError", "'k'")

    def test_when_none_is_being_handled(self) -> None:
        assert current_error_text() == ErrorText("Exception", "")


class TestReport:
    REPORT = Report(
        How.EPIPE,
        3,
        ErrorText("E", "m", "t", "n", ("E", "Exception")),
        left_early=True,
        told=True,
        held=True,
        broken=frozenset({2, 1}),
        left_running=True,
        phase="result",
    )

    @pytest.mark.parametrize("report", [REPORT, Report(How.RETURNED)])
    def test_travels_as_json(self, report: Report) -> None:
        assert load_report(dump_report(report)) == report_from(json.loads(json.dumps(report.as_dict()))) == report

    def test_becomes_an_ending_with_the_exit_code_of_the_kernel(self) -> None:
        """Its own word counts where the status was lost."""
        end = Ending(
            How.EPIPE, 7, -9, self.REPORT.error, left_early=True, told=True, broken=frozenset({1, 2}),
            left_running=True, held=True,
        )  # fmt: skip
        assert self.REPORT.ending(7, -9) == end
        assert self.REPORT.ending(7, None).exit_code == 3

    def test_can_be_changed_in_parts(self) -> None:
        assert Report(How.RETURNED).having(told=True) == Report(How.RETURNED, told=True)

    @pytest.mark.parametrize("data", [{}, {"error": None}, {**REPORT.as_dict(), "how": "vanished"}])
    def test_what_is_none_is_refused(self, data: dict[str, Any]) -> None:
        with pytest.raises((KeyError, ValueError)):
            report_from(data)
