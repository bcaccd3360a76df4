"""What SageMaker publishes for each hosting shape: the one description behind alarms, scaling and dashboards.

`published("serverless", "ModelSetupTime")` is in AWS/SageMaker, in microseconds, with percentiles; the same metric of a
dedicated endpoint raises NotPublishedError. An alarm on a metric that its shape does not publish would never go off.

Sources: docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html and serverless-endpoints-monitoring.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

REQUESTS: Final = "AWS/SageMaker"
# Utilisation and LoadedModelCount have a namespace of another spelling. The wrong one reads as no data for ever.
INSTANCES: Final = "/aws/sagemaker/Endpoints"

# SageMaker publishes nothing under EndpointName alone.
DIMENSIONS: Final = ("EndpointName", "VariantName")

_RANGE: Final = frozenset({"Average", "Minimum", "Maximum"})
_DISTRIBUTION: Final = _RANGE | {"Sum", "SampleCount"}
_PERCENTILES: Final = frozenset({"p50", "p90", "p95", "p99", "p99.9"})


class NotPublishedError(LookupError):
    """A hosting shape does not publish this metric, or not with this statistic."""


@dataclass(frozen=True)
class PublishedMetric:
    """One metric as SageMaker publishes it, under the dimensions EndpointName and VariantName."""

    name: str
    """CloudWatch's MetricName."""
    namespace: str
    """AWS/SageMaker or /aws/sagemaker/Endpoints."""
    unit: str
    """CloudWatch's unit: Microseconds, Percent or None; a ratio from 0 to 1 has the unit None."""
    statistics: frozenset[str]
    """The documented statistics. A percentile of another metric has no data."""
    dimensions: tuple[str, ...] = DIMENSIONS
    """The dimensions it is published under: a query for others finds nothing."""


def _table(*metrics: PublishedMetric) -> dict[str, PublishedMetric]:
    return {metric.name: metric for metric in metrics}


_CALLS: Final = _table(
    PublishedMetric("Invocations", REQUESTS, "None", frozenset({"Sum"})),
    PublishedMetric("Invocation4XXErrors", REQUESTS, "None", frozenset({"Average", "Sum"})),
    PublishedMetric("Invocation5XXErrors", REQUESTS, "None", frozenset({"Average", "Sum"})),
    PublishedMetric("ModelLatency", REQUESTS, "Microseconds", _DISTRIBUTION | _PERCENTILES),
    PublishedMetric("OverheadLatency", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("MemoryUtilization", INSTANCES, "Percent", _DISTRIBUTION),
)
_INSTANCES: Final = _table(
    PublishedMetric("InvocationsPerInstance", REQUESTS, "None", frozenset({"Sum"})),
    PublishedMetric("CPUUtilization", INSTANCES, "Percent", _DISTRIBUTION),
    PublishedMetric("DiskUtilization", INSTANCES, "Percent", _DISTRIBUTION),
)
_MODEL_CACHE: Final = _table(
    PublishedMetric("ModelCacheHit", REQUESTS, "None", frozenset({"Average", "Sum", "SampleCount"})),
    PublishedMetric("ModelLoadingWaitTime", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("ModelDownloadingTime", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("ModelLoadingTime", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("ModelUnloadingTime", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("LoadedModelCount", INSTANCES, "None", _DISTRIBUTION),
)
_SERVERLESS: Final = _table(
    PublishedMetric("ModelSetupTime", REQUESTS, "Microseconds", _RANGE | {"SampleCount"} | _PERCENTILES),
    PublishedMetric("ServerlessConcurrentExecutionsUtilization", REQUESTS, "None", _RANGE),
)
_PROVISIONED: Final = _table(
    PublishedMetric("ServerlessProvisionedConcurrencyUtilization", REQUESTS, "None", _RANGE),
    PublishedMetric("ServerlessProvisionedConcurrencySpilloverInvocations", REQUESTS, "None", frozenset({"Sum"})),
)
_QUEUE: Final = ("EndpointName",)
_ASYNC: Final = _table(
    PublishedMetric("ApproximateBacklogSize", REQUESTS, "Count", _DISTRIBUTION, _QUEUE),
    PublishedMetric("ApproximateBacklogSizePerInstance", REQUESTS, "Count", _DISTRIBUTION, _QUEUE),
    PublishedMetric("ApproximateAgeOfOldestRequest", REQUESTS, "Seconds", _DISTRIBUTION, _QUEUE),
    PublishedMetric("HasBacklogWithoutCapacity", REQUESTS, "Count", _DISTRIBUTION, _QUEUE),
    PublishedMetric("InvocationsProcessed", REQUESTS, "Count", _DISTRIBUTION),
    PublishedMetric("InvocationFailures", REQUESTS, "Count", _DISTRIBUTION),
    PublishedMetric("ExpiredRequests", REQUESTS, "Count", _DISTRIBUTION),
    PublishedMetric("RequestDownloadFailures", REQUESTS, "Count", _DISTRIBUTION),
    PublishedMetric("ResponseUploadFailures", REQUESTS, "Count", _DISTRIBUTION),
    PublishedMetric("NotificationFailures", REQUESTS, "Count", _DISTRIBUTION),
    PublishedMetric("RequestDownloadLatency", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("ResponseUploadLatency", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("TimeInBacklog", REQUESTS, "Milliseconds", _DISTRIBUTION),
    PublishedMetric("TotalProcessingTime", REQUESTS, "Milliseconds", _DISTRIBUTION),
)
# No Invocations, InvocationsPerInstance and OverheadLatency.
_WITHOUT_CALLS: Final = {
    name: metric
    for name, metric in {**_CALLS, **_INSTANCES}.items()
    if name not in ("Invocations", "InvocationsPerInstance", "OverheadLatency")
}

PUBLISHED: Final[Mapping[str, Mapping[str, PublishedMetric]]] = {
    "multi-model": {**_CALLS, **_INSTANCES, **_MODEL_CACHE},
    "dedicated": {**_CALLS, **_INSTANCES},
    "serverless": {**_CALLS, **_SERVERLESS, **_PROVISIONED},
    "async": {**_ASYNC, **_WITHOUT_CALLS},
}
"""By the word of `hosting`, then by name. Those of provisioned concurrency need provisioned_concurrency."""


def published(hosting: str, name: str, statistic: str | None = None) -> PublishedMetric:
    """The metric; raises NotPublishedError if the shape does not publish it with this statistic."""
    metric = PUBLISHED[hosting].get(name)
    if metric is None:
        raise NotPublishedError(f"SageMaker publishes no {name} for hosting = {hosting!r}")
    if statistic is not None and statistic not in metric.statistics:
        allowed = ", ".join(sorted(metric.statistics))
        raise NotPublishedError(f"{name} of hosting = {hosting!r} has no statistic {statistic}; it has {allowed}")
    return metric
