"""Application Auto Scaling of one endpoint's variant."""

from collections.abc import Sequence

from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib.alarms import AlarmAudience, AlarmSpec, MetricMath, add_alarm
from constructs_lib.endpoint_metrics import EndpointMetrics
from tierfleet.config import InstanceTier, ScaleOnCache, Tier
from tierfleet.config.published_metrics import published
from tierfleet.runtime.names import VARIANT_NAME

_QUARTER_HOUR = 900
_AdjustmentProperty = autoscaling.CfnScalingPolicy.StepAdjustmentProperty


def scalable_target(
    scope: Construct,
    *,
    endpoint: sagemaker.CfnEndpoint,
    tier: InstanceTier,
    scheduled_actions: Sequence[autoscaling.CfnScalableTarget.ScheduledActionProperty] | None = None,
) -> autoscaling.CfnScalableTarget:
    """The ScalableTarget of an endpoint's one variant, within the tier's bounds."""
    return autoscaling.CfnScalableTarget(
        scope,
        "Target",
        service_namespace="sagemaker",
        scalable_dimension="sagemaker:variant:DesiredInstanceCount",
        # The attribute, not the literal name: it makes CloudFormation delete the target before the endpoint.
        resource_id=f"endpoint/{endpoint.attr_endpoint_name}/variant/{VARIANT_NAME}",
        min_capacity=tier.instances.min,
        max_capacity=tier.instances.max,
        scheduled_actions=scheduled_actions,
    )


class VariantScaling(Construct):
    """Scales a variant on InvocationsPerInstance, by schedule and, for a multi-model endpoint, on cache unloads.

    `max_requests_per_second = 40` and `safety_factor = 0.5` become a target of 1,200 invocations a minute.

    Defines AWS::ApplicationAutoScaling::ScalableTarget and ScalingPolicy, and the alarms that drive step scaling. There
    is no RoleARN, because Application Auto Scaling uses its service-linked role.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: sagemaker.CfnEndpoint,
        metrics: EndpointMetrics,
        tier: Tier,
        scale_on_cache: ScaleOnCache | None,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        # Raises where the shape does not publish what target tracking follows.
        published(metrics.hosting, "InvocationsPerInstance", "Sum")
        self.target = scalable_target(
            self,
            endpoint=endpoint,
            tier=tier,
            scheduled_actions=[
                autoscaling.CfnScalableTarget.ScheduledActionProperty(
                    scheduled_action_name=name,
                    schedule=scheduled.schedule,
                    timezone=scheduled.timezone,
                    scalable_target_action=autoscaling.CfnScalableTarget.ScalableTargetActionProperty(
                        min_capacity=scheduled.min, max_capacity=scheduled.max
                    ),
                )
                # Sorted, so that another order in the fleet file changes no template.
                for name, scheduled in sorted(tier.scaling.schedules.items())
            ]
            or None,
        )
        autoscaling.CfnScalingPolicy(
            self,
            "Invocations",
            policy_name="invocations",
            policy_type="TargetTrackingScaling",
            scaling_target_id=self.target.ref,
            target_tracking_scaling_policy_configuration=(
                autoscaling.CfnScalingPolicy.TargetTrackingScalingPolicyConfigurationProperty(
                    predefined_metric_specification=(
                        autoscaling.CfnScalingPolicy.PredefinedMetricSpecificationProperty(
                            predefined_metric_type="SageMakerVariantInvocationsPerInstance"
                        )
                    ),
                    # The metric is a sum over a minute. A target meant per second would keep the fleet at its maximum.
                    target_value=tier.scaling.target_invocations_per_minute,
                    scale_out_cooldown=tier.scaling.scale_out_cooldown_seconds,
                    scale_in_cooldown=tier.scaling.scale_in_cooldown_seconds,
                    # Target tracking would remove within 15 minutes what the cache policy added.
                    disable_scale_in=scale_on_cache is not None,
                )
            ),
        )
        if scale_on_cache:
            self._scale_on_cache(metrics, tier, scale_on_cache, audience)

    def _scale_on_cache(
        self, metrics: EndpointMetrics, tier: Tier, scale_on_cache: ScaleOnCache, audience: AlarmAudience
    ) -> None:
        per_quarter_hour = scale_on_cache.max_unloads_per_hour / 4
        # Cache hits cannot drive target tracking: the metric would have to fall when an instance is added.
        thrashing = AlarmSpec(
            id="CacheThrashing",
            name=metrics.alarm_name("cache-thrashing"),
            watches=metrics.unloads,
            threshold=per_quarter_hour,
            period_seconds=_QUARTER_HOUR,
            datapoints=(2, 2),
            meaning=f"More than {scale_on_cache.max_unloads_per_hour} unloads an hour: scaling adds "
            f"{scale_on_cache.add_instances} instance(s).",
            section="cache-degraded",
        )
        calm = AlarmSpec(
            id="Calm",
            name=metrics.alarm_name("calm"),
            watches=MetricMath(
                # Below half the target, one instance fewer still stays below it, down to two instances.
                # FILL: a period without an unload has no datapoint.
                f"IF(invocations < {tier.scaling.target_invocations_per_minute * 15 / 2:.12g} "
                f"AND FILL(unloads, 0) <= {per_quarter_hour / 10:.12g}, 1, 0)",
                "calm",
                {"invocations": metrics.invocations_per_instance, "unloads": metrics.unloads},
            ),
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            period_seconds=_QUARTER_HOUR,
            datapoints=(4, 4),
            meaning="Little traffic and hardly an unload for an hour: scaling removes one instance, down to "
            "instances.min. Not an incident.",
            section="cache-degraded",
        )
        out = self._step("ScaleOutOnCache", scale_on_cache.add_instances, scale_on_cache)
        add_alarm(self, thrashing, audience, actions=[out])
        add_alarm(self, calm, audience, actions=[self._step("ScaleInOnCalm", -1, scale_on_cache)])

    def _step(self, construct_id: str, adjustment: int, scale_on_cache: ScaleOnCache) -> str:
        """Defines a step-scaling policy. Returns its ARN, for the alarm that triggers it."""
        policy = autoscaling.CfnScalingPolicy(
            self,
            construct_id,
            policy_name="scale-out-on-cache" if adjustment > 0 else "scale-in-on-calm",
            policy_type="StepScaling",
            scaling_target_id=self.target.ref,
            step_scaling_policy_configuration=(
                autoscaling.CfnScalingPolicy.StepScalingPolicyConfigurationProperty(
                    adjustment_type="ChangeInCapacity",
                    cooldown=scale_on_cache.cooldown_seconds,
                    metric_aggregation_type="Maximum",
                    step_adjustments=[
                        _AdjustmentProperty(metric_interval_lower_bound=0, scaling_adjustment=adjustment)
                    ],
                )
            ),
        )
        return policy.ref
