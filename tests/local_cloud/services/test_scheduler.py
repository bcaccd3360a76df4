"""Schedules on the local emulator are what `config check` takes, and nothing else: it is the same parser."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local_cloud.services import scheduler as schedules
from local_cloud.testing.account import Account, error_of


def request(**changes: Any) -> dict[str, Any]:
    return {
        "Name": "nightly",
        "ScheduleExpression": "rate(1 hour)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
            "RoleArn": "arn:aws:iam::123456789012:role/r",
        },
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ScheduleExpression": "rate(1 hours)"}, "Invalid ScheduleExpression rate(1 hours)"),
        ({"ScheduleExpression": "cron(0 9 ? * 2/2 *)"}, "day-of-week"),
        ({"ScheduleExpression": "cron(*/0 9 * * ? *)"}, "minutes"),
        ({"ScheduleExpression": "at(2028-02-30T00:00:00)"}, "no such date"),
        ({"ScheduleExpressionTimezone": "Factory"}, "Invalid ScheduleExpressionTimezone Factory"),
    ],
)
def test_a_schedule_that_aws_refuses_is_refused(account: Account, changes: dict[str, str], words: str) -> None:
    scheduler = account.client("scheduler")
    code, message = error_of(scheduler.create_schedule, **request(**changes))
    assert code == "ValidationException"
    assert words in message
    scheduler.create_schedule(**request())
    code, _ = error_of(scheduler.update_schedule, **request(**changes))
    assert code == "ValidationException"


def test_expressions_are_read_on_the_clock_of_their_zone() -> None:
    zoned = schedules.ZonedExpression("at(2027-07-01T09:00:00)")
    zoned.zone = ZoneInfo("Europe/London")
    assert schedules.at_time_epoch(zoned) == datetime(2027, 7, 1, 8, tzinfo=UTC).timestamp()
    cron = schedules.ZonedExpression("cron(45 7 ? * MON-FRI *)")
    cron.zone = ZoneInfo("Europe/London")
    parsed = schedules.parse_cron_fields(cron)
    assert parsed is not None
    after = datetime(2027, 7, 2, 7, tzinfo=UTC)
    assert schedules.cron_next_fire(parsed, after) == datetime(2027, 7, 5, 6, 45, tzinfo=UTC)


def test_what_is_no_schedule_is_none_of_its_kinds() -> None:
    for expression in ("rate(1 hours)", "cron(0 9 ? * 2/2 *)", "at(2027-02-30T00:00:00)", ""):
        assert schedules.parse_rate_seconds(expression) is None
        assert schedules.parse_cron_fields(expression) is None
        assert schedules.at_time_epoch(expression) is None
    assert schedules.parse_rate_seconds("rate(15 minutes)") == 900
