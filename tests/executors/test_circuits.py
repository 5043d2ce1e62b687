"""Circuits by name, with the clock in the test's hand."""

from __future__ import annotations

from typing import Optional

from teastreams.core.policies import CircuitBreakerConfig
from teastreams.executors.circuits import Circuits, Permit, Refusal

SHARED = CircuitBreakerConfig(failure_threshold=2, reset_timeout=10, half_open_max_calls=2, name="service")
OWN = CircuitBreakerConfig(failure_threshold=1, reset_timeout=10)


def call(circuits: Circuits, branch: str, success: bool, now: float, config: Optional[CircuitBreakerConfig]) -> bool:
    """One call from beginning to end; was it let through?"""
    permit = circuits.ask(branch, config, now)
    if isinstance(permit, Refusal):
        return False
    circuits.report(permit, success, now)
    return True


def test_without_a_config_nobody_minds() -> None:
    circuits = Circuits()
    assert circuits.ask("a", None, 0) is None
    circuits.report(None, False, 0)


def test_a_name_is_shared_by_branches() -> None:
    """The failures of two branches open the one circuit for a third; the text names it."""
    circuits = Circuits()
    assert call(circuits, "a", False, 1, SHARED)
    assert call(circuits, "b", False, 2, SHARED)
    refused = circuits.ask("c", SHARED, 3)
    assert isinstance(refused, Refusal)
    assert refused.reason == (
        "branch 'c' was not called: the circuit 'service' is open after 2 failures in a row; it is tried again in 9.0 s"
    )


def test_without_a_name_each_branch_has_its_own() -> None:
    """A branch that is called like a shared circuit does not touch it either."""
    circuits = Circuits()
    assert call(circuits, "service", False, 1, OWN)
    assert isinstance(circuits.ask("service", OWN, 2), Refusal)
    assert call(circuits, "b", True, 2, OWN)
    assert isinstance(circuits.ask("b", SHARED, 2), Permit)


def test_half_open_lets_exactly_so_many_through() -> None:
    """Of five that ask at once, two are let through; when both end well it closes."""
    circuits = Circuits()
    call(circuits, "a", False, 1, SHARED)
    call(circuits, "a", False, 1, SHARED)
    asked = [circuits.ask("a", SHARED, 12) for _ in range(5)]
    permits = [each for each in asked if isinstance(each, Permit)]
    assert len(permits) == 2
    for permit in permits:
        circuits.report(permit, True, 12)
    assert isinstance(circuits.ask("a", SHARED, 12), Permit)


def test_an_answer_from_before_the_circuit_opened_is_no_trial() -> None:
    """A slow call that began in better days neither closes the half-open circuit nor opens it again."""
    circuits = Circuits()
    slow = [circuits.ask("a", SHARED, 0) for _ in range(2)]
    assert all(isinstance(each, Permit) for each in slow)
    call(circuits, "a", False, 1, SHARED)
    call(circuits, "a", False, 1, SHARED)
    trials = [circuits.ask("a", SHARED, 12) for _ in range(2)]
    for late, success in zip(slow, (True, False)):
        assert isinstance(late, Permit)
        circuits.report(late, success, 12)
    assert isinstance(circuits.ask("a", SHARED, 12), Refusal)  # both trials are out, none has been answered
    for trial in trials:
        assert isinstance(trial, Permit)
        circuits.report(trial, True, 13)
    assert isinstance(circuits.ask("a", SHARED, 13), Permit)


def test_a_copy_for_a_fork_knows_the_circuits_and_learns_alone() -> None:
    circuits = Circuits()
    call(circuits, "a", False, 1, OWN)
    copy = circuits.inherited()
    assert isinstance(copy.ask("a", OWN, 2), Refusal)
    call(copy, "b", False, 2, OWN)
    assert isinstance(circuits.ask("b", OWN, 2), Permit)
