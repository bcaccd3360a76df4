"""How tierfleet builds an alarm: what it watches, when it goes off, who is told and what the message says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib.metric import Metric

Comparison = Literal[
    "GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"
]


@dataclass(frozen=True)
class AlarmAudience:
    """Who is told about an alarm."""

    topic_arn: str
    """ARN of the SNS topic."""
    runbook_url: str
    """Where docs/runbook.md is published."""

    def description(self, meaning: str, section: str) -> str:
        """What the alarm means and what to do, with the runbook's section."""
        return f"{meaning} What to do: {self.runbook_url}#{section}"


@dataclass(frozen=True)
class MetricMath:
    """Metric math over several metrics, such as `errors / invocations`."""

    expression: str
    """CloudWatch metric math over the names in `inputs`."""
    label: str
    """What the result is called in a graph."""
    inputs: Mapping[str, Metric]
    """The metrics by the names that the expression uses."""


@dataclass(frozen=True, kw_only=True)
class AlarmSpec:
    """One alarm, as data.

    `AlarmSpec(id="Memory", watches=metrics.memory, threshold=95, datapoints=(3, 3), period_seconds=300,
    missing="missing", meaning="The container may be killed.", section="memory")` goes off after 15 minutes above 95 %.
    """

    id: str
    """Construct id."""
    watches: Metric | MetricMath
    """The metric, or metric math over several."""
    threshold: float
    """In the unit of the metric."""
    comparison: Comparison = "GreaterThanThreshold"
    """How a datapoint that breaches compares with the threshold."""
    period_seconds: int
    """Length of a datapoint."""
    datapoints: tuple[int, int]
    """(datapoints that must breach, datapoints looked at)."""
    missing: Literal["notBreaching", "missing"] = "notBreaching"
    """How a period without data counts. Metric math always says notBreaching."""
    meaning: str
    """One sentence for the person who is woken: what is wrong."""
    section: str
    """Anchor of the runbook's section."""
    name: str | None = None
    """Physical name; None leaves it to CloudFormation."""


def add_alarm(
    scope: Construct, spec: AlarmSpec, audience: AlarmAudience, *, actions: Sequence[str] | None = None
) -> cloudwatch.CfnAlarm:
    """Defines the alarm below `scope`.

    Without `actions` it tells the audience's topic when it starts and when it ends. With `actions` (ARNs, or none) it
    triggers these when it starts and nothing else.
    """
    told = [audience.topic_arn]
    return cloudwatch.CfnAlarm(
        scope,
        spec.id,
        alarm_name=spec.name,
        alarm_description=audience.description(spec.meaning, spec.section),
        comparison_operator=spec.comparison,
        threshold=spec.threshold,
        datapoints_to_alarm=spec.datapoints[0],
        evaluation_periods=spec.datapoints[1],
        treat_missing_data=spec.missing,
        alarm_actions=told if actions is None else list(actions),
        # Who was woken must also hear that it is over.
        ok_actions=told if actions is None else [],
        **_watched(spec.watches, spec.period_seconds),
    )


def add_alarms(
    scope: Construct, specs: Sequence[AlarmSpec], audience: AlarmAudience, *, actions: Sequence[str] | None = None
) -> list[cloudwatch.CfnAlarm]:
    """Defines each alarm of a table, in its order, as `add_alarm` does."""
    return [add_alarm(scope, spec, audience, actions=actions) for spec in specs]


def _watched(watches: Metric | MetricMath, period_seconds: int) -> dict[str, Any]:
    """The arguments of CfnAlarm for what the alarm watches."""
    if isinstance(watches, MetricMath):
        result = cloudwatch.CfnAlarm.MetricDataQueryProperty(
            id="result", expression=watches.expression, label=watches.label, return_data=True
        )
        return {"metrics": [result, *(metric.query(key, period_seconds) for key, metric in watches.inputs.items())]}
    percentile = watches.statistic.startswith("p")
    return {
        "namespace": watches.namespace,
        "metric_name": watches.name,
        "dimensions": watches.dimension_properties,
        "statistic": None if percentile else watches.statistic,
        "extended_statistic": watches.statistic if percentile else None,
        # "ignore" would keep a p99 alarm in its state below 1,000 calls, and block the guardrail of a quiet endpoint.
        "evaluate_low_sample_count_percentile": "evaluate" if percentile else None,
        "period": period_seconds,
    }
