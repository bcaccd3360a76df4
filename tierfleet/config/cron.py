"""AWS's cron: minutes, hours, day-of-month, month, day-of-week, year.

Wildcards by field, as AWS lists them: `, - * /` everywhere but in day-of-week, which has no `/`; `? L W` in
day-of-month; `? L #` in day-of-week.
Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import calendar
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from tierfleet.aws_limits import SCHEDULE_YEARS

_MONTHS = dict(
    zip(["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], range(1, 13), strict=True)
)
# AWS counts days of the week from Sunday = 1.
_DAYS = dict(zip(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], range(1, 8), strict=True))
_DAY = rf"[1-7]|{'|'.join(_DAYS)}"


@dataclass(frozen=True)
class Field:
    """One field: its lowest and highest number, names for numbers, the regular expression of what else it takes as its
    only item, and whether it takes steps."""

    name: str
    lowest: int
    highest: int
    names: dict[str, int]
    alone: str
    steps: bool
    allowed: str


FIELDS = (
    Field("minutes", 0, 59, {}, "", True, "0 to 59, *, lists, ranges and steps"),
    Field("hours", 0, 23, {}, "", True, "0 to 23, *, lists, ranges and steps"),
    Field(
        "day-of-month",
        1,
        31,
        {},
        r"\?|L|LW|([1-9]|[12][0-9]|3[01])W",
        True,
        "1 to 31, *, ?, lists, ranges and steps, or L, LW or 15W alone",
    ),
    Field("month", 1, 12, _MONTHS, "", True, "1 to 12 or JAN to DEC, *, lists, ranges and steps"),
    Field(
        "day-of-week",
        1,
        7,
        _DAYS,
        rf"\?|L|[1-7]L|({_DAY})#[1-5]",
        False,
        "1 to 7 or SUN to SAT, *, ?, lists and ranges, or L, 6L or 6#3 alone; no steps",
    ),
    Field("year", *SCHEDULE_YEARS, {}, "", True, "1970 to 2199, *, lists, rising ranges and steps"),
)
_MINUTES, _HOURS, _DAY_OF_MONTH, _MONTH, _DAY_OF_WEEK, _YEAR = FIELDS


@dataclass(frozen=True)
class Cron:
    """A checked cron expression. Numbers in order; `day_of_month` and `day_of_week` as written, one of them is `?`."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    day_of_month: str
    months: tuple[int, ...]
    day_of_week: str
    years: frozenset[int]

    def wall_times(self, year: int, after: datetime | None = None) -> Iterator[datetime]:
        """The times on the wall clock at which it fires in a year, in order; those of `after`'s day and later only."""
        if year not in self.years:
            return
        for month in self.months:
            if after and (year, month) < (after.year, after.month):
                continue
            for day in self._days(year, month):
                if after and day < after.date():
                    continue
                for hour in self.hours:
                    for minute in self.minutes:
                        yield datetime(day.year, day.month, day.day, hour, minute)

    def _days(self, year: int, month: int) -> list[date]:
        last = calendar.monthrange(year, month)[1]
        days = [date(year, month, number) for number in range(1, last + 1)]
        if self.day_of_week != "?":
            return _by_weekday(self.day_of_week, days)
        if self.day_of_month == "L":
            return days[-1:]
        if self.day_of_month.endswith("W"):
            number = last if self.day_of_month == "LW" else int(self.day_of_month[:-1])
            return [_nearest_weekday(days, number)]
        return [days[number - 1] for number in _numbers(_DAY_OF_MONTH, self.day_of_month) if number <= last]


def parse_cron(fields: Sequence[str]) -> Cron:
    """A cron of these fields. Raises ValueError with one sentence on what is wrong and what to do."""
    fields = [field for field in fields if field]
    if len(fields) != len(FIELDS):
        names = ", ".join(field.name for field in FIELDS)
        raise ValueError(f"cron takes six fields ({names}), this one has {len(fields)}; write cron(45 7 ? * MON-FRI *)")
    for value, field in zip(fields, FIELDS, strict=True):
        if not _is_valid(field, value):
            raise ValueError(f"cron field {field.name} takes {field.allowed}; correct {value!r}")
    if [fields[2], fields[4]].count("?") != 1:
        raise ValueError(
            "cron takes ? in exactly one of day-of-month and day-of-week; write ? in the one you leave open"
        )
    return Cron(
        minutes=_numbers(_MINUTES, fields[0]),
        hours=_numbers(_HOURS, fields[1]),
        day_of_month=fields[2],
        months=_numbers(_MONTH, fields[3]),
        day_of_week=fields[4],
        years=frozenset(_numbers(_YEAR, fields[5])),
    )


def _is_valid(field: Field, value: str) -> bool:
    if field.alone and re.fullmatch(field.alone, value):
        return True
    return all(_is_item(field, item, alone="," not in value) for item in value.split(","))


def _is_item(field: Field, item: str, *, alone: bool) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (field.steps and re.fullmatch("[0-9]{1,4}", step) and 1 <= int(step) <= field.highest):
        return False
    if span == "*":
        return alone
    ends = span.split("-")
    if len(ends) > 2 or not all(_is_number(field, end) for end in ends):
        return False
    # Hours go round midnight and days round the weekend, but years never come again.
    return field is not _YEAR or int(ends[0]) <= int(ends[-1])


def _is_number(field: Field, text: str) -> bool:
    if text in field.names:
        return True
    return bool(re.fullmatch("[0-9]{1,4}", text)) and field.lowest <= int(text) <= field.highest


def _numbers(field: Field, value: str) -> tuple[int, ...]:
    numbers: set[int] = set()
    for item in value.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = field.lowest, field.highest
        else:
            begin = _number(field, first)
            # A step without an end runs to the highest.
            end = _number(field, last) if dash else field.highest if slash else begin
        # SAT-SUN goes round the end of the week.
        stretch = (
            [*range(begin, end + 1)]
            if begin <= end
            else [*range(begin, field.highest + 1), *range(field.lowest, end + 1)]
        )
        numbers |= set(stretch[:: int(step) if step else 1])
    return tuple(sorted(numbers))


def _number(field: Field, text: str) -> int:
    return field.names[text] if text in field.names else int(text)


def _by_weekday(value: str, days: list[date]) -> list[date]:
    if value == "L":
        return [day for day in days if _aws_weekday(day) == 7]
    day_of_week, hash_sign, number = value.partition("#")
    if hash_sign:
        same = [day for day in days if _aws_weekday(day) == _number(_DAY_OF_WEEK, day_of_week)]
        return same[int(number) - 1 : int(number)]
    if re.fullmatch("[1-7]L", value):
        return [day for day in days if _aws_weekday(day) == int(value[0])][-1:]
    wanted = _numbers(_DAY_OF_WEEK, value)
    return [day for day in days if _aws_weekday(day) in wanted]


def _aws_weekday(day: date) -> int:
    return day.isoweekday() % 7 + 1


def _nearest_weekday(days: list[date], number: int) -> date:
    working = [day for day in days if day.isoweekday() <= 5]
    return min(working, key=lambda day: (abs(day.day - number), day.day))
