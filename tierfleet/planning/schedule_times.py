"""When a schedule expression fires in one year, for what runs by the clock: warm-ups and scheduled capacity."""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

from tierfleet.config.schedule import At, Rate, parse_schedule


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
