"""The capacity arithmetic of scaling policies, for any numbers."""

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from local_cloud.services.autoscaling.arithmetic import Decision, combined, stepped, tracked

capacities = st.integers(0, 40)
decisions = st.lists(st.builds(Decision, st.sampled_from(["requests", "calm"]), st.none() | capacities), max_size=6)


@given(capacities, capacities, capacities, decisions)
def test_never_outside_the_bounds_and_in_only_if_all_agree(
    capacity: int, one: int, other: int, asked: list[Decision]
) -> None:
    minimum, maximum = sorted((one, other))
    chosen = combined(capacity, minimum, maximum, asked)

    if chosen is None:
        return
    instances, decision = chosen
    assert minimum <= instances <= maximum
    assert instances != capacity
    assert decision in asked
    if instances < capacity:
        assert all(each.instances is not None and each.instances < capacity for each in asked)
        assert instances == max(minimum, min(maximum, max(each.instances or 0 for each in asked)))
    else:
        assert any(each.instances is not None and each.instances > capacity for each in asked)


@given(st.integers(1, 20), decisions)
def test_out_if_any_policy_asks_and_there_is_room(capacity: int, asked: list[Decision]) -> None:
    wanted = max((decision.instances or 0 for decision in asked), default=0)
    assume(wanted > capacity)

    chosen = combined(capacity, 1, 40, asked)

    assert chosen is not None
    assert chosen[0] == wanted


@given(st.integers(1, 50), st.floats(0.1, 1e5), st.floats(1, 1e4))
def test_tracking_meets_its_target_with_the_fewest_instances(capacity: int, load: float, target: float) -> None:
    instances = tracked(capacity, load, target)

    total = capacity * load
    assert total / instances <= target * (1 + 1e-6)
    assert instances == 1 or total / (instances - 1) > target * (1 - 1e-6)


@given(st.integers(0, 50), st.floats(-1e6, 1e6, allow_nan=False), st.sampled_from([(1, "out"), (-1, "in")]))
def test_steps_without_bounds_cover_every_breach(capacity: int, breach: float, sign: tuple[int, str]) -> None:
    policy = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 3 * sign[0]}]}

    assert stepped(capacity, policy, breach) == max(0, capacity + 3 * sign[0])


STEPS = [
    {"MetricIntervalUpperBound": -10, "ScalingAdjustment": -2},
    {"MetricIntervalLowerBound": -10, "MetricIntervalUpperBound": 0, "ScalingAdjustment": -1},
    {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 15, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 15, "ScalingAdjustment": 3},
]


@pytest.mark.parametrize(
    ("breach", "instances"), [(-11, 8), (-10, 8), (-9.9, 9), (-0.1, 9), (0, 11), (14.9, 11), (15, 13), (1e9, 13)]
)
def test_the_step_whose_interval_holds_the_breach_counts(breach: float, instances: int) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html"""
    policy = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS}

    assert stepped(10, policy, breach) == instances


def test_a_breach_that_no_step_covers_asks_for_nothing() -> None:
    policy = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS[2:3]}

    assert stepped(10, policy, 20) is None


@pytest.mark.parametrize(
    ("capacity", "adjustment", "more", "instances"),
    [
        (10, 25, {}, 12),  # 2.5 is rounded down
        (10, -25, {}, 8),  # -2.5 is rounded up
        (10, 5, {}, 11),  # 0.5 counts as 1
        (10, -5, {}, 9),
        (10, 5, {"MinAdjustmentMagnitude": 3}, 13),
        (10, -100, {}, 0),
        (10, 0, {}, 10),
    ],
)
def test_percent_changes_are_rounded_as_documented(
    capacity: int, adjustment: int, more: dict[str, Any], instances: int
) -> None:
    policy = {"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": adjustment}]}

    assert stepped(capacity, {**policy, **more}, 1) == instances


def test_exact_capacity_is_taken_as_it_is() -> None:
    policy = {"AdjustmentType": "ExactCapacity", "StepAdjustments": [{"ScalingAdjustment": 4}]}

    assert stepped(10, policy, math.pi) == 4
