"""How tierfleet builds an alarm: who is told, what it says, and what missing data means, always stated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib.metric import Metric

Comparison = Literal[
    "GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"
]


@dataclass(frozen=True)
class AlarmAudience:
    """Who is told, and where the runbook stands."""

    topic_arn: str
    runbook_url: str

    def description(self, meaning: str, section: str) -> str:
        """What the alarm means and what to do, with the runbook's section."""
        return f"{meaning} What to do: {self.runbook_url}#{section}"


def metric_alarm(
    scope: Construct,
    construct_id: str,
    *,
    metric: Metric,
    comparison: Comparison,
    threshold: float,
    period_seconds: int,
    datapoints: tuple[int, int],
    missing: Literal["notBreaching", "missing"],
    description: str,
    actions: Sequence[str],
    ok_actions: Sequence[str] = (),
    name: str | None = None,
) -> cloudwatch.CfnAlarm:
    """An alarm on one metric; `datapoints` = (that must breach, of those looked at)."""
    percentile = metric.statistic.startswith("p")
    return cloudwatch.CfnAlarm(
        scope,
        construct_id,
        alarm_name=name,
        alarm_description=description,
        namespace=metric.namespace,
        metric_name=metric.name,
        dimensions=metric.dimension_properties,
        statistic=None if percentile else metric.statistic,
        extended_statistic=metric.statistic if percentile else None,
        # "ignore" would leave a p99 alarm as it is below 1,000 calls, and with it the guardrail of a calm whale.
        evaluate_low_sample_count_percentile="evaluate" if percentile else None,
        period=period_seconds,
        comparison_operator=comparison,
        threshold=threshold,
        datapoints_to_alarm=datapoints[0],
        evaluation_periods=datapoints[1],
        treat_missing_data=missing,
        alarm_actions=list(actions),
        ok_actions=list(ok_actions),
    )


def expression_alarm(
    scope: Construct,
    construct_id: str,
    *,
    expression: str,
    label: str,
    inputs: dict[str, Metric],
    comparison: Comparison,
    threshold: float,
    period_seconds: int,
    datapoints: tuple[int, int],
    description: str,
    actions: Sequence[str],
    ok_actions: Sequence[str] = (),
    name: str | None = None,
) -> cloudwatch.CfnAlarm:
    """An alarm on metric math over `inputs`, by the names the expression uses. Missing data does not breach."""
    result = cloudwatch.CfnAlarm.MetricDataQueryProperty(
        id="result", expression=expression, label=label, return_data=True
    )
    return cloudwatch.CfnAlarm(
        scope,
        construct_id,
        alarm_name=name,
        alarm_description=description,
        metrics=[result, *(metric.query(key, period_seconds) for key, metric in inputs.items())],
        comparison_operator=comparison,
        threshold=threshold,
        datapoints_to_alarm=datapoints[0],
        evaluation_periods=datapoints[1],
        treat_missing_data="notBreaching",
        alarm_actions=list(actions),
        ok_actions=list(ok_actions),
    )
