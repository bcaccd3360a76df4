"""Scheduled actions of Application Auto Scaling: when each comes next, and which are due.

https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
"""

import math
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ministack.services import cloudwatch

from local_cloud import schedules
from local_cloud.errors import ServiceError
from local_cloud.scaling_state import next_occurrences, scheduled_actions

_UNIT_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"rate\((?P<value>[1-9]\d*) (?P<unit>minute|hour|day)s?\)")
_AT = re.compile(r"at\((?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?)\)")

Action = dict[str, Any]
# (ServiceNamespace, ResourceId, ScalableDimension, ScheduledActionName)
ActionKey = tuple[str, str, str, str]


def check(action: Action) -> None:
    """Refuse a schedule, time zone or pair of bounds that never could work."""
    try:
        _zone(action)
    except (ZoneInfoNotFoundError, ValueError):
        raise ServiceError("ValidationException", f"Invalid time zone: {action['Timezone']}") from None
    expression = action["Schedule"]
    if not (_RATE.fullmatch(expression) or _AT.fullmatch(expression) or _cron(action) is not None):
        raise ServiceError(
            "ValidationException",
            f"Invalid schedule: {expression}; allowed are at(yyyy-mm-ddThh:mm:ss), rate(value unit) and "
            "cron(minutes hours day-of-month month day-of-week year)",
        )
    bounds = action["ScalableTargetAction"]
    if not bounds.keys() & {"MinCapacity", "MaxCapacity"}:
        raise ServiceError("ValidationException", "ScalableTargetAction needs MinCapacity or MaxCapacity")
    if bounds.get("MinCapacity", 0) > bounds.get("MaxCapacity", math.inf):
        raise ServiceError("ValidationException", "Maximum capacity cannot be less than minimum capacity")


def arm(key: ActionKey, after: float) -> None:
    """Note when the action comes next."""
    moment = _next(scheduled_actions[key], after)
    if moment is None:
        next_occurrences.pop(key, None)
    else:
        next_occurrences[key] = moment


def due(now: float) -> list[ActionKey]:
    """The actions whose time has come, in the order of their latest occurrence; each is armed anew."""
    found: list[tuple[float, ActionKey]] = []
    for key, moment in next_occurrences.items():
        if moment > now:
            continue
        latest = moment
        while (following := _next(scheduled_actions[key], latest)) is not None and following <= now:
            latest = following
        found.append((latest, key))
        arm(key, now)
    return [key for _, key in sorted(found)]


def _next(action: Action, after: float) -> float | None:
    """The first moment after `after`, within StartTime and EndTime; None when there is none."""
    start, end = (cloudwatch._parse_ts(action.get(name)) for name in ("StartTime", "EndTime"))
    if start is not None:
        after = max(after, start - 1)
    moment = _occurrence(action, after, anchor=start if start is not None else float(action["CreationTime"]))
    return None if moment is None or (end is not None and moment > end) else moment


def _occurrence(action: Action, after: float, *, anchor: float) -> float | None:
    expression = action["Schedule"]
    if match := _AT.fullmatch(expression):
        moment = datetime.fromisoformat(match["moment"]).replace(tzinfo=_zone(action)).timestamp()
        return moment if moment > after else None
    if match := _RATE.fullmatch(expression):
        seconds = int(match["value"]) * _UNIT_SECONDS[match["unit"]]
        return anchor + seconds * max(1, math.floor((after - anchor) / seconds) + 1)
    found = schedules.cron_next_fire(_cron(action), datetime.fromtimestamp(after, UTC))
    return None if found is None else found.timestamp()


def _cron(action: Action) -> Any:
    expression = schedules.ZonedExpression(action["Schedule"])
    expression.zone = _zone(action)
    return schedules.parse_cron_fields(expression)


def _zone(action: Action) -> ZoneInfo:
    return ZoneInfo(action.get("Timezone") or "UTC")
