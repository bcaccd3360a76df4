"""Schedule expressions as EventBridge Scheduler and Application Auto Scaling take them: one parser for the check of a
fleet file, for costs and for the local emulator.

Sources: docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html,
docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from tierfleet.aws_limits import SCHEDULE_EXPRESSION, SCHEDULE_YEARS, TIME_ZONE
from tierfleet.config.cron import Cron, parse_cron

_RATE = re.compile(r"rate\(([1-9][0-9]{0,8}) (minute|hour|day)(s?)\)")
_AT = re.compile(r"at\(([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\)")
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_FIRST_YEAR, _LAST_YEAR = SCHEDULE_YEARS
_LONGEST_RATE = timedelta(days=366 * (_LAST_YEAR - _FIRST_YEAR))
# Names in the time zone database that are not time zones: a placeholder, and this machine's own.
_NO_ZONES = frozenset({"Factory", "localtime"})


@dataclass(frozen=True)
class Rate:
    """Fires every `interval`, counted from its creation."""

    interval: timedelta

    def next_fire(self, after: datetime, created: datetime) -> datetime:
        """The first moment after `after` that is a whole number of intervals, one at least, after `created`."""
        return created + self.interval * max(1, (after - created) // self.interval + 1)


@dataclass(frozen=True)
class At:
    """Fires once. `moment` has no time zone of its own."""

    moment: datetime

    def next_fire(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The moment in UTC if it is after `after`, else None."""
        moment = self.moment.replace(tzinfo=zone).astimezone(UTC)
        return moment if moment > after else None


@dataclass(frozen=True)
class RecurringCron:
    """A cron expression."""

    cron: Cron

    def fires(self, zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
        """Every moment in UTC at which it fires in these years of its time zone, in order.

        A time that the clock skips in spring does not fire, one that it repeats in autumn fires once.
        """
        for year in range(max(first_year, _FIRST_YEAR), min(last_year, _LAST_YEAR) + 1):
            for wall in self.cron.wall_times(year):
                moment = wall.replace(tzinfo=zone).astimezone(UTC)
                if moment.astimezone(zone).replace(tzinfo=None) == wall:
                    yield moment

    def next_fire(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first moment in UTC after `after`; None when there is none before the year 2200."""
        local = after.astimezone(zone)
        for year in range(max(local.year, _FIRST_YEAR), _LAST_YEAR + 1):
            start = local.replace(tzinfo=None) - timedelta(days=1) if year == local.year else None
            for wall in self.cron.wall_times(year, start):
                moment = wall.replace(tzinfo=zone).astimezone(UTC)
                if moment > after and moment.astimezone(zone).replace(tzinfo=None) == wall:
                    return moment
        return None


Schedule = RecurringCron | Rate | At


@cache
def parse_schedule(expression: str) -> Schedule:
    """The schedule an expression describes.

    Raises ValueError with one sentence on what is wrong with it and what to do. Refuses what CloudFormation's
    validators let through and AWS then refuses: `rate(1 hours)`, a step in day-of-week, 30 February.
    """
    if len(expression) > SCHEDULE_EXPRESSION.most:
        raise ValueError(
            f"a schedule has at most {SCHEDULE_EXPRESSION.most} characters, this one has {len(expression)}; shorten it"
        )
    if expression.startswith("cron(") and expression.endswith(")"):
        cron = parse_cron(expression[5:-1].split(" "))
        if not any(True for year in range(_FIRST_YEAR, _LAST_YEAR + 1) for _ in cron.wall_times(year)):
            raise ValueError("this cron never fires: no such day exists; correct day-of-month, month or year")
        return RecurringCron(cron)
    if rate := _RATE.fullmatch(expression):
        return _rate(rate)
    if at := _AT.fullmatch(expression):
        return At(_moment(at[1]))
    raise ValueError("not a schedule; use cron(45 7 ? * MON-FRI *), rate(6 hours) or at(2027-09-14T07:45:00)")


@cache
def fire_times(expression: str, timezone: str, year: int) -> tuple[datetime, ...]:
    """The moments in UTC, in order, at which a checked `cron(...)` or `rate(...)` fires in that year of its time zone.

    A rate counts from the year's first moment. `at(...)` happens once and so is no part of a usual month: none.
    """
    zone = ZoneInfo(timezone)
    schedule = parse_schedule(expression)
    if isinstance(schedule, At):
        return ()
    if isinstance(schedule, Rate):
        first = datetime(year, 1, 1, tzinfo=zone).astimezone(UTC)
        end = datetime(year + 1, 1, 1, tzinfo=zone).astimezone(UTC)
        count = -((first - end) // schedule.interval)
        return tuple(first + number * schedule.interval for number in range(count))
    return tuple(schedule.fires(zone, year, year))


def check_schedule(expression: str) -> str:
    """Return the expression, or raise ValueError as `parse_schedule` does."""
    parse_schedule(expression)
    return expression


def check_timezone(name: str) -> str:
    """Return the name of an IANA time zone. Raises ValueError for any other name, `Factory` included."""
    if name not in time_zones() or len(name) > TIME_ZONE.most:
        raise ValueError("not an IANA time zone; use a name such as Europe/London or UTC")
    return name


@cache
def time_zones() -> frozenset[str]:
    """The names of the IANA time zones, of the tzdata package and of this machine."""
    return frozenset(available_timezones()) - _NO_ZONES


def _rate(match: re.Match[str]) -> Rate:
    if (match[1] == "1") == bool(match[3]):
        raise ValueError("rate takes the singular for 1 and the plural otherwise; write rate(1 hour) or rate(6 hours)")
    if int(match[1]) * _UNITS[match[2]].total_seconds() > _LONGEST_RATE.total_seconds():
        raise ValueError(
            f"this rate is longer than all the years AWS schedules for, {_FIRST_YEAR} to {_LAST_YEAR}; shorten it"
        )
    return Rate(int(match[1]) * _UNITS[match[2]])


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("no such date or time; write at(2027-09-14T07:45:00)") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"the year must be {_FIRST_YEAR} to {_LAST_YEAR}; correct it")
    return moment
