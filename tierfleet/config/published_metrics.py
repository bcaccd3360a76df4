"""What SageMaker publishes for each hosting shape: the one description behind alarms, scaling and dashboards.

`published("serverless", "ModelSetupTime")` is in AWS/SageMaker, in microseconds, with percentiles; the same metric of a
dedicated endpoint raises NotPublishedError. An alarm on a metric that its shape does not publish would never go off.

Sources, in docs.aws.amazon.com/sagemaker/latest/dg: monitoring-cloudwatch.html, serverless-endpoints-monitoring.html,
multi-container-metrics.html, inference-pipeline-logs-metrics.html and async-inference-monitor.html. Some print a name
wrongly (`Invocation4XX Errors`, `InvocationsProcesssed`); here it is as real endpoints publish it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

REQUESTS: Final = "AWS/SageMaker"
# Utilisation and LoadedModelCount have a namespace of another spelling. The wrong one reads as no data for ever.
INSTANCES: Final = "/aws/sagemaker/Endpoints"

_ENDPOINT: Final = ("EndpointName",)
_VARIANT: Final = ("EndpointName", "VariantName")
_CONTAINER: Final = ("EndpointName", "VariantName", "ContainerName")

_RANGE: Final = frozenset({"Average", "Minimum", "Maximum"})
_DISTRIBUTION: Final = _RANGE | {"Sum", "SampleCount"}
_PERCENTILES: Final = frozenset({"p50", "p90", "p95", "p99", "p99.9"})


class NotPublishedError(LookupError):
    """A hosting shape does not publish this metric, or not with this statistic."""


@dataclass(frozen=True)
class PublishedMetric:
    """One metric as SageMaker publishes it."""

    name: str
    """CloudWatch's MetricName."""
    namespace: str
    """AWS/SageMaker or /aws/sagemaker/Endpoints."""
    unit: str
    """CloudWatch's unit, such as Microseconds, Percent or None; a ratio from 0 to 1 has the unit None."""
    statistics: frozenset[str]
    """The documented statistics. A percentile of another metric has no data."""
    dimensions: tuple[str, ...] = _VARIANT
    """The names of the dimensions. A query for other ones finds nothing."""


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

_FAILURES: Final = frozenset({"Average", "Sum"})
_CONTAINERS: Final = _table(
    PublishedMetric("Invocations", REQUESTS, "None", frozenset({"Sum", "SampleCount"}), _CONTAINER),
    PublishedMetric("Invocation4XXErrors", REQUESTS, "None", _FAILURES, _CONTAINER),
    PublishedMetric("Invocation5XXErrors", REQUESTS, "None", _FAILURES, _CONTAINER),
    PublishedMetric("ContainerLatency", REQUESTS, "Microseconds", _DISTRIBUTION, _CONTAINER),
    PublishedMetric("OverheadLatency", REQUESTS, "Microseconds", _DISTRIBUTION, _CONTAINER),
    PublishedMetric("CPUUtilization", INSTANCES, "Percent", _DISTRIBUTION, _CONTAINER),
    PublishedMetric("MemoryUtilization", INSTANCES, "Percent", _DISTRIBUTION, _CONTAINER),
)
# No Invocations, InvocationsPerInstance and OverheadLatency: InvocationsProcessed counts the calls.
_ASYNC: Final = _table(
    PublishedMetric("ApproximateBacklogSize", REQUESTS, "Count", _RANGE, _ENDPOINT),
    PublishedMetric("ApproximateBacklogSizePerInstance", REQUESTS, "Count", _RANGE, _ENDPOINT),
    PublishedMetric("ApproximateAgeOfOldestRequest", REQUESTS, "Seconds", _RANGE, _ENDPOINT),
    PublishedMetric("HasBacklogWithoutCapacity", REQUESTS, "Count", frozenset({"Average"}), _ENDPOINT),
    PublishedMetric("InvocationsProcessed", REQUESTS, "Count", _FAILURES),
    PublishedMetric("InvocationFailures", REQUESTS, "Count", _FAILURES),
    PublishedMetric("ExpiredRequests", REQUESTS, "Count", _FAILURES),
    PublishedMetric("RequestDownloadFailures", REQUESTS, "Count", _FAILURES),
    PublishedMetric("ResponseUploadFailures", REQUESTS, "Count", _FAILURES),
    PublishedMetric("NotificationFailures", REQUESTS, "Count", _FAILURES),
    PublishedMetric("RequestDownloadLatency", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("ResponseUploadLatency", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("TimeInBacklog", REQUESTS, "Milliseconds", _DISTRIBUTION),
    PublishedMetric("TotalProcessingTime", REQUESTS, "Milliseconds", _DISTRIBUTION),
    PublishedMetric("Invocation4XXErrors", REQUESTS, "None", _FAILURES),
    PublishedMetric("Invocation5XXErrors", REQUESTS, "None", _FAILURES),
    PublishedMetric("ModelLatency", REQUESTS, "Microseconds", _DISTRIBUTION),
    PublishedMetric("MemoryUtilization", INSTANCES, "Percent", _DISTRIBUTION),
    PublishedMetric("CPUUtilization", INSTANCES, "Percent", _DISTRIBUTION),
    PublishedMetric("DiskUtilization", INSTANCES, "Percent", _DISTRIBUTION),
)

PUBLISHED: Final[Mapping[str, Mapping[str, PublishedMetric]]] = {
    "multi-model": {**_CALLS, **_INSTANCES, **_MODEL_CACHE},
    "dedicated": {**_CALLS, **_INSTANCES},
    "multi-container": {**_CALLS, **_INSTANCES},
    "pipeline": {**_CALLS, **_INSTANCES},
    "serverless": {**_CALLS, **_SERVERLESS, **_PROVISIONED},
    "async": _ASYNC,
}
"""By the word of `hosting`, then by name. Those of provisioned concurrency need provisioned_concurrency. A pipeline's
ModelLatency, CPUUtilization and MemoryUtilization are sums over its containers."""

PUBLISHED_OF_CONTAINERS: Final[Mapping[str, Mapping[str, PublishedMetric]]] = {
    "multi-container": _CONTAINERS,
    "pipeline": _table(_CONTAINERS["ContainerLatency"]),
}
"""What is published for each container of an endpoint, likewise; ContainerName is its hostname."""


def published(hosting: str, name: str, statistic: str | None = None, *, of_container: bool = False) -> PublishedMetric:
    """The metric; raises NotPublishedError if the shape does not publish it with this statistic.

    of_container: whether one container's metric is meant.
    """
    table, whose = (PUBLISHED_OF_CONTAINERS, " of a container") if of_container else (PUBLISHED, "")
    metric = table.get(hosting, {}).get(name)
    if metric is None:
        raise NotPublishedError(f"SageMaker publishes no {name}{whose} for hosting = {hosting!r}")
    if statistic is not None and statistic not in metric.statistics:
        allowed = ", ".join(sorted(metric.statistics))
        raise NotPublishedError(
            f"{name}{whose} of hosting = {hosting!r} has no statistic {statistic}; it has {allowed}"
        )
    return metric
