"""When a schedule expression fires in one year, for what runs by the clock: warm-ups and scheduled capacity."""

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
# AWS counts days of the week from Sunday = 1.
_DAYS = dict(zip(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), range(1, 8), strict=True))
_RATE_MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}


@cache
def fire_times(expression: str, timezone: str, year: int) -> tuple[datetime, ...]:
    """The moments in UTC, in order, at which a checked `cron(...)` or `rate(...)` fires in that year of its time zone.

    A rate counts from the year's first moment. `at(...)` happens once and so is no part of a usual month: none.
    """
    zone = ZoneInfo(timezone)
    if expression.startswith("at("):
        return ()
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        step = timedelta(minutes=int(rate[1]) * _RATE_MINUTES[rate[2]])
        moment, end = datetime(year, 1, 1, tzinfo=zone).astimezone(UTC), datetime(year + 1, 1, 1, tzinfo=zone)
        return tuple(_every(moment, step, end.astimezone(UTC)))
    minutes, hours, days_of_month, months, days_of_week, years = expression[5:-1].split()
    if year not in _numbers(years, 1970, 2199, {}):
        return ()
    clock = [(hour, minute) for hour in _numbers(hours, 0, 23, {}) for minute in _numbers(minutes, 0, 59, {})]
    return tuple(
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
        for month in _numbers(months, 1, 12, {name.upper(): number for name, number in _MONTHS.items()})
        for day in sorted(_days(year, month, days_of_month, days_of_week))
        for hour, minute in clock
    )


def _every(moment: datetime, step: timedelta, end: datetime) -> Iterator[datetime]:
    while moment < end:
        yield moment
        moment += step


def _days(year: int, month: int, days_of_month: str, days_of_week: str) -> set[date]:
    last = calendar.monthrange(year, month)[1]
    days = [date(year, month, number) for number in range(1, last + 1)]
    if days_of_week != "?":
        return {day for item in days_of_week.split(",") for day in _by_weekday(item, days)}
    found = set()
    for item in days_of_month.split(","):
        if item == "L":
            found.add(days[-1])
        elif item.endswith("W"):
            found.add(_nearest_weekday(days, last if item == "LW" else int(item[:-1])))
        else:
            found |= {days[number - 1] for number in _numbers(item, 1, 31, {}) if number <= last}
    return found


def _by_weekday(item: str, days: list[date]) -> list[date]:
    if item == "L":
        return [day for day in days if _aws_weekday(day) == 7]
    if match := re.fullmatch(r"([1-7])(?:(L)|#([1-5]))", item):
        same = [day for day in days if _aws_weekday(day) == int(match[1])]
        return same[-1:] if match[2] else same[int(match[3]) - 1 : int(match[3])]
    wanted = _numbers(item, 1, 7, _DAYS)
    return [day for day in days if _aws_weekday(day) in wanted]


def _aws_weekday(day: date) -> int:
    return day.isoweekday() % 7 + 1


def _nearest_weekday(days: list[date], number: int) -> date:
    working = [day for day in days if day.isoweekday() <= 5]
    return min(working, key=lambda day: (abs(day.day - number), day.day))


def _numbers(field: str, lowest: int, highest: int, names: dict[str, int]) -> list[int]:
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        # A step without an end runs to the highest.
        open_end = highest if step else None
        begin, end = (lowest, highest) if span == "*" else (_number(first, names), open_end)
        if end is None or last:
            end = _number(last, names) if last else begin
        # SAT-MON goes round the end of the week.
        stretch = range(begin, end + 1) if begin <= end else [*range(begin, highest + 1), *range(lowest, end + 1)]
        found |= set(list(stretch)[:: int(step) if step else 1])
    return sorted(found)


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)
