"""The datapoints of one metric by period, and their statistics."""

import re
from collections import defaultdict
from typing import Any

from ministack.services import cloudwatch

from local_cloud.core.errors import ServiceError
from local_cloud.services.cloudwatch import store

_BASIC = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")
_PERCENTILE = re.compile(r"p(\d{1,2}(\.\d{1,10})?|100)")


def by_period(stat: dict[str, Any], start: float, end: float, period: int) -> dict[float, list[store.Point]]:
    """The datapoints of `stat`'s Metric, in its Unit if it names one, by the start of their period."""
    metric = stat["Metric"]
    key = store.key_of(metric["Namespace"], metric["MetricName"], metric.get("Dimensions") or [])
    points_by_period: defaultdict[float, list[store.Point]] = defaultdict(list)
    for point in store.between(key, start // period * period, end):
        if stat.get("Unit") in (None, point["Unit"]):
            points_by_period[float(point["Timestamp"] // period * period)].append(point)
    return points_by_period


def statistic_of(points: list[store.Point], statistic: str) -> float | None:
    """None without datapoints, and for a percentile of what was published as statistics only."""
    stats = cloudwatch._calc_stats(points)
    value: float | None = cloudwatch._stat_value(stats, statistic, points) if stats else None
    return value


def check_statistic(statistic: str) -> None:
    """Raise ServiceError for a statistic that the local emulator does not compute."""
    if statistic not in _BASIC and not _PERCENTILE.fullmatch(statistic):
        raise ServiceError(
            "ValidationError",
            f"the local emulator has no statistic {statistic!r}: {', '.join(_BASIC)} and p0 to p100 only",
        )
