"""When an endpoint is bad."""

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib.alarms import AlarmAudience, expression_alarm, metric_alarm
from constructs_lib.endpoint_metrics import (
    MICROSECONDS_PER_MILLISECOND,
    MICROSECONDS_PER_SECOND,
    EndpointMetrics,
)
from tierfleet.config import Tier
from tierfleet.config.guardrail_time import ROLLBACK_DATAPOINTS, ROLLBACK_PERIOD_SECONDS
from tierfleet.config.model import DedicatedAlarmLimits, EndpointAlarmLimits, MultiModelAlarmLimits

FIVE_MINUTES = 300
ONE_HOUR = 3600


def server_errors_alarm(
    scope: Construct, metrics: EndpointMetrics, limits: EndpointAlarmLimits, audience: AlarmAudience
) -> cloudwatch.CfnAlarm:
    """5XX ratio. A literal name, since it must exist before the endpoint whose rollback it triggers."""
    return expression_alarm(
        scope,
        "ServerErrors",
        name=metrics.alarm_name("server-errors"),
        expression=f"IF(invocations >= {limits.min_requests / 5:.12g}, errors / invocations, 0)",
        label="5XX ratio",
        inputs={"errors": metrics.errors_5xx, "invocations": metrics.invocations},
        comparison="GreaterThanThreshold",
        threshold=limits.max_5xx_ratio,
        period_seconds=ROLLBACK_PERIOD_SECONDS,
        datapoints=ROLLBACK_DATAPOINTS,
        description=audience.description(
            f"More than {100 * limits.max_5xx_ratio:g} % of the calls fail with 5XX in three of five minutes.",
            "server-errors",
        ),
        actions=[audience.topic_arn],
        ok_actions=[audience.topic_arn],
    )


def latency_alarm(
    scope: Construct, metrics: EndpointMetrics, limits: DedicatedAlarmLimits, audience: AlarmAudience
) -> cloudwatch.CfnAlarm:
    """ModelLatency p99 of a whale. A literal name, since it must exist before the endpoint."""
    limit = limits.max_model_latency_p99_milliseconds
    return metric_alarm(
        scope,
        "ModelLatency",
        name=metrics.alarm_name("model-latency"),
        metric=metrics.latency_p99,
        comparison="GreaterThanThreshold",
        threshold=limit * MICROSECONDS_PER_MILLISECOND,
        period_seconds=ROLLBACK_PERIOD_SECONDS,
        datapoints=ROLLBACK_DATAPOINTS,
        missing="notBreaching",
        description=audience.description(
            f"ModelLatency p99 is above {limit:g} ms in three of five minutes.", "model-latency"
        ),
        actions=[audience.topic_arn],
        ok_actions=[audience.topic_arn],
    )


