"""AWS::Scheduler::Schedule with all its properties, and every schedule expression by tierfleet's own parser.

ministack's type drops the time zone and the dates, and its ticker reads every cron expression as UTC.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import scheduler
from ministack.services.cloudformation import provisioners

from local_cloud.core.clock import clock
from tierfleet.config.schedule import (
    At,
    Rate,
    RecurringCron,
    Schedule,
    check_schedule,
    check_timezone,
    parse_schedule,
)

_Created = tuple[str, dict[str, Any]]


class ZonedExpression(str):
    """A schedule expression that remembers its time zone on the way to ministack's ticker."""

    zone: ZoneInfo


class ZonedCron(tuple[Any, ...]):
    """A parsed cron expression and its time zone, in place of ministack's tuple of fields."""

    cron: RecurringCron
    zone: ZoneInfo


def leave_to_the_ticker() -> None:
    """Start no thread: it would fire a schedule that our ticker fires at the same moment."""


def create_schedule(name: str, body: dict[str, Any]) -> Any:
    if refusal := _refusal(body):
        return refusal
    response = _ministack_create(name, _zoned(body))
    if response[0] < 400 and body["ScheduleExpression"].startswith("cron("):
        # The next occurrence counts from the creation, not from the first tick.
        key = (get_account_id(), get_region(), f"{body.get('GroupName', 'default')}/{name}")
        scheduler._schedule_last_fired[key] = clock.now()
    return response


def update_schedule(name: str, body: dict[str, Any]) -> Any:
    return _refusal(body) or _ministack_update(name, _zoned(body))


def parse_cron_fields(expression: str) -> ZonedCron | None:
    """The cron of an expression, in UTC unless it remembers a zone; None for a cron expression that AWS refuses."""
    if not isinstance(schedule := _parse(expression), RecurringCron):
        return None
    zoned = ZonedCron()
    zoned.cron, zoned.zone = schedule, _zone(expression)
    return zoned


def parse_rate_seconds(expression: str) -> int | None:
    schedule = _parse(expression)
    return int(schedule.interval.total_seconds()) if isinstance(schedule, Rate) else None


def at_time_epoch(expression: str) -> float | None:
    schedule = _parse(expression)
    return schedule.moment.replace(tzinfo=_zone(expression)).timestamp() if isinstance(schedule, At) else None


def cron_next_fire(fields: ZonedCron, after: datetime) -> datetime | None:
    return fields.cron.next_fire(after, fields.zone)


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> _Created:
    name = properties.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=64)
    return _answer(name, properties, create_schedule(name, dict(properties)))


def update(physical_id: str, _old: dict[str, Any], new: dict[str, Any], _stack_name: str) -> _Created:
    return _answer(physical_id, new, update_schedule(physical_id, dict(new)))


def delete(physical_id: str, properties: dict[str, Any]) -> None:
    provisioners._scheduler_schedule_delete(physical_id, properties)


def _parse(expression: str) -> Schedule | None:
    try:
        return parse_schedule(str(expression))
    except ValueError:
        return None


def _zone(expression: str) -> ZoneInfo:
    return expression.zone if isinstance(expression, ZonedExpression) else ZoneInfo("UTC")


def _refusal(body: dict[str, Any]) -> Any:
    """The answer to a schedule or time zone that EventBridge Scheduler does not take, else None."""
    for name, check in (("ScheduleExpression", check_schedule), ("ScheduleExpressionTimezone", check_timezone)):
        if name in body:
            try:
                check(body[name])
            except ValueError as error:
                message = f"Invalid {name} {body[name]}: {str(error).partition('; ')[0]}"
                return error_response_json("ValidationException", message, 400)
    return None


def _zoned(body: dict[str, Any]) -> dict[str, Any]:
    expression = ZonedExpression(body.get("ScheduleExpression", ""))
    expression.zone = ZoneInfo(body.get("ScheduleExpressionTimezone") or "UTC")
    return {**body, "ScheduleExpression": expression}


def _answer(name: str, properties: dict[str, Any], response: Any) -> _Created:
    status, _, body = response
    if status >= 400:
        raise ValueError(json.loads(body).get("Message") or json.loads(body).get("message"))
    return name, {"Arn": scheduler._schedule_arn(properties.get("GroupName", "default"), name)}


_ministack_create = scheduler._create_schedule
_ministack_update = scheduler._update_schedule
