"""The timetable of an update: every step bakes, and no step is missing."""

from math import ceil
from typing import Any

import pytest

from local_cloud.core.errors import ServiceError
from local_cloud.services.sagemaker.traffic_shift import PROVISION_SECONDS, Step, check, timetable

WAIT, LAST_WAIT = 100.0, 50.0


def update(routing: dict[str, Any], **policy: Any) -> dict[str, Any]:
    routing = {"WaitIntervalInSeconds": WAIT, **routing}
    policy = {"TerminationWaitInSeconds": LAST_WAIT, **policy}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **policy}}


def linear(percent: int, **policy: Any) -> dict[str, Any]:
    size = {"Type": "CAPACITY_PERCENT", "Value": percent}
    return update({"Type": "LINEAR", "LinearStepSize": size}, **policy)


@pytest.mark.parametrize("percent", range(10, 51))
def test_every_step_of_a_linear_shift_bakes_the_last_one_too(percent: int) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-linear.html"""
    start, *steps, last = timetable(linear(percent), 0.0, instances=4)

    assert start == Step(PROVISION_SECONDS, 0)
    assert len(steps) == ceil(100 / percent)
    assert [step.new_fleet_traffic_percent for step in steps] == [
        min(100, percent * number) for number in range(1, len(steps) + 1)
    ]
    assert [step.ends_at for step in steps] == [PROVISION_SECONDS + WAIT * n for n in range(1, len(steps) + 1)]
    assert last == Step(steps[-1].ends_at + LAST_WAIT, 100)


def test_a_linear_shift_of_30_percent_has_four_steps() -> None:
    shares = [step.new_fleet_traffic_percent for step in timetable(linear(30), 0.0, instances=4)]
    assert shares == [0, 30, 60, 90, 100, 100]


@pytest.mark.parametrize(("instances", "shares"), [(2, [50, 100]), (3, [34, 68, 100]), (4, [25, 50, 75, 100])])
def test_a_linear_shift_by_instances_moves_one_after_the_other(instances: int, shares: list[int]) -> None:
    size = {"Type": "INSTANCE_COUNT", "Value": 1}
    _, *steps, _ = timetable(update({"Type": "LINEAR", "LinearStepSize": size}), 0.0, instances)
    assert [step.new_fleet_traffic_percent for step in steps] == shares


@pytest.mark.parametrize("percent", range(10, 51))
def test_the_time_limit_of_an_update_is_held_against_every_wait(percent: int) -> None:
    waits = ceil(100 / percent) * WAIT + LAST_WAIT
    check(linear(percent, MaximumExecutionTimeoutInSeconds=waits + 1))
    with pytest.raises(ServiceError, match=f"total wait of {waits}"):
        check(linear(percent, MaximumExecutionTimeoutInSeconds=waits))


@pytest.mark.parametrize("percent", [5, 30, 50])
def test_every_batch_of_a_rolling_update_bakes_the_last_one_too(percent: int) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-rolling.html"""
    size = {"Type": "CAPACITY_PERCENT", "Value": percent}
    steps = timetable({"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": WAIT}}, 0.0, 4)

    batches = ceil(100 / percent)
    assert len(steps) == 2 * batches
    assert steps[-1] == Step(batches * (PROVISION_SECONDS + WAIT), 100)
    assert [step.new_fleet_traffic_percent for step in steps[1::2]] == [
        min(100, percent * number) for number in range(1, batches + 1)
    ]
