"""Schedule expressions, as EventBridge Scheduler takes them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.config.schedule import check_schedule


@pytest.mark.parametrize(
    "expression",
    [
        "cron(45 7 ? * MON-FRI *)",
        "cron(15 0,6,12,18 * * ? *)",
        "cron(0/15 8-18 ? JAN-JUN,DEC 2 2027-2030)",
        "cron(0 9 L * ? *)",
        "cron(0 9 15W * ? *)",
        "cron(0 9 ? * 6#3 *)",
        "rate(1 hour)",
        "rate(15 minutes)",
        "at(2027-09-14T07:45:00)",
    ],
)
def test_a_valid_expression_is_returned_as_it_is(expression: str) -> None:
    assert check_schedule(expression) == expression


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("rate(1 hours)", "singular"),
        ("rate(2 hour)", "plural"),
        ("rate(0 minutes)", "not a schedule"),
        ("cron(45 7 ? * MON-FRI)", "six fields"),
        ("cron(60 7 ? * MON-FRI *)", "minutes takes 0 to 59"),
        ("cron(45 24 ? * * *)", "hours takes 0 to 23"),
        ("cron(45 7 * * MON-FRI *)", "exactly one"),
        ("cron(45 7 ? * ? *)", "exactly one"),
        ("cron(45 7 ? * FUN *)", "day-of-week"),
        ("cron(45 7 ? * MON-FRI-SUN *)", "day-of-week"),
        ("cron(45/x 7 ? * MON *)", "minutes"),
        ("45 7 * * 1-5", "not a schedule"),
        ("at(tomorrow)", "not a schedule"),
        ("", "not a schedule"),
    ],
)
def test_an_invalid_expression_is_refused_in_one_sentence(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        check_schedule(expression)
    assert "; " in str(raised.value), "says what to do"


@given(st.text(alphabet="cronate()0123456789 */,-?LW#MONFRI", max_size=40))
def test_any_text_is_either_valid_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert check_schedule(text) == text
