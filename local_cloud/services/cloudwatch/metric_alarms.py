"""Metric alarms with metric math, through the API and through CloudFormation."""

from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services.cloudwatch import alarm_evaluation, metric_math

_CONFIGURATION = (
    "AlarmDescription",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Unit",
    "Metrics",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "AlarmActions",
    "OKActions",
    "InsufficientDataActions",
)
_WHOLE_NUMBERS = ("Period", "EvaluationPeriods", "DatapointsToAlarm")


def put(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Create or overwrite an alarm as PutMetricAlarm does: an existing one keeps its state."""
    _check(name, request)
    now = int(clock.now())
    alarm = {
        "AlarmName": name,
        "AlarmArn": f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}",
        "StateValue": "INSUFFICIENT_DATA",
        "StateReason": "Unchecked: Initial alarm creation",
        "StateUpdatedTimestamp": now,
        "AlarmActions": [],
        "OKActions": [],
        "InsufficientDataActions": [],
        "Dimensions": [],
        "TreatMissingData": "missing",
        **{key: request[key] for key in _CONFIGURATION if request.get(key) is not None},
        **{key: int(request[key]) for key in _WHOLE_NUMBERS if request.get(key) is not None},
        "Threshold": float(request["Threshold"]),
        "ComparisonOperator": request["ComparisonOperator"],
        "ActionsEnabled": str(request.get("ActionsEnabled", True)).lower() == "true",
        "AlarmConfigurationUpdatedTimestamp": now,
    }
    previous = cloudwatch._alarms.get(name)
    if previous is not None:
        alarm.update({k: previous[k] for k in ("StateValue", "StateReason", "StateUpdatedTimestamp")})
    cloudwatch.cloudformation_put_metric_alarm(alarm)
    return alarm


def handle_put(params: Any, request: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """PutMetricAlarm on the wire. boto3 speaks CBOR; the old Query protocol stays ministack's."""
    if not (is_cbor or is_json):
        return _ministack_put(params, request, is_cbor, is_json)
    try:
        alarm = put(request["AlarmName"], request)
    except ServiceError as error:
        return cloudwatch._error(error.code, error.message, error.status, use_json=is_json, use_cbor=is_cbor)
    if request.get("Tags"):
        cloudwatch.cloudformation_set_metric_alarm_tags(alarm["AlarmName"], request["Tags"])
    return cloudwatch._cbor_ok({}) if is_cbor else cloudwatch._json_ok({})


def handle_set_state(params: Any, request: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """SetAlarmState: the forced state holds until the next evaluation."""
    response = _ministack_set_state(params, request, is_cbor, is_json)
    name = request.get("AlarmName") if is_cbor or is_json else cloudwatch._p(params, "AlarmName")
    if (alarm := cloudwatch._alarms.get(name)) is not None:
        alarm["_forced_until"] = clock.now() + alarm_evaluation.FORCED_STATE_SECONDS
    return response


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
    name = properties.get("AlarmName") or provisioners._physical_name(stack_name, logical_id, max_len=255)
    alarm = put(name, properties)
    cloudwatch.cloudformation_set_metric_alarm_tags(name, properties.get("Tags", []))
    return name, {"Arn": alarm["AlarmArn"]}


def update(physical_id: str, _old: dict[str, Any], new: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
    alarm = put(physical_id, new)
    cloudwatch.cloudformation_set_metric_alarm_tags(physical_id, new.get("Tags", []))
    return physical_id, {"Arn": alarm["AlarmArn"]}


def delete(physical_id: str, _properties: dict[str, Any]) -> None:
    cloudwatch.cloudformation_delete_metric_alarm(physical_id, refuse_dependents=True)


def _check(name: str, request: dict[str, Any]) -> None:
    if request["ComparisonOperator"] not in alarm_evaluation._COMPARE:
        raise ServiceError(
            "ValidationError",
            f"alarm {name}: the local emulator has no {request['ComparisonOperator']} (anomaly detection)",
        )
    queries = request.get("Metrics")
    if not queries:
        if not request.get("MetricName") or not request.get("Namespace"):
            raise ServiceError("ValidationError", f"alarm {name}: MetricName and Namespace, or Metrics, are required")
        return
    if sum(bool(query.get("ReturnData", True)) for query in queries) != 1:
        raise ServiceError("ValidationError", "Exactly one element of the metrics list should return data.")
    ids = {query["Id"] for query in queries}
    for query in queries:
        if "Expression" in query:
            try:
                metric_math.check(query["Expression"], ids)
            except metric_math.UnsupportedExpressionError as error:
                raise ServiceError("ValidationError", f"alarm {name}: {error}") from None


_ministack_put = cloudwatch._put_metric_alarm
_ministack_set_state = cloudwatch._set_alarm_state
