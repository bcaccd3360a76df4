"""The metrics of an endpoint: namespace, dimensions, statistic and unit of each, once."""

from dataclasses import dataclass

from constructs_lib.metric import Metric
from tierfleet.runtime.names import VARIANT_NAME

# ModelLatency, ModelLoadingWaitTime and the other model times are in microseconds.
MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_MILLISECOND = 1_000

_REQUESTS = "AWS/SageMaker"
# Utilisation and LoadedModelCount sit in a namespace of another spelling; the wrong one reads as no data for ever.
_INSTANCES = "/aws/sagemaker/Endpoints"


@dataclass(frozen=True)
class EndpointMetrics:
    """Every metric tierfleet reads of the endpoint called `endpoint_name`.

    Source: docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """

    endpoint_name: str

    def alarm_name(self, word: str) -> str:
        """Name of one of this endpoint's alarms, such as `fraud--prod--tail--all--mme-m5-large--memory`.

        It is literal, so that an endpoint under a new name gets alarms of its own: the old endpoint keeps its alarms
        until it is deleted, after the flip of the routes and their bake.
        """
        return f"{self.endpoint_name}--{word}"

    @property
    def _dimensions(self) -> tuple[tuple[str, str], ...]:
        # SageMaker publishes nothing under EndpointName alone.
        return (("EndpointName", self.endpoint_name), ("VariantName", VARIANT_NAME))

    def _request(self, name: str, statistic: str) -> Metric:
        return Metric(_REQUESTS, name, statistic, self._dimensions)

    def _instance(self, name: str, statistic: str) -> Metric:
        return Metric(_INSTANCES, name, statistic, self._dimensions)

    @property
    def cache_hits(self) -> Metric:
        """Requests whose model was in memory."""
        return self._request("ModelCacheHit", "Sum")

    @property
    def cache_lookups(self) -> Metric:
        """All requests to models of a multi-model endpoint."""
        return self._request("ModelCacheHit", "SampleCount")

    @property
    def longest_loading_wait(self) -> Metric:
        """Longest wait for a model to be fetched and loaded, in microseconds. Percentiles are not documented."""
        return self._request("ModelLoadingWaitTime", "Maximum")

    @property
    def loads(self) -> Metric:
        """Models loaded into memory."""
        return self._request("ModelLoadingTime", "SampleCount")

    @property
    def downloads(self) -> Metric:
        """Models fetched from S3; a load without one came from the instance's disk."""
        return self._request("ModelDownloadingTime", "SampleCount")

    @property
    def unloads(self) -> Metric:
        """Models unloaded for want of memory: AWS's sign of a thrashing cache."""
        return self._request("ModelUnloadingTime", "SampleCount")

    @property
    def loaded_models(self) -> Metric:
        """Models in memory over all instances."""
        return self._instance("LoadedModelCount", "Sum")

    @property
    def memory(self) -> Metric:
        """MemoryUtilization of the fullest instance, percent."""
        return self._instance("MemoryUtilization", "Maximum")

    @property
    def disk(self) -> Metric:
        """DiskUtilization of the fullest instance, percent."""
        return self._instance("DiskUtilization", "Maximum")

    @property
    def cpu(self) -> Metric:
        """CPUUtilization, percent of one vCPU: 0 to 100 x vCPUs."""
        return self._instance("CPUUtilization", "Average")

    @property
    def invocations(self) -> Metric:
        """Requests."""
        return self._request("Invocations", "Sum")

    @property
    def invocations_per_instance(self) -> Metric:
        """Requests per instance; Sum is its only statistic."""
        return self._request("InvocationsPerInstance", "Sum")

    @property
    def errors_4xx(self) -> Metric:
        """Requests answered with 4XX."""
        return self._request("Invocation4XXErrors", "Sum")

    @property
    def errors_5xx(self) -> Metric:
        """Requests answered with 5XX; on the stock image's multi-model endpoint bad payloads are among them."""
        return self._request("Invocation5XXErrors", "Sum")

    @property
    def latency_p99(self) -> Metric:
        """ModelLatency p99 in microseconds, without SageMaker's overhead and the network."""
        return self._request("ModelLatency", "p99")
