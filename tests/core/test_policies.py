"""Retry delays and circuit transitions, with a clock and dice that the test holds in its hand."""

from __future__ import annotations

import pytest

from teastreams.core.policies import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    RetryPolicy,
    error_type_names,
)


class Flaky(ConnectionError):
    """An error of the user's own."""


class TestRetryPolicy:
    def test_delays_double_up_to_the_cap(self) -> None:
        """The delay grows from the base by the multiplier and stays at the maximum."""
        policy = RetryPolicy(base_delay=0.5, backoff_multiplier=2.0, max_delay=3.0)
        assert [policy.delay_seconds(attempt, 0.0) for attempt in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 3.0, 3.0]

    def test_without_jitter_the_dice_do_not_matter(self) -> None:
        """Two throws give the same delay."""
        assert RetryPolicy().delay_seconds(2, 0.0) == RetryPolicy().delay_seconds(2, 0.999) == 2.0

    def test_jitter_takes_up_to_half_away(self) -> None:
        """The dice shorten the delay and never lengthen it beyond the cap."""
        policy = RetryPolicy(base_delay=8.0, max_delay=10.0, jitter=True)
        assert policy.delay_seconds(1, 0.0) == 8.0
        assert policy.delay_seconds(1, 0.5) == 6.0
        assert policy.delay_seconds(2, 0.0) == 10.0
        assert policy.delay_seconds(2, 0.5) == 7.5

    def test_a_delay_beyond_floating_point_is_the_cap(self) -> None:
        """Attempt 5000 waits as long as attempt 50."""
        assert RetryPolicy(max_delay=60.0).delay_seconds(5000, 0.0) == 60.0

    def test_attempts_end(self) -> None:
        """Three retries are four attempts."""
        policy = RetryPolicy(max_retries=3)
        assert [policy.should_retry(attempt, ("ValueError",)) for attempt in (1, 2, 3, 4)] == [True, True, True, False]

    def test_no_retries(self) -> None:
        """Zero retries is one attempt."""
        assert not RetryPolicy(max_retries=0).should_retry(1, ("ValueError",))

    @pytest.mark.parametrize("name", ["Flaky", "ConnectionError", "OSError", "builtins.OSError", f"{__name__}.Flaky"])
    def test_retry_on_matches_the_class_and_its_bases(self, name: str) -> None:
        """Short names and full names, of the class raised and of what it derives from."""
        assert RetryPolicy(retry_on=("KeyError", name)).should_retry(1, error_type_names(Flaky))

    def test_retry_on_leaves_other_errors_alone(self) -> None:
        """An error that was not named is not retried, however its message reads; `object` is no error name."""
        assert not RetryPolicy(retry_on=("OSError",)).should_retry(1, error_type_names(ValueError))
        assert not RetryPolicy(retry_on=("object",)).should_retry(1, error_type_names(ValueError))

    def test_the_names_start_with_the_class_raised(self) -> None:
        """The short names come in the order of the method resolution."""
        assert error_type_names(KeyError)[:3] == ("KeyError", "LookupError", "Exception")


CONFIG = CircuitBreakerConfig(failure_threshold=3, reset_timeout=10.0, half_open_max_calls=2)


def opened(now: float = 100.0) -> CircuitBreaker:
    breaker = CircuitBreaker(CONFIG)
    for _ in range(3):
        breaker = breaker.failed(now)
    return breaker


class TestCircuitBreaker:
    def test_a_new_circuit_is_closed(self) -> None:
        """Calls go through and leave no trace."""
        breaker = CircuitBreaker(CONFIG)
        assert breaker.allow(0.0) == (True, breaker)
        assert breaker.state is CircuitState.CLOSED
        assert breaker.retry_after_seconds(0.0) == 0.0

    def test_failures_in_a_row_open_it(self) -> None:
        """Two are too few, the third opens."""
        breaker = CircuitBreaker(CONFIG).failed(1.0).failed(2.0)
        assert breaker.state is CircuitState.CLOSED
        breaker = breaker.failed(3.0)
        assert breaker.state is CircuitState.OPEN
        assert breaker.allow(3.0) == (False, breaker)

    def test_a_success_starts_the_count_again(self) -> None:
        """Failures with a success between them are not in a row."""
        breaker = CircuitBreaker(CONFIG).failed(1.0).failed(2.0).succeeded(3.0).failed(4.0).failed(5.0)
        assert breaker.state is CircuitState.CLOSED

    def test_it_stays_open_for_the_reset_time(self) -> None:
        """One moment before the time nothing goes through; the breaker says how long."""
        breaker = opened(100.0)
        assert breaker.allow(109.9)[0] is False
        assert breaker.retry_after_seconds(104.0) == 6.0
        assert breaker.retry_after_seconds(999.0) == 0.0
        assert breaker.allow(110.0)[0] is True

    def test_half_open_lets_a_few_through(self) -> None:
        """With two trials allowed the third call is refused."""
        answers = []
        breaker = opened(100.0)
        for _ in range(3):
            allowed, breaker = breaker.allow(110.0)
            answers.append(allowed)
        assert answers == [True, True, False]
        assert breaker.state is CircuitState.HALF_OPEN

    def test_all_trials_must_pass_to_close_it(self) -> None:
        """After one of two successes it is still half open, after both it is as new."""
        breaker = opened(100.0).allow(110.0)[1].allow(110.0)[1].succeeded(111.0)
        assert breaker.state is CircuitState.HALF_OPEN
        breaker = breaker.succeeded(112.0)
        assert breaker == CircuitBreaker(CONFIG, since=112.0)

    def test_a_failed_trial_opens_it_again(self) -> None:
        """And the reset time starts anew."""
        breaker = opened(100.0).allow(110.0)[1].failed(111.0)
        assert breaker.state is CircuitState.OPEN
        assert breaker.allow(120.9)[0] is False
        assert breaker.allow(121.0)[0] is True

    def test_late_answers_do_not_move_an_open_circuit(self) -> None:
        """Calls that started before it opened neither close it nor prolong it."""
        breaker = opened(100.0)
        assert breaker.succeeded(105.0) == breaker
        assert breaker.failed(109.0).allow(110.0)[0] is True

    def test_a_lost_trial_does_not_block_for_ever(self) -> None:
        """Trials that were never answered give up their places after another reset time."""
        breaker = opened(100.0).allow(110.0)[1].allow(110.0)[1]
        assert breaker.allow(119.9)[0] is False
        assert breaker.allow(120.0)[0] is True
