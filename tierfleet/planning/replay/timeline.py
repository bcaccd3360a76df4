"""The hours of an endpoint in rows that a reader can take in: hours, days or weeks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tierfleet.planning.replay.outcome import Endpoint, Hour, Served

# A row is an hour if there are at most this many, else a day, else a week.
MOST_ROWS: Final = 48
_HOURS_A_WEEK: Final = 168
# Of an ISO 8601 time: the characters up to the day, and up to the hour.
_DAY, _HOUR = 10, 13


@dataclass(frozen=True, kw_only=True)
class Row:
    """Some hours in a row."""

    name: str
    """The day, or the day and the hour, UTC."""
    served: Served
    instances: float
    """In service, averaged over the hours."""


def timeline(endpoint: Endpoint) -> tuple[str, list[Row]]:
    """What a row is (`hour`, `day` or `week from`), and the rows."""
    hours = endpoint.hours
    length, unit = (_HOUR, "hour") if len(hours) <= MOST_ROWS else (_DAY, "day")
    parts = [(name, list(part)) for name, part in groupby(hours, key=lambda hour: hour.begins[:length])]
    if len(parts) > MOST_ROWS:
        weeks = [hours[start : start + _HOURS_A_WEEK] for start in range(0, len(hours), _HOURS_A_WEEK)]
        parts, unit = [(week[0].begins[:_DAY], list(week)) for week in weeks], "week from"
    return unit, [_row(name, part) for name, part in parts]


def rows_of_hours(endpoint: Endpoint, hours: int) -> list[Row]:
    """Rows of this many hours each; the last one may have fewer."""
    parts = [endpoint.hours[start : start + hours] for start in range(0, len(endpoint.hours), hours)]
    return [_row(part[0].begins[:_HOUR], part) for part in parts]


def _row(name: str, hours: Sequence[Hour]) -> Row:
    instances = sum(hour.instances for hour in hours) / len(hours)
    return Row(name=name.replace("T", " "), served=together(hours), instances=instances)


def together(hours: Sequence[Hour]) -> Served:
    """What became of the calls of some hours."""
    each = [hour.served for hour in hours]
    return Served(
        calls=sum(one.calls for one in each),
        in_memory=sum(one.in_memory for one in each),
        waited_for_running_load=sum(one.waited_for_running_load for one in each),
        from_disk=sum(one.from_disk for one in each),
        from_s3=sum(one.from_s3 for one in each),
        outside=sum(one.outside for one in each),
        longest_wait_seconds=max((one.longest_wait_seconds for one in each), default=0.0),
    )
