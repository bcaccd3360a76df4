"""Serverless endpoints on real containers: scale to zero, cold starts, and throttling above the concurrency."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud import LocalCloud, start
from local_cloud.testing.account import error_of
from local_cloud.testing.served_account import IMAGE, ROLE, ROW, Served, score

_accounts = itertools.count(510000000001)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Containers that had no call for a second are stopped."""
    with start(tmp_path_factory.mktemp("serverless"), serving="models", serverless_idle_seconds=1.0) as running:
        yield running


def create(served: Served, name: str, rounds: int = 1, model: dict[str, Any] | None = None, **config: Any) -> None:
    served.publish(**{name: rounds})
    served.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{served.account.bucket}/models/{name}.tar.gz"},
        **(model or {}),
    )
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 2, **config}
    variant: Any = {"VariantName": "AllTraffic", "ModelName": name, "ServerlessConfig": serverless}
    served.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def running(served: Served, endpoint: str) -> list[dict[str, Any]]:
    return [row for row in served.instances(endpoint) if not row["retiring"]]


def seen_after_a_call(served: Served, endpoint: str) -> dict[str, Any]:
    """The container that answered a call. One that is looked for too late is stopped again: then another call."""
    containers: list[dict[str, Any]] = []
    while not containers:
        assert served.score(endpoint) == pytest.approx(score(3), abs=1e-5)
        containers = running(served, endpoint)
    (container,) = containers
    return container


def test_an_endpoint_scales_to_zero_and_the_next_call_starts_a_container(served: Served) -> None:
    create(served, "rare", rounds=3)
    served.create("rare", "rare")
    variant = served.describe("rare")["ProductionVariants"][0]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    assert "CurrentInstanceCount" not in variant
    assert served.score("rare") == pytest.approx(score(3), abs=1e-5)
    served.wait_for(lambda: not running(served, "rare"))
    container = seen_after_a_call(served, "rare")
    assert container["memory_budget_mib"] == round(1024 * 0.9)
    metrics = metrics_of(served, "rare")
    assert {"Invocations", "ModelSetupTime", "ServerlessConcurrentExecutionsUtilization", "OverheadLatency"} <= metrics
    assert not {"InvocationsPerInstance", "CPUUtilization", "DiskUtilization"} & metrics


def metrics_of(served: Served, endpoint: str) -> set[str]:
    served.cloud.admin("clock", {"advance_seconds": 120})
    pages = served.account.client("cloudwatch").get_paginator("list_metrics").paginate()
    return {
        metric["MetricName"]
        for page in pages
        for metric in page["Metrics"]
        if {"Name": "EndpointName", "Value": endpoint} in metric["Dimensions"]
    }


def test_calls_above_the_concurrency_are_throttled_and_each_below_it_has_its_own_container(served: Served) -> None:
    create(served, "busy")
    served.create("busy", "busy")
    served.faults(slow_model_server=[{"endpoint": "busy", "milliseconds": 1500}])
    barrier = threading.Barrier(5)

    def call() -> str:
        barrier.wait()
        try:
            served.invoke("busy")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "answered"

    with ThreadPoolExecutor(5) as pool:
        outcomes = [future.result() for future in [pool.submit(call) for _ in range(5)]]
    assert sorted(outcomes) == ["ThrottlingException"] * 3 + ["answered"] * 2
    assert len(running(served, "busy")) == 2


def test_provisioned_containers_are_never_stopped(served: Served) -> None:
    create(served, "warm", ProvisionedConcurrency=1)
    served.create("warm", "warm")
    (kept,) = running(served, "warm")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: served.score("warm"), range(2)))
    served.wait_for(lambda: len(running(served, "warm")) == 1)
    assert served.score("warm") == pytest.approx(score(1), abs=1e-5)
    assert kept["multi_model"] is False


def test_a_body_above_four_megabytes_is_refused(served: Served) -> None:
    create(served, "small")
    served.create("small", "small")
    code, message = error_of(lambda: served.invoke("small", body=ROW + b" " * 4 * 1024 * 1024))
    assert (code, "exceeds 4194304 bytes" in message) == ("ValidationError", True)


@pytest.mark.parametrize(
    ("config", "model", "why"),
    [
        ({"MemorySizeInMB": 1500}, {}, "MemorySizeInMB 1500, only with one of"),
        ({"ProvisionedConcurrency": 3}, {}, "ProvisionedConcurrency 3, only with 1 to MaxConcurrency"),
        ({}, {"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "in a VPC"),
        ({}, {"EnableNetworkIsolation": True}, "network isolation"),
    ],
)
def test_what_serverless_inference_does_not_support_is_refused(
    served: Served, config: dict[str, Any], model: dict[str, Any], why: str
) -> None:
    with pytest.raises(ClientError, match=why):
        create(served, "wrong", model=model, **config)


def test_an_endpoint_with_instances_cannot_become_serverless(served: Served) -> None:
    create(served, "rare")
    served.publish(own=2)
    served.config("own", "own.tar.gz")
    served.create("own", "own")
    with pytest.raises(ClientError, match="from instance-based variants to serverless"):
        served.sagemaker.update_endpoint(EndpointName="own", EndpointConfigName="rare")
