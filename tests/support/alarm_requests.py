"""Alarms, as tests put them."""

from typing import Any

from local_cloud.testing.account import Account


def put_alarm(account: Account, name: str = "errors", **properties: Any) -> None:
    defaults: dict[str, Any] = {
        "Namespace": "Test",
        "MetricName": "Errors",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 5,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    if "Metrics" in properties:
        for single in ("Namespace", "MetricName", "Statistic", "Period"):
            del defaults[single]
    account.client("cloudwatch").put_metric_alarm(AlarmName=name, **{**defaults, **properties})


def put_composite(account: Account, rule: str, **properties: Any) -> None:
    account.client("cloudwatch").put_composite_alarm(AlarmName="any", AlarmRule=rule, **properties)
