"""Application Auto Scaling of an asynchronous endpoint: with its queue, down to no instance and back."""

from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib.alarms import AlarmAudience, AlarmSpec, add_alarm
from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.variant_scaling import scalable_target
from tierfleet.config.hosting.asynchronous import AsyncTier

_RUNBOOK_SECTION = "asynchronous-endpoint"
_Policy = autoscaling.CfnScalingPolicy


class QueueScaling(Construct):
    """Scales a variant with the backlog of each instance, and wakes it up from 0.

    `backlog_size_per_instance = 5` tracks ApproximateBacklogSizePerInstance at 5. Target tracking cannot leave 0, where
    no instance publishes that quotient, so an alarm on HasBacklogWithoutCapacity adds the first one. It never removes
    one: the metric is 0 as soon as an instance takes the request, while that request still runs.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html

    Defines AWS::ApplicationAutoScaling::ScalableTarget, two ScalingPolicy and the alarm that wakes it up.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: sagemaker.CfnEndpoint,
        metrics: EndpointMetrics,
        tier: AsyncTier,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        target = scalable_target(self, endpoint=endpoint, tier=tier)
        backlog = metrics.metric("ApproximateBacklogSizePerInstance", "Average")
        _Policy(
            self,
            "Backlog",
            policy_name="backlog",
            policy_type="TargetTrackingScaling",
            scaling_target_id=target.ref,
            target_tracking_scaling_policy_configuration=_Policy.TargetTrackingScalingPolicyConfigurationProperty(
                # Application Auto Scaling has no predefined metric for the queue of an asynchronous endpoint.
                customized_metric_specification=_Policy.CustomizedMetricSpecificationProperty(
                    namespace=backlog.namespace,
                    metric_name=backlog.name,
                    statistic=backlog.statistic,
                    dimensions=[
                        _Policy.MetricDimensionProperty(name=name, value=value) for name, value in backlog.dimensions
                    ],
                ),
                target_value=tier.scaling.backlog_size_per_instance,
                scale_out_cooldown=tier.scaling.scale_out_cooldown_seconds,
                scale_in_cooldown=tier.scaling.scale_in_cooldown_seconds,
            ),
        )
        wake_up = _Policy(
            self,
            "WakeUp",
            policy_name="wake-up",
            policy_type="StepScaling",
            scaling_target_id=target.ref,
            step_scaling_policy_configuration=_Policy.StepScalingPolicyConfigurationProperty(
                # One instance is enough: once it is there, the backlog of each instance is published and tracking goes
                # on.
                adjustment_type="ChangeInCapacity",
                cooldown=tier.scaling.scale_out_cooldown_seconds,
                metric_aggregation_type="Average",
                step_adjustments=[_Policy.StepAdjustmentProperty(metric_interval_lower_bound=0, scaling_adjustment=1)],
            ),
        )
        waiting = AlarmSpec(
            id="Waiting",
            name=metrics.alarm_name("waiting"),
            watches=metrics.metric("HasBacklogWithoutCapacity", "Average"),
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            period_seconds=60,
            # The values of AWS's example, on the page above.
            datapoints=(2, 2),
            missing="missing",
            meaning="Requests wait and there is no instance: scaling adds one. Not an incident.",
            section=_RUNBOOK_SECTION,
        )
        add_alarm(self, waiting, audience, actions=[wake_up.ref])