class EndpointAlarms(Construct):
    """What every endpoint is watched for once it exists: 4XX, memory, disk, and load beyond the scaling target.

    Defines AWS::CloudWatch::Alarm.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        metrics: EndpointMetrics,
        tier: Tier,
        limits: EndpointAlarmLimits,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        topic = [audience.topic_arn]
        expression_alarm(
            self,
            "ClientErrors",
            name=metrics.alarm_name("client-errors"),
            expression=f"IF(invocations >= {limits.min_requests}, errors / invocations, 0)",
            label="4XX ratio",
            inputs={"errors": metrics.errors_4xx, "invocations": metrics.invocations},
            comparison="GreaterThanThreshold",
            threshold=limits.max_4xx_ratio,
            period_seconds=FIVE_MINUTES,
            datapoints=(2, 2),
            description=audience.description(
                f"More than {100 * limits.max_4xx_ratio:g} % of the calls are refused with 4XX.", "client-errors"
            ),
            actions=topic,
            ok_actions=topic,
        )
        metric_alarm(
            self,
            "Memory",
            name=metrics.alarm_name("memory"),
            metric=metrics.memory,
            comparison="GreaterThanThreshold",
            threshold=limits.max_memory_percent,
            period_seconds=FIVE_MINUTES,
            datapoints=(3, 3),
            missing="missing",
            description=audience.description(
                f"MemoryUtilization is above {limits.max_memory_percent:g} %: the container may be killed.",
                "memory",
            ),
            actions=topic,
            ok_actions=topic,
        )
        metric_alarm(
            self,
            "Disk",
            name=metrics.alarm_name("disk"),
            metric=metrics.disk,
            comparison="GreaterThanThreshold",
            threshold=limits.max_disk_percent,
            period_seconds=FIVE_MINUTES,
            datapoints=(3, 3),
            missing="missing",
            description=audience.description(
                f"DiskUtilization is above {limits.max_disk_percent:g} %: models are fetched from S3 again.",
                "disk",
            ),
            actions=topic,
            ok_actions=topic,
        )
        target = tier.scaling.target_invocations_per_minute
        metric_alarm(
            self,
            "AboveScalingTarget",
            name=metrics.alarm_name("above-scaling-target"),
            metric=metrics.invocations_per_instance,
            comparison="GreaterThanThreshold",
            threshold=1.2 * target,
            period_seconds=60,
            datapoints=(15, 15),
            missing="notBreaching",
            description=audience.description(
                f"InvocationsPerInstance is 20 % above the scaling target ({target:g} a minute) for 15 minutes: "
                "scaling is blocked, by a quota or instances.max.",
                "above-scaling-target",
            ),
            actions=topic,
            ok_actions=topic,
        )


class CacheAlarms(Construct):
    """What the model cache of a multi-model endpoint is watched for: hit ratio, loading wait, churn.

    Defines AWS::CloudWatch::Alarm without actions of their own, and one AWS::CloudWatch::CompositeAlarm that tells
    the topic; it keeps silent while a warm-up runs, since a warm-up is a burst of misses.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        metrics: EndpointMetrics,
        limits: MultiModelAlarmLimits,
        audience: AlarmAudience,
        warm_up_running_alarm_arn: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        hit_ratio = expression_alarm(
            self,
            "CacheHitRatio",
            name=metrics.alarm_name("cache-hit-ratio"),
            expression=f"IF(lookups >= {limits.min_requests}, hits / lookups, 1)",
            label="ModelCacheHit ratio",
            inputs={"hits": metrics.cache_hits, "lookups": metrics.cache_lookups},
            comparison="LessThanThreshold",
            threshold=limits.min_cache_hit_ratio,
            period_seconds=FIVE_MINUTES,
            datapoints=(3, 3),
            description=audience.description(
                f"Fewer than {100 * limits.min_cache_hit_ratio:g} % of the calls find their model in memory.",
                "cache-degraded",
            ),
            actions=[],
        )
        loading_wait = metric_alarm(
            self,
            "LoadingWait",
            name=metrics.alarm_name("loading-wait"),
            metric=metrics.longest_loading_wait,
            comparison="GreaterThanThreshold",
            threshold=limits.max_loading_wait_seconds * MICROSECONDS_PER_SECOND,
            period_seconds=FIVE_MINUTES,
            datapoints=(3, 3),
            missing="notBreaching",
            description=audience.description(
                f"Some caller waits more than {limits.max_loading_wait_seconds:g} s for a model to load.",
                "cache-degraded",
            ),
            actions=[],
        )
        churn = metric_alarm(
            self,
            "ModelChurn",
            name=metrics.alarm_name("model-churn"),
            metric=metrics.unloads,
            comparison="GreaterThanThreshold",
            threshold=limits.max_unloads_per_hour,
            period_seconds=ONE_HOUR,
            datapoints=(1, 1),
            missing="notBreaching",
            description=audience.description(
                f"More than {limits.max_unloads_per_hour} models were unloaded within the hour: the cache thrashes.",
                "cache-degraded",
            ),
            actions=[],
        )
        alarms = (hit_ratio, loading_wait, churn)
        suppressor = warm_up_running_alarm_arn
        self.composite_arn = cloudwatch.CfnCompositeAlarm(
            self,
            "CacheDegraded",
            alarm_name=metrics.alarm_name("cache-degraded"),
            alarm_description=audience.description(
                "The model cache does not hold what its callers ask for.", "cache-degraded"
            ),
            alarm_rule=" OR ".join(f'ALARM("{alarm.attr_arn}")' for alarm in alarms),
            alarm_actions=[audience.topic_arn],
            ok_actions=[audience.topic_arn],
            actions_suppressor=suppressor,
            actions_suppressor_wait_period=60 if suppressor else None,
            actions_suppressor_extension_period=3 * FIVE_MINUTES if suppressor else None,
        ).attr_arn
