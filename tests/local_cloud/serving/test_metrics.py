"""What real instances did is in CloudWatch, and the load that callers make scales them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import Served

DIMENSIONS = [{"Name": "EndpointName", "Value": "tail"}, {"Name": "VariantName", "Value": "AllTraffic"}]
KEY = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/tail/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("metrics"), serving="models", scale=0.0005) as running:
        yield running


@pytest.fixture
def tail(serving: LocalCloud) -> Served:
    """A multi-model endpoint `tail` of one instance, with a clock that does not run."""
    served = Served(Account(serving, "500000000901"))
    served.publish(m01=1, m02=2)
    served.config("tail")
    served.create("tail", "tail")
    served.account.stop_clock()
    return served


def read(tail: Served, since: float, *metrics: tuple[str, str]) -> dict[str, Any]:
    """The one value of each (metric, statistic) in the hour since then, by GetMetricData."""
    query = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "/aws/sagemaker/Endpoints"
                    if "Loaded" in metric or "Uti" in metric
                    else "AWS/SageMaker",
                    "MetricName": metric,
                    "Dimensions": DIMENSIONS,
                },
                "Period": 3600,
                "Stat": statistic,
            },
        }
        for number, (metric, statistic) in enumerate(metrics)
    ]
    hour = since // 3600 * 3600
    answer = tail.account.client("cloudwatch").get_metric_data(
        MetricDataQueries=query,
        StartTime=datetime.fromtimestamp(hour, UTC),
        EndTime=datetime.fromtimestamp(hour + 3600, UTC),
    )
    values = [result["Values"] for result in answer["MetricDataResults"]]
    return {f"{metric} {stat}": value for (metric, stat), value in zip(metrics, values, strict=True)}


def test_calls_become_metrics_and_load_becomes_instances(tail: Served) -> None:
    account = tail.account
    account.advance(3600 - account.cloud.admin("clock")["now"] % 3600)
    began = account.cloud.admin("clock")["now"]
    for model in ("m01", "m02", "m01", "m01", "m02", "m01", "m01", "m01"):
        tail.score("tail", model)
    account.advance(60)

    measured = read(
        tail,
        began,
        ("Invocations", "Sum"),
        ("InvocationsPerInstance", "Sum"),
        ("ModelCacheHit", "Average"),
        ("ModelCacheHit", "SampleCount"),
        ("ModelLoadingTime", "SampleCount"),
        ("ModelDownloadingTime", "SampleCount"),
        ("ModelUnloadingTime", "SampleCount"),
        ("Invocation5XXErrors", "Sum"),
        ("LoadedModelCount", "Maximum"),
    )
    assert measured == {
        "Invocations Sum": [8],
        "InvocationsPerInstance Sum": [8],
        "ModelCacheHit Average": [0.75],
        "ModelCacheHit SampleCount": [8],
        "ModelLoadingTime SampleCount": [2],
        "ModelDownloadingTime SampleCount": [2],
        "ModelUnloadingTime SampleCount": [],
        "Invocation5XXErrors Sum": [0],
        "LoadedModelCount Maximum": [2],
    }
    latency = read(tail, began, ("ModelLatency", "p50"), ("ModelLatency", "p99"), ("ModelLoadingWaitTime", "Minimum"))
    assert 0 < latency["ModelLatency p50"][0] <= latency["ModelLatency p99"][0]
    assert latency["ModelLoadingWaitTime Minimum"][0] > 0
    used = read(tail, began, *((f"{name}Utilization", "Maximum") for name in ("Memory", "Disk", "CPU")))
    assert all(len(values) == 1 and values[0] >= 0 for values in used.values()), used

    scaling = account.client("application-autoscaling")
    scaling.register_scalable_target(**KEY, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **KEY,
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 4.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )
    assert len(tail.instances("tail")) == 1
    for _ in range(3):
        for _ in range(6):
            tail.score("tail", "m01")
        account.advance(60)
    account.advance(181)
    account.cloud.admin("clock", {"mode": "skip"})
    assert tail.settled("tail")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert len(tail.instances("tail")) == 2
