"""When an endpoint is bad: the alarms of endpoints with instances, as tables of specs."""

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib.alarms import AlarmAudience, AlarmSpec, MetricMath, add_alarms
from constructs_lib.endpoint_metrics import (
    MICROSECONDS_PER_MILLISECOND,
    MICROSECONDS_PER_SECOND,
    EndpointMetrics,
)
from tierfleet.config import Tier
from tierfleet.config.guardrail_time import ROLLBACK_DATAPOINTS, ROLLBACK_PERIOD_SECONDS
from tierfleet.config.hosting.dedicated import DedicatedAlarmLimits
from tierfleet.config.hosting.multi_model import MultiModelAlarmLimits
from tierfleet.config.section import ErrorLimits

FIVE_MINUTES = 300
ONE_HOUR = 3600


def server_errors(metrics: EndpointMetrics, limits: ErrorLimits) -> AlarmSpec:
    """The ratio of 5XX. It has a literal name, since it must exist before the endpoint that it may roll back."""
    return AlarmSpec(
        id="ServerErrors",
        name=metrics.alarm_name("server-errors"),
        watches=MetricMath(
            # min_requests is for five minutes, and this alarm looks each minute. Few calls make any ratio.
            f"IF(invocations >= {limits.min_requests / 5:.12g}, errors / invocations, 0)",
            "5XX ratio",
            {"errors": metrics.errors_5xx, "invocations": metrics.invocations},
        ),
        threshold=limits.max_5xx_ratio,
        period_seconds=ROLLBACK_PERIOD_SECONDS,
        datapoints=ROLLBACK_DATAPOINTS,
        meaning=f"More than {100 * limits.max_5xx_ratio:g} % of the calls fail with 5XX in three of five minutes.",
        section="server-errors",
    )


def client_errors(metrics: EndpointMetrics, limits: ErrorLimits) -> AlarmSpec:
    """The ratio of 4XX."""
    return AlarmSpec(
        # Callers' own mistakes: it looks less often than the alarm on 5XX, and rolls nothing back.
        id="ClientErrors",
        name=metrics.alarm_name("client-errors"),
        watches=MetricMath(
            f"IF(invocations >= {limits.min_requests}, errors / invocations, 0)",
            "4XX ratio",
            {"errors": metrics.errors_4xx, "invocations": metrics.invocations},
        ),
        threshold=limits.max_4xx_ratio,
        period_seconds=FIVE_MINUTES,
        datapoints=(2, 2),
        meaning=f"More than {100 * limits.max_4xx_ratio:g} % of the calls are refused with 4XX.",
        section="client-errors",
    )


def model_latency(metrics: EndpointMetrics, limit_milliseconds: float) -> AlarmSpec:
    """ModelLatency p99 of one tenant's endpoint. It has a literal name, since it must exist before the endpoint."""
    return AlarmSpec(
        id="ModelLatency",
        name=metrics.alarm_name("model-latency"),
        watches=metrics.latency_p99,
        threshold=limit_milliseconds * MICROSECONDS_PER_MILLISECOND,
        period_seconds=ROLLBACK_PERIOD_SECONDS,
        datapoints=ROLLBACK_DATAPOINTS,
        meaning=f"ModelLatency p99 is above {limit_milliseconds:g} ms in three of five minutes.",
        section="model-latency",
    )


def memory(metrics: EndpointMetrics, limit_percent: float) -> AlarmSpec:
    """MemoryUtilization, before the container is killed."""
    return AlarmSpec(
        # A full cache is the normal state of a multi-model endpoint, so the limit is close to what kills the container.
        id="Memory",
        name=metrics.alarm_name("memory"),
        watches=metrics.memory,
        threshold=limit_percent,
        period_seconds=FIVE_MINUTES,
        datapoints=(3, 3),
        # Instances always report it: silence is no good news, and shows as INSUFFICIENT_DATA.
        missing="missing",
        meaning=f"MemoryUtilization is above {limit_percent:g} %: the container may be killed.",
        section="memory",
    )


def disk(metrics: EndpointMetrics, limit_percent: float) -> AlarmSpec:
    """DiskUtilization."""
    return AlarmSpec(
        id="Disk",
        name=metrics.alarm_name("disk"),
        watches=metrics.disk,
        threshold=limit_percent,
        period_seconds=FIVE_MINUTES,
        datapoints=(3, 3),
        missing="missing",
        meaning=f"DiskUtilization is above {limit_percent:g} %: models are fetched from S3 again.",
        section="disk",
    )


