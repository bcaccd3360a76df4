"""How many instances an endpoint runs: by its bounds, its schedules and, where traffic is known, target tracking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tierfleet.config import Tier
from tierfleet.config.schedule import fire_times

# A usual year: schedules are averaged over it.
REFERENCE_YEAR = 2027
HOURS_OF_DAY = 24


@dataclass(frozen=True)
class MeanInstances:
    """Instances of one endpoint, averaged over a month: at its lower bounds, as expected, at its upper bounds."""

    at_min: float
    expected: float
    at_max: float
    short_share: float = 0.0
    """Share of the time, 0 to 1, in which the calls would need more than the upper bound."""


@dataclass(frozen=True)
class _Bounds:
    hours: float
    minimum: int
    maximum: int


def mean_instances(tier: Tier, calls_per_hour: Sequence[float] | None = None) -> MeanInstances:
    """The mean over a year of one endpoint of `tier`.

    calls_per_hour: calls in each of the 24 hours of a day in UTC, on this endpoint; None: not known, then it is
    expected at its lower bounds. Scaling is taken as immediate and exact: as many instances as keep
    InvocationsPerInstance at its target or below it. What `scale_on_cache` adds is not in it.
    """
    by_hour = _bounds_by_hour_of_day(tier)
    total = low = high = expected = short = 0.0
    target = tier.scaling.target_invocations_per_minute
    for hour, stretches in enumerate(by_hour):
        wanted = 0 if calls_per_hour is None else math.ceil(calls_per_hour[hour] / 60 / target - 1e-9)
        for stretch in stretches:
            total += stretch.hours
            low += stretch.hours * stretch.minimum
            high += stretch.hours * stretch.maximum
            short += stretch.hours * (wanted > stretch.maximum)
            expected += stretch.hours * min(max(wanted, stretch.minimum), stretch.maximum)
    return MeanInstances(low / total, expected / total, high / total, short / total)


def _bounds_by_hour_of_day(tier: Tier) -> list[list[_Bounds]]:
    """For each hour of the day in UTC, the bounds that apply and for how many hours of the year."""
    changes = sorted(
        (moment, scheduled.min, scheduled.max)
        for _, scheduled in sorted(tier.scaling.schedules.items())
        for moment in fire_times(scheduled.schedule, scheduled.timezone, REFERENCE_YEAR)
    )
    begin, end = datetime(REFERENCE_YEAR, 1, 1, tzinfo=UTC), datetime(REFERENCE_YEAR + 1, 1, 1, tzinfo=UTC)
    if not changes:
        return [[_Bounds(1.0, tier.instances.min, tier.instances.max)] for _ in range(HOURS_OF_DAY)]
    # Until the first change of a year, the last change of the year before applies.
    stretches = [(begin, *changes[-1][1:]), *(change for change in changes if begin <= change[0] < end)]
    held: list[dict[tuple[int, int], float]] = [{} for _ in range(HOURS_OF_DAY)]
    for (start, minimum, maximum), stop in zip(stretches, [*(s[0] for s in stretches[1:]), end], strict=True):
        for hour, seconds in _seconds_by_hour(start, stop):
            held[hour][minimum, maximum] = held[hour].get((minimum, maximum), 0.0) + seconds / 3600
    return [[_Bounds(hours, *bounds) for bounds, hours in hour.items()] for hour in held]


def _seconds_by_hour(start: datetime, stop: datetime) -> list[tuple[int, float]]:
    """The seconds of a time span in each hour of the day."""
    whole_days, rest = divmod((stop - start).total_seconds(), 86_400)
    shares = [(hour, whole_days * 3600.0) for hour in range(HOURS_OF_DAY)] if whole_days else []
    at = start.hour * 3600 + start.minute * 60 + start.second
    while rest > 0:
        step = min(rest, 3600 - at % 3600)
        shares.append((at // 3600 % HOURS_OF_DAY, step))
        at, rest = at + int(step), rest - step
    return shares
