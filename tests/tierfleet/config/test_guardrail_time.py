"""A bake is long enough for the alarms, whatever second traffic moves and the alarm is evaluated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.config.guardrail_time import (
    BAKE_SECONDS,
    METRIC_DELAY_SECONDS,
    ROLLBACK_DATAPOINTS,
    ROLLBACK_PERIOD_SECONDS,
)


def seconds_until_alarm(moved_at: float, evaluated_at: float, *, delay: float, must_be_bad: int, of: int) -> float:
    """How long after traffic moves (seconds in a minute) an alarm goes off that is evaluated once a minute.

    Every whole minute after the move is bad; the minute of the move is not: old instances answered a part of it.
    """
    period = ROLLBACK_PERIOD_SECONDS
    now = evaluated_at
    while True:
        # The newest minutes whose metrics have arrived.
        newest = int((now - delay) // period) - 1
        seen = range(newest - of + 1, newest + 1)
        if now >= moved_at and sum(minute * period >= moved_at for minute in seen) >= must_be_bad:
            return now - moved_at
        now += period


@given(moved_at=st.floats(0, 59.99), evaluated_at=st.floats(0, 59.99))
def test_the_alarms_go_off_within_a_bake(moved_at: float, evaluated_at: float) -> None:
    bad, of = ROLLBACK_DATAPOINTS
    seconds = seconds_until_alarm(moved_at, evaluated_at, delay=METRIC_DELAY_SECONDS, must_be_bad=bad, of=of)
    assert seconds <= BAKE_SECONDS


def test_a_bake_is_no_longer_than_the_worst_case() -> None:
    bad, of = ROLLBACK_DATAPOINTS
    worst = max(
        seconds_until_alarm(moved / 10, evaluated / 10, delay=METRIC_DELAY_SECONDS, must_be_bad=bad, of=of)
        for moved in range(1, 600, 7)
        for evaluated in range(0, 600, 7)
    )
    assert worst == pytest.approx(BAKE_SECONDS, abs=5)


def test_five_bad_minutes_of_five_would_have_missed_a_wait_of_300_seconds() -> None:
    """What was shipped: the version that fails every call had taken all traffic before."""
    least = min(
        seconds_until_alarm(moved, evaluated, delay=METRIC_DELAY_SECONDS, must_be_bad=5, of=5)
        for moved in range(60)
        for evaluated in range(60)
    )
    assert least > 300
