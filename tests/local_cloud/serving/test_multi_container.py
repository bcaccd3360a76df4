"""Multi-container endpoints on real processes: one per container, each call to the container that it names."""

import itertools
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account, error_of
from local_cloud.testing.served_account import IMAGE, ROLE, Served, score

_accounts = itertools.count(520000000001)
ROUNDS = {"card-present": 2, "Doc-Check": 3, "velocity": 4}
NAMES = {"card": "card-present", "doc": "Doc-Check", "vel": "velocity"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("multi-container"), serving="models") as running:
        yield running


@pytest.fixture(scope="module")
def served(cloud: LocalCloud) -> Iterator[Served]:
    """An endpoint `trio` of three containers on one instance."""
    cloud.admin("clock", {"mode": "skip"})
    served = Served(Account(cloud, str(next(_accounts))))
    served.publish(**{short: ROUNDS[name] for short, name in NAMES.items()})
    create(served, "trio", containers(served))
    served.create("trio", "trio")
    yield served
    served.delete_all()


def containers(served: Served, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "ContainerHostname": name,
            "Image": IMAGE,
            "ModelDataUrl": f"s3://{served.account.bucket}/models/{short}.tar.gz",
            **changes,
        }
        for short, name in NAMES.items()
    ]


def create(served: Served, name: str, members: list[dict[str, Any]], mode: str = "Direct", instances: int = 1) -> None:
    served.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, Containers=members, InferenceExecutionConfig={"Mode": mode}
    )
    variant: Any = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
    variant["InitialInstanceCount"] = instances
    served.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def processes(served: Served) -> dict[str, int]:
    return {row["container"]: row["pid"] for row in served.instances("trio") if not row["retiring"]}


def test_each_container_is_a_process_that_answers_the_calls_that_name_it(served: Served) -> None:
    for name, rounds in ROUNDS.items():
        assert served.score("trio", TargetContainerHostname=name) == pytest.approx(score(rounds), abs=1e-5)
    assert processes(served).keys() == ROUNDS.keys()
    assert len(set(processes(served).values())) == 3
    (machine,) = {row["instance"].partition("/")[0] for row in served.instances("trio")}
    assert {row["instance"] for row in served.instances("trio")} == {f"{machine}/{name}" for name in ROUNDS}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "missing a target container hostname"),
        (
            {"TargetContainerHostname": "doc-check"},
            "hostname doc-check not found in the endpoint, which has card-present, Doc",
        ),
    ],
)
def test_a_call_without_a_container_or_with_an_unknown_one_is_refused(
    served: Served, request_: dict[str, Any], words: str
) -> None:
    code, message = error_of(lambda: served.invoke("trio", **request_))
    assert (code, words in message) == ("ValidationError", True), message


def test_a_container_on_any_other_endpoint_is_refused(served: Served) -> None:
    served.config("own", "card.tar.gz")
    served.create("own", "own")
    code, message = error_of(lambda: served.invoke("own", TargetContainerHostname="velocity"))
    assert (code, "no direct invocation" in message) == ("ValidationError", True), message


def test_a_container_that_ends_is_started_again_and_the_others_answer_meanwhile(served: Served) -> None:
    before = processes(served)
    os.kill(before["velocity"], signal.SIGKILL)
    assert served.score("trio", TargetContainerHostname="card-present") == pytest.approx(score(2), abs=1e-5)
    served.wait_for(lambda: processes(served)["velocity"] not in (None, before["velocity"]))
    served.wait_for(lambda: all(row["status"] == "InService" for row in served.instances("trio")))
    assert served.score("trio", TargetContainerHostname="velocity") == pytest.approx(score(4), abs=1e-5)
    after = processes(served)
    assert (after["card-present"], after["Doc-Check"]) == (before["card-present"], before["Doc-Check"])


def test_an_error_names_the_container_that_answered_it(served: Served) -> None:
    served.faults(failing_model_server=[{"endpoint": "trio"}])
    code, message = error_of(lambda: served.invoke("trio", TargetContainerHostname="Doc-Check"))
    served.faults()
    assert (code, 'Received server error (500) from Doc-Check with message "injected' in message) == (
        "ModelError",
        True,
    )


def test_metrics_are_published_for_each_container_and_for_the_variant(served: Served) -> None:
    served.score("trio", TargetContainerHostname="velocity")
    served.cloud.admin("clock", {"advance_seconds": 120})
    published: dict[str | None, set[str]] = {}
    for page in served.account.client("cloudwatch").get_paginator("list_metrics").paginate():
        for metric in page["Metrics"]:
            dimensions = {item["Name"]: item["Value"] for item in metric["Dimensions"]}
            if dimensions.get("EndpointName") == "trio":
                published.setdefault(dimensions.get("ContainerName"), set()).add(metric["MetricName"])
    assert published.keys() == {None, *ROUNDS}
    for name in ROUNDS:
        assert published[name] >= {"CPUUtilization", "MemoryUtilization"}
    calls = {"Invocations", "ContainerLatency", "OverheadLatency", "Invocation4XXErrors", "Invocation5XXErrors"}
    assert published["velocity"] == calls | {"CPUUtilization", "MemoryUtilization"}
    assert "ContainerLatency" not in published[None]
    assert published[None] >= {"Invocations", "InvocationsPerInstance", "ModelLatency", "DiskUtilization"}


@pytest.mark.parametrize(
    ("change", "mode", "words"),
    [
        ({"ContainerHostname": "a"}, "Direct", "must be unique"),
        ({"ContainerHostname": "-a"}, "Direct", "containerHostname"),
        ({"Mode": "MultiModel"}, "Direct", "no container in MultiModel mode"),
        ({"Mode": "MultiModel"}, "Serial", "More than one container in MultiModel mode is not supported"),
    ],
)
def test_containers_that_sagemaker_refuses_together_are_refused(
    served: Served, change: dict[str, Any], mode: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        create(served, "wrong", containers(served, **change), mode)


def test_the_number_of_containers_and_their_hostnames_are_checked(served: Served) -> None:
    sound = containers(served)
    nameless = [{key: value for key, value in sound[0].items() if key != "ContainerHostname"}, *sound[1:]]
    many = [{**sound[0], "ContainerHostname": f"c{number}"} for number in range(16)]
    for members, words in (
        (sound[:1], "2 containers or more"),
        (nameless, "a hostname for every"),
        (many, "less than or equal to 15"),
    ):
        with pytest.raises(ClientError, match=words):
            create(served, "wrong", members)
