"""One CloudWatch metric, as an alarm's input and as a dashboard's row."""

from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch

from tierfleet.config import FleetConfig
from tierfleet.runtime import metrics


@dataclass(frozen=True)
class Metric:
    """A metric under one statistic.

    `Metric("AWS/SageMaker", "Invocations", "Sum", (("EndpointName", "a"), ("VariantName", "AllTraffic")))`
    """

    namespace: str
    """CloudWatch's namespace. A wrong one reads as no data."""
    name: str
    """CloudWatch's MetricName."""
    statistic: str
    """Sum, SampleCount, Average, Minimum, Maximum, or a percentile such as p99."""
    dimensions: tuple[tuple[str, str], ...]
    """(name, value) of every dimension that the metric is published with."""

    @property
    def dimension_properties(self) -> list[cloudwatch.CfnAlarm.DimensionProperty]:
        """The dimensions as an alarm takes them."""
        return [cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value) for name, value in self.dimensions]

    def query(self, query_id: str, period_seconds: int) -> cloudwatch.CfnAlarm.MetricDataQueryProperty:
        """This metric as an input of metric math, under the name `query_id`."""
        return cloudwatch.CfnAlarm.MetricDataQueryProperty(
            id=query_id,
            return_data=False,
            metric_stat=cloudwatch.CfnAlarm.MetricStatProperty(
                metric=cloudwatch.CfnAlarm.MetricProperty(
                    namespace=self.namespace, metric_name=self.name, dimensions=self.dimension_properties
                ),
                period=period_seconds,
                stat=self.statistic,
            ),
        )

    def row(self, **options: Any) -> list[Any]:
        """This metric as a row of a dashboard widget.

        Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
        """
        pairs = [part for pair in self.dimensions for part in pair]
        return [self.namespace, self.name, *pairs, {"stat": self.statistic, **options}]


def fleet_metric(config: FleetConfig, name: str) -> Metric:
    """The sum of a metric that clients or the warm-up publish for a whole fleet (embedded metric format)."""
    return Metric(metrics.NAMESPACE, name, "Sum", (("Fleet", config.fleet), ("Environment", config.environment)))


def function_metric(function_name: str, name: str) -> Metric:
    """The sum of one of Lambda's own metrics, such as Errors or Invocations."""
    return Metric("AWS/Lambda", name, "Sum", (("FunctionName", function_name),))


def rule_metric(rule_name: str, name: str) -> Metric:
    """The sum of one of EventBridge's metrics of a rule, such as FailedInvocations: events that no target accepted.

    Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    """
    return Metric("AWS/Events", name, "Sum", (("RuleName", rule_name),))


def schedule_group_metric(group_name: str, name: str) -> Metric:
    """The sum of one of EventBridge Scheduler's metrics, such as InvocationDroppedCount: events never delivered.

    Source: docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html
    """
    return Metric("AWS/Scheduler", name, "Sum", (("ScheduleGroup", group_name),))
