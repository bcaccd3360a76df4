"""The alarms, metrics and scaling policies that a fleet file makes, counted as the constructs define them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.config import FleetConfig, HostedTier, MultiModelTier
from tierfleet.config.hosting.multi_container import ALARMS_OF_A_CONTAINER, MultiContainerTier
from tierfleet.config.hosting.pipeline import PipelineTier
from tierfleet.runtime import metrics

# Request metrics of a bucket that is read and written; S3 publishes those of the other request types only when such
# requests happen. Source: docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html
S3_REQUEST_METRICS: Final = (
    "AllRequests",
    "GetRequests",
    "PutRequests",
    "4xxErrors",
    "5xxErrors",
    "BytesDownloaded",
    "BytesUploaded",
    "FirstByteLatency",
    "TotalRequestLatency",
)
CLIENT_METRICS: Final = (metrics.CALLS, metrics.CALL_ERRORS, metrics.CALL_LATENCY)
WARM_UP_METRICS: Final = tuple(name for name in metrics.UNITS if name.startswith("WarmUp"))


@dataclass(frozen=True)
class AlarmCount:
    """Alarms and scaling policies."""

    alarms: int = 0
    """Metric alarms of the template."""
    alarm_metrics: int = 0
    """Metrics that these alarms read, which is what CloudWatch bills: an alarm on an expression counts each."""
    composite: int = 0
    """Composite alarms."""
    policies: int = 0
    """Scaling policies."""
    target_tracking: int = 0
    """Alarms that Application Auto Scaling makes by itself, one metric each; they are not in the template."""

    def __add__(self, other: "AlarmCount") -> "AlarmCount":
        return AlarmCount(
            self.alarms + other.alarms,
            self.alarm_metrics + other.alarm_metrics,
            self.composite + other.composite,
            self.policies + other.policies,
            self.target_tracking + other.target_tracking,
        )

    @property
    def billed_metrics(self) -> int:
        """Alarm metrics, including those of target tracking."""
        return self.alarm_metrics + self.target_tracking


# constructs_lib/endpoint_alarms.py: 5XX and 4XX ratio (two metrics each), memory, disk, above the scaling target.
_ENDPOINT = AlarmCount(alarms=5, alarm_metrics=7)
# ModelLatency of a dedicated endpoint.
_DEDICATED = AlarmCount(alarms=1, alarm_metrics=1)
# constructs_lib/hosting/serverless_endpoint.py: 5XX and 4XX ratio (two metrics each), latency, memory, concurrency,
# model setup and overhead.
_SERVERLESS = AlarmCount(alarms=7, alarm_metrics=9)
# constructs_lib/hosting/async_endpoint.py: failures (two metrics), oldest request, no capacity, expired, undelivered
# (three metrics), memory and disk; async_scaling.py: the alarm that wakes it up, target tracking and the step policy.
_ASYNC = AlarmCount(alarms=8, alarm_metrics=11, policies=2, target_tracking=2)
# Hit ratio (two metrics), loading wait, churn, and the composite over them.
_CACHE = AlarmCount(alarms=3, alarm_metrics=4, composite=1)
# constructs_lib/variant_scaling.py: AlarmHigh and AlarmLow of target tracking; without scale-in there is no AlarmLow.
_TARGET_TRACKING = AlarmCount(policies=1, target_tracking=2)
# CacheThrashing, and Calm with two metrics, each driving a step policy.
_SCALE_ON_CACHE = AlarmCount(alarms=2, alarm_metrics=3, policies=2, target_tracking=-1)
# RouteErrors, and the warm-up's failures (four metrics).
_FLEET = AlarmCount(alarms=2, alarm_metrics=5)
# Running; and, in the alarm of failures, events that Scheduler and EventBridge could not deliver.
_WARM_UP = AlarmCount(alarms=1, alarm_metrics=3)


def _multi_model(tier: MultiModelTier, _tenant: str | None) -> AlarmCount:
    return _ENDPOINT + _CACHE + _TARGET_TRACKING + (_SCALE_ON_CACHE if tier.scale_on_cache else AlarmCount())


def _multi_container(tier: MultiContainerTier, tenant: str | None) -> AlarmCount:
    """Two more for each container of the tenant (constructs_lib/hosting/multi_container_endpoint.py)."""
    own = ALARMS_OF_A_CONTAINER * len(tier.tenants[tenant].containers) if tenant else 0
    return _ENDPOINT + _DEDICATED + _TARGET_TRACKING + AlarmCount(alarms=own, alarm_metrics=own)


def _pipeline(tier: PipelineTier, _tenant: str | None) -> AlarmCount:
    """Those of a dedicated endpoint, and one for each stage with a limit."""
    stages = sum(stage.max_average_latency_milliseconds is not None for stage in tier.stages)
    return _ENDPOINT + _DEDICATED + _TARGET_TRACKING + AlarmCount(alarms=stages, alarm_metrics=stages)


ALARMS: Final[Mapping[str, Callable[[Any, str | None], AlarmCount]]] = {
    "multi-model": _multi_model,
    "dedicated": lambda _tier, _tenant: _ENDPOINT + _DEDICATED + _TARGET_TRACKING,
    "multi-container": _multi_container,
    "serverless": lambda _tier, _tenant: _SERVERLESS,
    "pipeline": _pipeline,
    "async": lambda _tier, _tenant: _ASYNC,
}
"""Alarms and scaling policies of one endpoint, by the word of `hosting`. A test compares them with the templates."""


def endpoint_alarms(tier: HostedTier, tenant: str | None = None) -> AlarmCount:
    """Alarms and scaling policies of one endpoint of `tier`; tenant: whose, where each tenant has an endpoint."""
    return ALARMS[tier.hosting](tier, tenant)


def fleet_alarms(config: FleetConfig) -> AlarmCount:
    """Alarms that belong to no tier."""
    warms_up = any(tier.warm_up for tier in config.multi_model_tiers.values())
    return _FLEET + (_WARM_UP if warms_up else AlarmCount())
