"""AppConfig deployments as CloudFormation sees them: bake, monitor, stop.

ministack's AppConfig API rolls out and bakes; its CloudFormation type skips both, and its monitor
knows neither INSUFFICIENT_DATA nor disabled actions.
https://docs.aws.amazon.com/appconfig/latest/userguide/monitoring-deployments.html
"""

import json
from typing import Any

from ministack.services import appconfig, cloudwatch

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.services.cloudwatch import alarm_evaluation
from local_cloud.services.stacks import cancel as stack_cancel

# AppConfig checks its monitors at least this often.
_MONITOR_SECONDS = 30.0
_IN_PROGRESS = ("DEPLOYING", "BAKING")


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    """Start the deployment and wait until its bake is over; a rollback by the monitor is a failure.

    Where the update is cancelled meanwhile, the deployment is left as it is: it bakes on, and may complete.
    """
    application, environment = properties["ApplicationId"], properties["EnvironmentId"]
    status, _, body = appconfig._start_deployment(application, environment, properties)
    answer = json.loads(body)
    if status >= 400:
        raise ValueError(answer.get("Message") or answer.get("message") or str(answer))
    number = answer["DeploymentNumber"]
    resource = f"{application}/{environment}/{number}"
    event_log.record("ConfigurationDeploying", resource, version=properties.get("ConfigurationVersion"))
    while (record := _refreshed(application, environment, number))["State"] in _IN_PROGRESS:
        if stack_cancel.leaves(stack_name):
            stack_cancel.leave(stack_name, logical_id)
            event_log.record("ConfigurationLeft", resource, state=record["State"])
            return str(number), {"DeploymentNumber": number, "State": record["State"]}
        moment = min(clock.now() + _MONITOR_SECONDS, _complete_at(record))
        if clock.skips_waits:
            record["_SkippedSeconds"] = record.get("_SkippedSeconds", 0.0) + max(0.0, moment - clock.now())
        else:
            clock.wait_towards(moment)
    event_log.record(f"Configuration{record['State'].title().replace('_', '')}", resource)
    if record["State"] != "COMPLETE":
        raise ValueError(f"Deployment {number} of environment {environment} ended {record['State']}: {_why(record)}")
    return str(number), {"DeploymentNumber": number, "State": record["State"]}


def stop(application: str, environment: str, number: int, *rest: Any) -> Any:
    """StopDeployment; the event log records that it put routes back."""
    answer = _ministack_stop(application, environment, number, *rest)
    if answer[0] < 300:
        event_log.record("RoutesTakenBack", f"{application}/{environment}/{number}")
    return answer


def advance(record: dict[str, Any], now: float) -> None:
    """Bring a deployment up to now. A skipped wait counts as waited; events are dated now at the latest."""
    events = len(record.get("_Events", []))
    _ministack_advance(record, now + record.get("_SkippedSeconds", 0.0))
    for event in record.get("_Events", [])[events:]:
        event["OccurredAt"] = _not_after(event["OccurredAt"], now)
    if "CompletedAt" in record:
        record["CompletedAt"] = _not_after(record["CompletedAt"], now)
        record["_CompletedEpoch"] = min(record["_CompletedEpoch"], now)


def delete(physical_id: str, properties: dict[str, Any]) -> None:
    """StopDeployment acts only while DEPLOYING; a deployment that is over stays in the history."""
    application, environment = properties["ApplicationId"], properties["EnvironmentId"]
    record = _refreshed(application, environment, int(physical_id))
    if record.get("State") == "DEPLOYING":
        appconfig._stop_deployment(application, environment, int(physical_id))
        event_log.record("ConfigurationStopped", f"{application}/{environment}/{physical_id}")


def first_monitor_alarm(application: str, environment: str, start: float, end: float) -> tuple[str, float] | None:
    """(alarm ARN, moment) of the first monitor that was in ALARM or INSUFFICIENT_DATA between the two."""
    monitors = (appconfig._environments.get(f"{application}/{environment}") or {}).get("Monitors") or []
    fired = []
    for arn in (monitor["AlarmArn"] for monitor in monitors):
        name = arn.split(":alarm:")[-1]
        alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name)
        if alarm is None or not alarm.get("ActionsEnabled", True):
            continue
        alarm_evaluation.state_of(name)
        if (moment := _first_bad_moment(alarm, start, end)) is not None:
            fired.append((moment, arn))
    if not fired:
        return None
    moment, arn = min(fired)
    return arn, moment


def _first_bad_moment(alarm: dict[str, Any], start: float, end: float) -> float | None:
    """From the alarm's history, whose moments are whole seconds."""
    state, bad = alarm["StateValue"], ("ALARM", "INSUFFICIENT_DATA")
    changes = []
    for entry in cloudwatch._history_entries():
        if entry["AlarmName"] == alarm["AlarmName"] and entry["HistoryItemType"] == "StateUpdate":
            data = json.loads(entry["HistoryData"])
            moment = cloudwatch._parse_ts(entry["Timestamp"])
            changes.append((moment, data["oldState"]["stateValue"], data["newState"]["stateValue"]))
    changes.sort(key=lambda change: change[0])
    if changes:
        state = changes[0][1]
    for moment, _, new in changes:
        if moment > start:
            break
        state = new
    if state in bad:
        return start
    return next((moment for moment, _, new in changes if start < moment <= end and new in bad), None)


def _refreshed(application: str, environment: str, number: int) -> dict[str, Any]:
    appconfig._refresh_environment(application, environment)
    record: dict[str, Any] = appconfig._deployments.get(f"{application}/{environment}/{number}") or {}
    return record


def _complete_at(record: dict[str, Any]) -> float:
    minutes = float(record["DeploymentDurationInMinutes"]) + float(record["FinalBakeTimeInMinutes"])
    skipped = record.get("_SkippedSeconds", 0.0)
    return float(record["_StartedEpoch"] + minutes * appconfig._DEPLOYMENT_MINUTE_SECONDS - skipped)


def _not_after(moment: str, now: float) -> str:
    return str(appconfig._iso(min(cloudwatch._parse_ts(moment), now)))


def _why(record: dict[str, Any]) -> str:
    return next((e["Description"] for e in record.get("_Events", []) if e["EventType"] == "ROLLBACK_STARTED"), "")


_ministack_advance = appconfig._advance_deployment
_ministack_stop = appconfig._stop_deployment
