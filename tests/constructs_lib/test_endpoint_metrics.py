"""Which metric is read how: a wrong namespace or unit reads as no data for ever."""

import pytest

from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.metric import Metric, fleet_metric
from local_cloud.services.sagemaker import metrics as emulated
from local_cloud.services.sagemaker import observations
from tierfleet.config.published_metrics import INSTANCES, PUBLISHED, REQUESTS, NotPublishedError

METRICS = EndpointMetrics("shop--test--tail--all--mme-m5-xlarge", "multi-model")
EVERY_METRIC = sorted(name for name, value in vars(EndpointMetrics).items() if isinstance(value, property))

# (name, namespace, statistic) as docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html lists them.
DOCUMENTED = {
    "cache_hits": ("ModelCacheHit", "AWS/SageMaker", "Sum"),
    "cache_lookups": ("ModelCacheHit", "AWS/SageMaker", "SampleCount"),
    "cpu": ("CPUUtilization", "/aws/sagemaker/Endpoints", "Average"),
    "disk": ("DiskUtilization", "/aws/sagemaker/Endpoints", "Maximum"),
    "downloads": ("ModelDownloadingTime", "AWS/SageMaker", "SampleCount"),
    "errors_4xx": ("Invocation4XXErrors", "AWS/SageMaker", "Sum"),
    "errors_5xx": ("Invocation5XXErrors", "AWS/SageMaker", "Sum"),
    "invocations": ("Invocations", "AWS/SageMaker", "Sum"),
    "invocations_per_instance": ("InvocationsPerInstance", "AWS/SageMaker", "Sum"),
    "latency_p99": ("ModelLatency", "AWS/SageMaker", "p99"),
    "loaded_models": ("LoadedModelCount", "/aws/sagemaker/Endpoints", "Sum"),
    "loads": ("ModelLoadingTime", "AWS/SageMaker", "SampleCount"),
    "longest_loading_wait": ("ModelLoadingWaitTime", "AWS/SageMaker", "Maximum"),
    "memory": ("MemoryUtilization", "/aws/sagemaker/Endpoints", "Maximum"),
    "unloads": ("ModelUnloadingTime", "AWS/SageMaker", "SampleCount"),
}


def test_every_metric_is_in_the_documented_table() -> None:
    assert set(DOCUMENTED) == set(EVERY_METRIC)


@pytest.mark.parametrize("attribute", EVERY_METRIC)
def test_a_metric_has_the_documented_name_namespace_and_statistic(attribute: str) -> None:
    metric: Metric = getattr(METRICS, attribute)
    assert (metric.name, metric.namespace, metric.statistic) == DOCUMENTED[attribute]


@pytest.mark.parametrize("attribute", EVERY_METRIC)
def test_a_metric_has_both_dimensions_since_endpoint_name_alone_matches_nothing(attribute: str) -> None:
    metric: Metric = getattr(METRICS, attribute)
    assert metric.dimensions == (("EndpointName", METRICS.endpoint_name), ("VariantName", "AllTraffic"))


@pytest.mark.parametrize("attribute", EVERY_METRIC)
def test_a_dedicated_endpoint_has_no_metric_of_the_model_cache(attribute: str) -> None:
    whale = EndpointMetrics("shop--test--whale--w1--dedicated-m5-large", "dedicated")
    if DOCUMENTED[attribute][0].startswith(("ModelCache", "ModelLoad", "ModelUnload", "ModelDownload", "LoadedModel")):
        with pytest.raises(NotPublishedError, match="publishes no"):
            getattr(whale, attribute)
    else:
        assert getattr(whale, attribute).name == DOCUMENTED[attribute][0]


def test_a_statistic_that_is_not_documented_is_refused() -> None:
    with pytest.raises(NotPublishedError, match=r"ModelLoadingWaitTime .* has no statistic p99; it has Average"):
        METRICS.metric("ModelLoadingWaitTime", "p99")


def test_a_container_of_an_endpoint_has_metrics_of_its_own() -> None:
    trio = EndpointMetrics("shop--test--trio--t1--mce-m5-large", "multi-container")
    assert trio.metric("ContainerLatency", "Maximum", container="velocity").dimensions == (
        ("EndpointName", trio.endpoint_name),
        ("VariantName", "AllTraffic"),
        ("ContainerName", "velocity"),
    )
    with pytest.raises(NotPublishedError, match=r"ContainerLatency of a container .* has no statistic p99"):
        trio.metric("ContainerLatency", "p99", container="velocity")
    with pytest.raises(NotPublishedError, match="publishes no ContainerLatency for"):
        trio.metric("ContainerLatency", "Maximum")
    with pytest.raises(NotPublishedError, match="publishes no Invocations of a container for hosting = 'dedicated'"):
        EndpointMetrics("shop--test--whale--w1--dedicated-m5-large", "dedicated").metric(
            "Invocations", "Sum", container="velocity"
        )


def test_the_backlog_of_an_async_endpoint_has_the_endpoint_as_its_only_dimension() -> None:
    night = EndpointMetrics("shop--test--night--n1--async-m5-large", "async")
    backlog = night.metric("ApproximateBacklogSizePerInstance", "Average")
    assert backlog.dimensions == (("EndpointName", night.endpoint_name),)
    assert len(night.metric("InvocationsProcessed", "Sum").dimensions) == 2
    for name in ("Invocations", "InvocationsPerInstance", "OverheadLatency"):
        with pytest.raises(NotPublishedError):
            night.metric(name, "Sum")


def test_the_local_emulator_publishes_in_the_same_namespaces_and_units() -> None:
    for hosting in ("multi-model", "dedicated"):
        for name, metric in PUBLISHED[hosting].items():
            if metric.namespace == REQUESTS and name != "OverheadLatency":
                assert observations.UNITS[name] == metric.unit
    assert (REQUESTS, INSTANCES) == (emulated.REQUESTS, emulated.INSTANCES)


def test_a_dashboard_row_carries_namespace_name_dimensions_and_options() -> None:
    assert METRICS.invocations.row(label="calls", period=60) == [
        "AWS/SageMaker",
        "Invocations",
        "EndpointName",
        METRICS.endpoint_name,
        "VariantName",
        "AllTraffic",
        {"stat": "Sum", "label": "calls", "period": 60},
    ]


def test_the_fleets_own_metrics_are_read_where_they_are_written() -> None:
    from local_cloud.testing.fleets import fleet
    from tierfleet.runtime import metrics

    line = metrics.emf_line({metrics.ROUTE_ERRORS: 1}, fleet="shop", environment="test")
    metric = fleet_metric(fleet(), metrics.ROUTE_ERRORS)
    assert f'"Namespace": "{metric.namespace}"' in line
    assert all(f'"{name}": "{value}"' in line for name, value in metric.dimensions)
