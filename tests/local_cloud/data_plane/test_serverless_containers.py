"""Which containers of a serverless variant are started without a call, and which are stopped."""

from types import SimpleNamespace
from typing import Any

import pytest

from local_cloud.data_plane.desired import ServerlessSpec
from local_cloud.data_plane.serverless import containers_to_start, idle_containers


def container(status: str, *, idle: bool = True) -> Any:
    since = float("-inf") if idle else float("inf")
    return SimpleNamespace(status=status, was_healthy=status == "InService", in_flight=[], idle_since=since)


@pytest.mark.parametrize(
    ("provisioned", "statuses", "stopped"),
    [
        (0, ["InService", "InService"], [0, 1]),
        (1, ["InService", "InService"], [0]),
        (2, ["InService", "InService"], []),
        (0, ["Starting", "InService"], [1]),
        # A failed one keeps no other from being warm.
        (1, ["InService", "Failed"], [1]),
        (1, ["Failed"], [0]),
    ],
)
def test_idle_containers_beyond_the_provisioned_ones_are_stopped(
    provisioned: int, statuses: list[str], stopped: list[int]
) -> None:
    spec = ServerlessSpec(memory_mib=1024, max_concurrency=5, provisioned_concurrency=provisioned)
    instances = [container(status) for status in statuses]
    ended = set(map(id, idle_containers(spec, instances, 60)))
    assert [place for place, each in enumerate(instances) if id(each) in ended] == stopped
    left = [each for place, each in enumerate(instances) if place not in stopped]
    assert containers_to_start(spec, left, began=True) == max(0, provisioned - len(left))


def test_a_container_that_had_a_call_lately_stays() -> None:
    spec = ServerlessSpec(memory_mib=1024, max_concurrency=5, provisioned_concurrency=0)
    assert idle_containers(spec, [container("InService", idle=False)], 60) == []
