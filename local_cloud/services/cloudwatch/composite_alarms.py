"""Composite alarms: creation through CloudFormation, and the actions suppressor.

ministack evaluates the rule. It knows no suppressor, so its actions go through `dispatch_actions`.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-suppression.html
"""

import json
from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError

_SUPPRESSION = ("ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")


def put(request: dict[str, Any]) -> dict[str, Any]:
    _check(request)
    existing = cloudwatch._composite_alarms.get(request["AlarmName"])
    if existing is not None:
        for name in _SUPPRESSION:
            existing.pop(name, None)
    _pending_suppression[request["AlarmName"]] = {k: request[k] for k in _SUPPRESSION if k in request}
    try:
        status, _, body = _ministack_put({}, request, False, True)
    finally:
        suppression = _pending_suppression.pop(request["AlarmName"])
    if status >= 400:
        error = json.loads(body)
        raise ServiceError("ValidationError", error.get("message") or error.get("Message", str(error)))
    alarm: dict[str, Any] = cloudwatch._composite_alarms[request["AlarmName"]]
    alarm.update(suppression)
    return alarm


def handle_put(params: Any, request: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """PutCompositeAlarm on the wire, with the suppressor kept."""
    if not (is_cbor or is_json):
        return _ministack_put(params, request, is_cbor, is_json)
    try:
        put(request)
    except ServiceError as error:
        return cloudwatch._error(error.code, error.message, error.status, use_json=is_json, use_cbor=is_cbor)
    return cloudwatch._cbor_ok({}) if is_cbor else cloudwatch._json_ok({})


def dispatch_actions(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
    """Run an alarm's actions, unless its suppressor is in ALARM or may still come."""
    suppression = alarm if "ActionsSuppressor" in alarm else _pending_suppression.get(alarm["AlarmName"], {})
    if "ActionsSuppressor" in suppression:
        alarm.update(suppression)
        alarm["_undelivered"] = (old_state, new_state, reason, clock.now())
        deliver_when_due(alarm)
        return
    event_log.record("AlarmActions", alarm["AlarmName"], state=new_state)
    _ministack_dispatch(alarm, old_state, new_state, reason)


def deliver_when_due(alarm: dict[str, Any]) -> None:
    """Suppressed while the suppressor is in ALARM, for WaitPeriod before and ExtensionPeriod after it."""
    undelivered = alarm.get("_undelivered")
    suppressor = _alarm(alarm["ActionsSuppressor"])
    now = clock.now()
    suppressing = suppressor is not None and suppressor["StateValue"] == "ALARM"
    if suppressing:
        alarm["_last_suppressed"] = now
    if undelivered is None:
        return
    old_state, new_state, reason, since = undelivered
    suppressed_by = None
    if suppressing:
        suppressed_by = "Alarm"
    elif suppressor is not None and alarm.get("_last_suppressed", float("-inf")) >= since:
        if now < suppressor["StateUpdatedTimestamp"] + int(alarm["ActionsSuppressorExtensionPeriod"]):
            suppressed_by = "ExtensionPeriod"
    elif now < since + int(alarm["ActionsSuppressorWaitPeriod"]):
        suppressed_by = "WaitPeriod"
    if suppressed_by is not None:
        alarm["ActionsSuppressedBy"] = suppressed_by
        alarm["ActionsSuppressedReason"] = f"Actions suppressed by {suppressed_by}"
        return
    for field in ("_undelivered", "ActionsSuppressedBy", "ActionsSuppressedReason"):
        alarm.pop(field, None)
    event_log.record("AlarmActions", alarm["AlarmName"], state=new_state)
    _ministack_dispatch(alarm, old_state, new_state, reason)


def deliver_all_due() -> None:
    for alarm in cloudwatch._composite_alarms.values():
        if "ActionsSuppressor" in alarm:
            deliver_when_due(alarm)


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
    name = properties.get("AlarmName") or provisioners._physical_name(stack_name, logical_id, max_len=255)
    alarm = put(_request(name, properties))
    return name, {"Arn": alarm["AlarmArn"]}


def update(physical_id: str, _old: dict[str, Any], new: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
    alarm = put(_request(physical_id, new))
    return physical_id, {"Arn": alarm["AlarmArn"]}


def delete(physical_id: str, _properties: dict[str, Any]) -> None:
    if any(physical_id in cloudwatch._composite_children(a) for a in cloudwatch._composite_alarms.values()):
        raise ValueError(f"Cannot delete {physical_id} as there are composite alarm(s) depending on it.")
    cloudwatch._composite_alarms.pop(physical_id, None)


def _request(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    enabled = str(properties.get("ActionsEnabled", True)).lower() == "true"
    return {**properties, "AlarmName": name, "ActionsEnabled": enabled}


def _check(request: dict[str, Any]) -> None:
    given = [name for name in _SUPPRESSION if name in request]
    if given and len(given) < len(_SUPPRESSION):
        missing = sorted(set(_SUPPRESSION) - set(given))
        raise ServiceError("ValidationError", f"{', '.join(missing)} required together with {', '.join(given)}")
    if given and _alarm(request["ActionsSuppressor"]) is None:
        raise ServiceError("ValidationError", f"ActionsSuppressor {request['ActionsSuppressor']} does not exist")


def _alarm(name_or_arn: str) -> dict[str, Any] | None:
    name = name_or_arn.split(":alarm:")[-1]
    alarm: dict[str, Any] | None = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name)
    return alarm


# ministack dispatches the first transition while it creates the alarm, before the suppressor is stored.
_pending_suppression: dict[str, dict[str, Any]] = {}
_ministack_put = cloudwatch._put_composite_alarm
_ministack_dispatch = cloudwatch._dispatch_alarm_actions
