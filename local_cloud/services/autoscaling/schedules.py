"""Scheduled actions of Application Auto Scaling: when each comes next, and which are due.

https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
"""

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ministack.services import cloudwatch

from local_cloud.core.errors import ServiceError
from local_cloud.services.scalable_targets import next_occurrences, scheduled_actions
from tierfleet.config.schedule import Rate, check_timezone, parse_schedule

Action = dict[str, Any]
# (ServiceNamespace, ResourceId, ScalableDimension, ScheduledActionName)
ActionKey = tuple[str, str, str, str]


def check(action: Action) -> None:
    """Refuse a schedule, time zone or pair of bounds that can never work."""
    try:
        check_timezone(action.get("Timezone") or "UTC")
    except ValueError:
        raise ServiceError("ValidationException", f"Invalid time zone: {action['Timezone']}") from None
    try:
        parse_schedule(action["Schedule"])
    except ValueError as error:
        reason = str(error).partition("; ")[0]
        raise ServiceError("ValidationException", f"Invalid schedule: {action['Schedule']}: {reason}") from None
    bounds = action["ScalableTargetAction"]
    if not bounds.keys() & {"MinCapacity", "MaxCapacity"}:
        raise ServiceError("ValidationException", "ScalableTargetAction needs MinCapacity or MaxCapacity")
    if bounds.get("MinCapacity", 0) > bounds.get("MaxCapacity", math.inf):
        raise ServiceError("ValidationException", "Maximum capacity cannot be less than minimum capacity")


def arm(key: ActionKey, after: float) -> None:
    """Compute when the action comes next."""
    moment = _next(scheduled_actions[key], after)
    if moment is None:
        next_occurrences.pop(key, None)
    else:
        next_occurrences[key] = moment


def due(now: float) -> list[ActionKey]:
    """The actions whose time has come, in the order of their latest occurrence; each is armed again."""
    fired: list[tuple[float, ActionKey]] = []
    for key, moment in next_occurrences.items():
        if moment > now:
            continue
        latest = moment
        while (following := _next(scheduled_actions[key], latest)) is not None and following <= now:
            latest = following
        fired.append((latest, key))
        arm(key, now)
    return [key for _, key in sorted(fired)]


def _next(action: Action, after: float) -> float | None:
    """The first moment after `after`, within StartTime and EndTime; None when there is none."""
    start, end = (cloudwatch._parse_ts(action.get(name)) for name in ("StartTime", "EndTime"))
    if start is not None:
        after = max(after, start - 1)
    moment = _occurrence(action, after, anchor=start if start is not None else float(action["CreationTime"]))
    return None if moment is None or (end is not None and moment > end) else moment


def _occurrence(action: Action, after: float, *, anchor: float) -> float | None:
    schedule, moment = parse_schedule(action["Schedule"]), datetime.fromtimestamp(after, UTC)
    if isinstance(schedule, Rate):
        return schedule.next_fire(moment, datetime.fromtimestamp(anchor, UTC)).timestamp()
    next_fire = schedule.next_fire(moment, ZoneInfo(action.get("Timezone") or "UTC"))
    return None if next_fire is None else next_fire.timestamp()
