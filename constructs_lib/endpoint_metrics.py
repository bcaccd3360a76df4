"""The metrics of an endpoint as alarms and dashboards read them: metric and statistic, defined once."""

from dataclasses import dataclass

from constructs_lib.metric import Metric
from tierfleet.config.published_metrics import published
from tierfleet.runtime.names import VARIANT_NAME

# ModelLatency, ModelLoadingWaitTime and the other model times are in microseconds.
MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_MILLISECOND = 1_000
# TimeInBacklog and TotalProcessingTime of an asynchronous endpoint.
MILLISECONDS_PER_SECOND = 1_000


@dataclass(frozen=True)
class EndpointMetrics:
    """The metrics of one endpoint.

    `EndpointMetrics("fraud--prod--whale--m01--dedicated-m5-large", "dedicated").errors_5xx` is a Metric for an alarm or
    a dashboard. A metric that the shape does not publish raises NotPublishedError.
    """

    endpoint_name: str
    """Name of the endpoint."""
    hosting: str
    """The word of the fleet file, such as `dedicated`: it says what SageMaker publishes."""

    def alarm_name(self, word: str) -> str:
        """Name of one of this endpoint's alarms, such as `fraud--prod--tail--all--mme-m5-large--memory`.

        It is literal, so that an endpoint under a new name gets alarms of its own. The old endpoint keeps its alarms
        until it is deleted, after the routes have changed and their bake has passed.
        """
        return f"{self.endpoint_name}--{word}"

    def metric(self, name: str, statistic: str, *, container: str | None = None) -> Metric:
        """A metric by CloudWatch's own name. container: the hostname, for a metric of one container of the endpoint.

        Raises NotPublishedError.
        """
        metric = published(self.hosting, name, statistic, of_container=container is not None)
        # A metric is published with all of its dimensions: an alarm that names fewer of them never has data.
        values = {"EndpointName": self.endpoint_name, "VariantName": VARIANT_NAME, "ContainerName": container or ""}
        return Metric(metric.namespace, name, statistic, tuple((each, values[each]) for each in metric.dimensions))

    @property
    def cache_hits(self) -> Metric:
        """Requests whose model was in memory."""
        return self.metric("ModelCacheHit", "Sum")

    @property
    def cache_lookups(self) -> Metric:
        """All requests to models of a multi-model endpoint."""
        return self.metric("ModelCacheHit", "SampleCount")

    @property
    def longest_loading_wait(self) -> Metric:
        """Longest wait for a model to be fetched and loaded, in microseconds. Percentiles are not documented."""
        return self.metric("ModelLoadingWaitTime", "Maximum")

    @property
    def loads(self) -> Metric:
        """Models loaded into memory."""
        return self.metric("ModelLoadingTime", "SampleCount")

    @property
    def downloads(self) -> Metric:
        """Models fetched from S3. A load without a download came from the instance's disk."""
        return self.metric("ModelDownloadingTime", "SampleCount")

    @property
    def unloads(self) -> Metric:
        """Models unloaded because memory was full: AWS's sign of a thrashing cache."""
        return self.metric("ModelUnloadingTime", "SampleCount")

    @property
    def loaded_models(self) -> Metric:
        """Models in memory over all instances."""
        return self.metric("LoadedModelCount", "Sum")

    @property
    def memory(self) -> Metric:
        """MemoryUtilization of the fullest instance, in percent."""
        return self.metric("MemoryUtilization", "Maximum")

    @property
    def disk(self) -> Metric:
        """DiskUtilization of the fullest instance, in percent."""
        return self.metric("DiskUtilization", "Maximum")

    @property
    def cpu(self) -> Metric:
        """CPUUtilization in percent of one vCPU: 0 to 100 x vCPUs."""
        return self.metric("CPUUtilization", "Average")

    @property
    def invocations(self) -> Metric:
        """Requests."""
        return self.metric("Invocations", "Sum")

    @property
    def invocations_per_instance(self) -> Metric:
        """Requests per instance. Sum is its only statistic."""
        return self.metric("InvocationsPerInstance", "Sum")

    @property
    def errors_4xx(self) -> Metric:
        """Requests answered with 4XX."""
        return self.metric("Invocation4XXErrors", "Sum")

    @property
    def errors_5xx(self) -> Metric:
        """Requests answered with 5XX. The stock image's multi-model endpoint answers an invalid payload so."""
        return self.metric("Invocation5XXErrors", "Sum")

    @property
    def latency_p99(self) -> Metric:
        """ModelLatency p99 in microseconds, without SageMaker's overhead and the network."""
        return self.metric("ModelLatency", "p99")
