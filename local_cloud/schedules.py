"""AWS::Scheduler::Schedule with all its properties, and cron expressions in their own time zone.

The emulator's type drops the time zone and the dates, and its ticker reads every cron expression as UTC.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, scheduler
from ministack.services.cloudformation import provisioners

from local_cloud.clock import clock

_Created = tuple[str, dict[str, Any]]


class ZonedExpression(str):
    """A schedule expression that remembers its time zone on the way to the emulator's ticker."""

    zone: ZoneInfo


class ZonedFields(tuple[Any, ...]):
    zone: ZoneInfo


def create_schedule(name: str, body: dict[str, Any]) -> Any:
    response = _emulator_create(name, _zoned(body))
    if response[0] < 400 and body["ScheduleExpression"].startswith("cron("):
        # The next occurrence counts from the creation, not from the first time the ticker comes by.
        key = (get_account_id(), get_region(), f"{body.get('GroupName', 'default')}/{name}")
        scheduler._schedule_last_fired[key] = clock.now()
    return response


def update_schedule(name: str, body: dict[str, Any]) -> Any:
    return _emulator_update(name, _zoned(body))


def parse_cron_fields(expression: str) -> Any:
    fields = _emulator_parse(expression)
    if fields is None or not isinstance(expression, ZonedExpression):
        return fields
    zoned = ZonedFields(fields)
    zoned.zone = expression.zone
    return zoned


def cron_next_fire(fields: Any, after: datetime) -> datetime | None:
    """The emulator walks wall-clock time from `after`, so `after` must be on the schedule's wall clock."""
    local = after.astimezone(fields.zone) if isinstance(fields, ZonedFields) else after
    moment: datetime | None = _emulator_next_fire(fields, local)
    return moment


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> _Created:
    name = properties.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=64)
    return _answer(name, properties, create_schedule(name, dict(properties)))


def update(physical_id: str, _old: dict[str, Any], new: dict[str, Any], _stack_name: str) -> _Created:
    return _answer(physical_id, new, update_schedule(physical_id, dict(new)))


def delete(physical_id: str, properties: dict[str, Any]) -> None:
    provisioners._scheduler_schedule_delete(physical_id, properties)


def _zoned(body: dict[str, Any]) -> dict[str, Any]:
    expression = ZonedExpression(body.get("ScheduleExpression", ""))
    expression.zone = ZoneInfo(body.get("ScheduleExpressionTimezone") or "UTC")
    return {**body, "ScheduleExpression": expression}


def _answer(name: str, properties: dict[str, Any], response: Any) -> _Created:
    status, _, body = response
    if status >= 400:
        raise ValueError(json.loads(body).get("Message") or json.loads(body).get("message"))
    return name, {"Arn": scheduler._schedule_arn(properties.get("GroupName", "default"), name)}


_emulator_create = scheduler._create_schedule
_emulator_update = scheduler._update_schedule
_emulator_parse = eventbridge._parse_cron_fields
_emulator_next_fire = eventbridge._cron_next_fire