def dedicated_rollback_alarms(metrics: EndpointMetrics, limits: DedicatedAlarmLimits) -> list[AlarmSpec]:
    """What rolls an update of a dedicated endpoint back."""
    return [
        model_latency(metrics, limits.max_model_latency_p99_milliseconds),
        server_errors(metrics, limits),
    ]


def instance_alarms(metrics: EndpointMetrics, tier: Tier) -> list[AlarmSpec]:
    """What every endpoint with instances is watched for: 4XX, memory, disk, and load beyond the scaling target."""
    limits, target = tier.alarms, tier.scaling.target_invocations_per_minute
    return [
        client_errors(metrics, limits),
        memory(metrics, limits.max_memory_percent),
        disk(metrics, limits.max_disk_percent),
        AlarmSpec(
            # Target tracking adds instances within minutes: 15 of them above the target mean that it cannot.
            id="AboveScalingTarget",
            name=metrics.alarm_name("above-scaling-target"),
            watches=metrics.invocations_per_instance,
            threshold=1.2 * target,
            period_seconds=60,
            datapoints=(15, 15),
            meaning=f"InvocationsPerInstance is 20 % above the scaling target ({target:g} a minute) for 15 minutes: "
            "scaling is blocked, by a quota or instances.max.",
            section="above-scaling-target",
        ),
    ]


def cache_alarms(metrics: EndpointMetrics, limits: MultiModelAlarmLimits) -> list[AlarmSpec]:
    """What the model cache of a multi-model endpoint is watched for: hit ratio, loading wait and churn."""
    return [
        AlarmSpec(
            id="CacheHitRatio",
            name=metrics.alarm_name("cache-hit-ratio"),
            watches=MetricMath(
                # One cold call at 03:00 is a hit ratio of 0 %. So few calls count as hits.
                f"IF(lookups >= {limits.min_requests}, hits / lookups, 1)",
                "ModelCacheHit ratio",
                {"hits": metrics.cache_hits, "lookups": metrics.cache_lookups},
            ),
            comparison="LessThanThreshold",
            threshold=limits.min_cache_hit_ratio,
            period_seconds=FIVE_MINUTES,
            datapoints=(3, 3),
            meaning=f"Fewer than {100 * limits.min_cache_hit_ratio:g} % of the calls find their model in memory.",
            section="cache-degraded",
        ),
        AlarmSpec(
            id="LoadingWait",
            name=metrics.alarm_name("loading-wait"),
            # SageMaker publishes no percentiles of ModelLoadingWaitTime.
            watches=metrics.longest_loading_wait,
            threshold=limits.max_loading_wait_seconds * MICROSECONDS_PER_SECOND,
            period_seconds=FIVE_MINUTES,
            datapoints=(3, 3),
            meaning=f"Some caller waits more than {limits.max_loading_wait_seconds:g} s for a model to load.",
            section="cache-degraded",
        ),
        AlarmSpec(
            # AWS names unloads as the sign of too little memory.
            # docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-instance.html
            id="ModelChurn",
            name=metrics.alarm_name("model-churn"),
            watches=metrics.unloads,
            threshold=limits.max_unloads_per_hour,
            period_seconds=ONE_HOUR,
            datapoints=(1, 1),
            meaning=f"More than {limits.max_unloads_per_hour} models were unloaded within the hour: "
            "the cache thrashes.",
            section="cache-degraded",
        ),
    ]


class EndpointAlarms(Construct):
    """The alarms of a table that an endpoint gets once it exists.

    `EndpointAlarms(self, "Alarms", specs=instance_alarms(metrics, tier), audience=audience)` defines an
    AWS::CloudWatch::Alarm for each spec.
    """

    def __init__(self, scope: Construct, construct_id: str, *, specs: list[AlarmSpec], audience: AlarmAudience) -> None:
        super().__init__(scope, construct_id)
        add_alarms(self, specs, audience)


class CacheAlarms(Construct):
    """The alarms on the model cache of a multi-model endpoint, and one composite alarm that speaks for them.

    `CacheAlarms(self, "Cache", metrics=metrics, limits=limits, audience=audience, warm_up_running_alarm_arn=arn)`

    The three AWS::CloudWatch::Alarm have no actions. The AWS::CloudWatch::CompositeAlarm tells the topic, and stays
    silent while a warm-up runs, because a warm-up is a burst of misses.
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
        alarms = add_alarms(self, cache_alarms(metrics, limits), audience, actions=())
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
            # The cache alarms see a warm-up's misses in three periods, so also after its end.
            actions_suppressor_wait_period=60 if suppressor else None,
            actions_suppressor_extension_period=3 * FIVE_MINUTES if suppressor else None,
        ).attr_arn
