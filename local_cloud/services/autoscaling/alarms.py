"""The CloudWatch alarms Application Auto Scaling makes for a target-tracking policy.

https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

import uuid
from typing import Any

from ministack.services import cloudwatch

from local_cloud.core.errors import ServiceError
from local_cloud.services.cloudwatch import metric_alarms

# Metric name and statistic of a predefined metric, per variant.
_PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum"),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", "Maximum"),
}


def create(policy: dict[str, Any]) -> list[dict[str, str]]:
    """AlarmHigh and, unless scale-in is disabled, AlarmLow; named TargetTracking-<resource>-<kind>-<uuid>."""
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    target = float(configuration["TargetValue"])
    kinds: dict[str, dict[str, Any]] = {
        "AlarmHigh": {
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": target,
            "EvaluationPeriods": 3,
        }
    }
    if not configuration.get("DisableScaleIn"):
        # The 10 % gap below the target keeps the fleet from oscillating.
        kinds["AlarmLow"] = {
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": target * 0.9,
            "EvaluationPeriods": 15,
        }
    metric = _metric(policy)
    created = []
    for kind, condition in kinds.items():
        name = f"TargetTracking-{policy['ResourceId']}-{kind}-{uuid.uuid4()}"
        alarm = metric_alarms.put(name, {**metric, **condition, "Period": 60, "AlarmActions": [policy["PolicyARN"]]})
        created.append({"AlarmName": name, "AlarmARN": alarm["AlarmArn"]})
    return created


def delete(alarms: list[dict[str, str]]) -> None:
    for alarm in alarms:
        cloudwatch.cloudformation_delete_metric_alarm(alarm["AlarmName"])


def acting_on(policy_arn: str) -> list[dict[str, str]]:
    """The alarms a user attached to a step-scaling policy."""
    return [
        {"AlarmName": alarm["AlarmName"], "AlarmARN": alarm["AlarmArn"]}
        for alarm in cloudwatch._alarms.values()
        if policy_arn in alarm.get("AlarmActions", [])
    ]


def _metric(policy: dict[str, Any]) -> dict[str, Any]:
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    if custom := configuration.get("CustomizedMetricSpecification"):
        if "Metrics" in custom:
            return {"Metrics": custom["Metrics"]}
        return {k: custom[k] for k in ("Namespace", "MetricName", "Statistic", "Dimensions", "Unit") if k in custom}
    kind = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"]
    if kind not in _PREDEFINED:
        raise ServiceError("ValidationException", f"Unsupported predefined metric for a SageMaker variant: {kind}")
    metric_name, statistic = _PREDEFINED[kind]
    _, endpoint_name, _, variant_name = policy["ResourceId"].split("/")
    return {
        "Namespace": "AWS/SageMaker",
        "MetricName": metric_name,
        "Statistic": statistic,
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint_name},
            {"Name": "VariantName", "Value": variant_name},
        ],
    }
