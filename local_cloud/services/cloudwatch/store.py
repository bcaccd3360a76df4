"""The datapoints of ministack's CloudWatch: in the order of time, aggregated by time slot, bounded in number.

ministack keeps one record for each value, reads all of them on every request, and loses what another thread adds while
it drops old ones.
"""

import bisect
import itertools
import math
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ministack.services import cloudwatch

from local_cloud.core.clock import clock

# What is published within a slot is one datapoint of statistics: SageMaker's own high-resolution step.
SLOT_SECONDS = 10
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
FINE_SECONDS = 3 * 3600
MINUTE_SECONDS = 60

Point = dict[str, Any]
# (namespace, metric name, ministack's text for the dimensions)
Key = tuple[str, str, str]

_lock = threading.RLock()
_tidied_at = -math.inf
_coarse_until = -math.inf


def key_of(namespace: str, metric_name: str, dimensions: list[dict[str, str]]) -> Key:
    """The key of one metric. Dimensions match as a whole: a metric without them is another one than one with."""
    return namespace, metric_name, cloudwatch._dims_key(cloudwatch._dims_from_list(dimensions))


def between(key: Key, start: float, end: float = math.inf) -> list[Point]:
    """The datapoints of the current account and region with start <= time < end, oldest first."""
    with _lock:
        points: list[Point] = cloudwatch._metrics.get(key) or []
        return points[bisect.bisect_left(points, start, key=_time) : bisect.bisect_left(points, end, key=_time)]


def age(point: Point, now: float) -> float:
    """Seconds since the datapoint was whole; negative while its slot lasts."""
    seconds = point.get("_slot_seconds")
    if seconds is None:
        return now - float(point["Timestamp"])
    return float(now // SLOT_SECONDS * SLOT_SECONDS - (point["Timestamp"] + seconds))


def put(
    namespace: str,
    metric_name: str,
    dimensions: dict[str, str],
    unit: str,
    *,
    start: float,
    seconds: int,
    values: list[float],
    percentiles: bool = False,
) -> None:
    """Add values to the slot of so many seconds from `start`; 0 seconds are one moment.

    With `percentiles`, how often each value came is kept as well, to three significant digits.
    """
    point: Point = {"Timestamp": start, "Unit": unit, "Dimensions": dimensions, "_slot_seconds": seconds}
    point["_stat"] = {"SampleCount": len(values), "Sum": sum(values), "Minimum": min(values), "Maximum": max(values)}
    if percentiles:
        # So a minute of a thousand calls a second is a few hundred counters.
        point["_values"] = Counter(float(format(value, ".3g")) for value in values)
    with _lock:
        points = cloudwatch._metric_bucket((namespace, metric_name, cloudwatch._dims_key(dimensions)))
        at = len(points)
        while (
            at and points[at - 1]["Timestamp"] >= start
        ):  # from the end, since a new value is almost always the newest
            at -= 1
            if points[at]["Timestamp"] == start and points[at].get("_slot_seconds") == seconds:
                points[at] = _merged(points[at], point)
                return
        points.insert(at, {**point, "Value": _average(point)})


def store_datum(namespace: str, name: str, dimensions: dict[str, str], timestamp: float, *rest: Any) -> None:
    """Store one datum of PutMetricData. ministack appends it, whatever its time."""
    with _lock:
        key = (namespace, name, cloudwatch._dims_key(dimensions))
        before = cloudwatch._metrics.get(key)
        in_order = not before or before[-1]["Timestamp"] <= timestamp
        _ministack_store_datum(namespace, name, dimensions, timestamp, *rest)
        if not in_order:
            cloudwatch._metrics[key].sort(key=_time)


def percentile_samples(points: Iterable[Point]) -> list[tuple[float, float]] | None:
    """(value, how often) for percentiles; None where a datapoint is a mere set of statistics, as in CloudWatch."""
    counted = [point["_values"] for point in points if "_values" in point]
    plain = [point for point in points if "_values" not in point]
    samples = _ministack_percentile_samples(plain) if plain else []
    if samples is None:
        return None
    for values in counted:
        samples.extend(values.items())
    return samples or None


def percentile(samples: list[tuple[float, float]], percent: float) -> float:
    """The same as ministack's, linear between the two nearest ranks, without reading all samples."""
    ordered = sorted(samples)
    reached = list(itertools.accumulate([count for _, count in ordered]))
    rank = percent / 100 * (reached[-1] - 1) if reached[-1] > 1 else 0.0
    low, high = (ordered[min(bisect.bisect_right(reached, r), len(ordered) - 1)][0] for r in (int(rank), int(rank) + 1))
    return low + (rank - int(rank)) * (high - low)


def tidy() -> None:
    """Once a minute: drop what is older than two weeks, merge slots older than three hours into minutes."""
    global _tidied_at, _coarse_until
    now = clock.now()
    if 0 <= now - _tidied_at < MINUTE_SECONDS:
        return
    with _lock:
        boundary = (now - FINE_SECONDS) // MINUTE_SECONDS * MINUTE_SECONDS
        for scoped_key, points in list(cloudwatch._metrics._data.items()):
            _merge_slots(points, _coarse_until, boundary)
            del points[: bisect.bisect_left(points, now - cloudwatch.TWO_WEEKS_SECONDS, key=_time)]
            if not points:
                del cloudwatch._metrics._data[scoped_key]
        _tidied_at, _coarse_until = now, boundary


def _merge_slots(points: list[Point], start: float, end: float) -> None:
    first, last = (bisect.bisect_left(points, moment, key=_time) for moment in (start, end))
    minutes: dict[float, Point] = {}
    others = []
    for point in points[first:last]:
        if not 0 < point.get("_slot_seconds", 0) < MINUTE_SECONDS:
            others.append(point)
            continue
        minute = point["Timestamp"] // MINUTE_SECONDS * MINUTE_SECONDS
        whole = {**point, "Timestamp": minute, "_slot_seconds": MINUTE_SECONDS}
        minutes[minute] = _merged(minutes[minute], whole) if minute in minutes else whole
    points[first:last] = sorted([*others, *minutes.values()], key=_time)


def _merged(one: Point, other: Point) -> Point:
    """Return a new datapoint, so that a concurrent reader of the old one sees it unchanged."""
    a, b = one["_stat"], other["_stat"]
    merged = {
        **one,
        "_stat": {
            "SampleCount": a["SampleCount"] + b["SampleCount"],
            "Sum": a["Sum"] + b["Sum"],
            "Minimum": min(a["Minimum"], b["Minimum"]),
            "Maximum": max(a["Maximum"], b["Maximum"]),
        },
    }
    if "_values" in one and "_values" in other:
        merged["_values"] = one["_values"] + other["_values"]
    return {**merged, "Value": _average(merged)}


def _average(point: Point) -> float:
    return float(point["_stat"]["Sum"] / point["_stat"]["SampleCount"])


def _time(point: Point) -> float:
    return float(point["Timestamp"])


_ministack_store_datum = cloudwatch._store_datum
_ministack_percentile_samples = cloudwatch._percentile_samples
