"""Scaling policies and scheduled actions act, on the local emulator's clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_requests import create_config, create_model

from local_cloud.testing.account import Account, error_of

KEY = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/tail/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
DIMENSIONS = [{"Name": "EndpointName", "Value": "tail"}, {"Name": "VariantName", "Value": "AllTraffic"}]
STARTING_SECONDS = 181


class Tail:
    """The endpoint `tail`, two instances of 2 to 6, with a clock that does not run."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.scaling = account.client("application-autoscaling")
        self.sagemaker = account.client("sagemaker")
        create_model(account)
        create_config(account, "config", "tail")
        self.sagemaker.create_endpoint(EndpointName="tail", EndpointConfigName="config")
        self.sagemaker.describe_endpoint(EndpointName="tail")
        account.stop_clock()
        self.scaling.register_scalable_target(**KEY, MinCapacity=2, MaxCapacity=6)

    @property
    def now(self) -> float:
        return float(self.account.cloud.admin("clock")["now"])

    @property
    def endpoint(self) -> tuple[str, int]:
        """Its status and its instances."""
        described = self.sagemaker.describe_endpoint(EndpointName="tail")
        return described["EndpointStatus"], described["ProductionVariants"][0]["CurrentInstanceCount"]

    @property
    def activities(self) -> list[tuple[str, str, str]]:
        """(status, description, cause) of each activity, newest first."""
        described = self.scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
        return [(a["StatusCode"], a["Description"], a["Cause"]) for a in described]

    @property
    def bounds(self) -> tuple[int, int]:
        [target] = self.scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        return target["MinCapacity"], target["MaxCapacity"]

    def track(self, name: str = "requests", **configuration: Any) -> list[str]:
        """Target 100 a minute for each instance; the names of the policy's alarms."""
        predefined = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        defaults = {"TargetValue": 100.0, "ScaleOutCooldown": 60, "ScaleInCooldown": 300}
        if "CustomizedMetricSpecification" not in configuration:
            defaults["PredefinedMetricSpecification"] = predefined  # type: ignore[assignment]
        policy = self.scaling.put_scaling_policy(
            **KEY,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={**defaults, **configuration},
        )
        return [alarm["AlarmName"] for alarm in policy["Alarms"]]

    def step(self, name: str, metric: str, adjustments: list[dict[str, float]], **configuration: Any) -> None:
        """A step policy and the alarm on Test/<metric> above 10 that drives it."""
        policy = self.scaling.put_scaling_policy(
            **KEY,
            PolicyName=name,
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": adjustments,
                **configuration,
            },
        )
        self.account.client("cloudwatch").put_metric_alarm(
            AlarmName=f"alarm-{name}",
            Namespace="Test",
            MetricName=metric,
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=10,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            AlarmActions=[policy["PolicyARN"]],
        )

    def minutes(self, count: int, requests: float, metric: str = "InvocationsPerInstance") -> None:
        """Minutes in which the variant gets so many requests, whatever its instances are."""
        for _ in range(count):
            datum = {"MetricName": metric, "Value": requests / self.endpoint[1], "Dimensions": DIMENSIONS}
            self.account.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])
            self.account.advance(60)

    def at(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self.now + seconds, UTC).replace(microsecond=0)

    def schedule(self, name: str, schedule: str, **more: Any) -> None:
        self.scaling.put_scheduled_action(**KEY, ScheduledActionName=name, Schedule=schedule, **more)


@pytest.fixture
def tail(account: Account) -> Tail:
    return Tail(account)


def test_too_many_requests_add_the_instances_the_target_needs(tail: Tail) -> None:
    [high, _] = tail.track()
    tail.minutes(2, requests=500)
    calm = tail.endpoint
    tail.minutes(1, requests=500)
    started, [activity] = tail.endpoint, tail.activities
    tail.account.advance(STARTING_SECONDS)

    assert (calm, started, tail.endpoint) == (("InService", 2), ("Updating", 2), ("InService", 5))
    cause = f"monitor alarm {high} in state ALARM triggered policy requests"
    assert activity == ("InProgress", "Setting desired instance count to 5.", cause)
    assert tail.activities == [("Successful", "Setting desired instance count to 5.", cause)]


def test_the_maximum_is_never_passed(tail: Tail) -> None:
    tail.track()
    tail.minutes(3, requests=100_000)
    tail.account.advance(STARTING_SECONDS)
    tail.minutes(8, requests=100_000)

    assert tail.endpoint == ("InService", 6)
    assert len(tail.activities) == 1


def test_after_a_scale_out_only_a_larger_one_comes_before_the_cooldown_is_over(tail: Tail) -> None:
    tail.track(ScaleOutCooldown=600)
    tail.minutes(3, requests=300)
    tail.account.advance(STARTING_SECONDS)
    three = tail.endpoint
    tail.minutes(4, requests=400)  # 133 each: 2 x 1.33 asks for no more than 3
    held = tail.endpoint
    tail.minutes(7, requests=400)

    assert (three, held) == (("InService", 3), ("InService", 3))
    assert tail.endpoint == ("Updating", 3)
    assert tail.activities[0][1] == "Setting desired instance count to 4."


def test_fifteen_calm_minutes_take_instances_back_slowly(tail: Tail) -> None:
    tail.track(ScaleInCooldown=1200)
    tail.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="tail", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 6}]
    )
    tail.account.advance(STARTING_SECONDS)
    tail.minutes(14, requests=350)
    before = tail.endpoint
    tail.minutes(1, requests=350)
    tail.account.advance(STARTING_SECONDS)
    four = tail.endpoint
    tail.minutes(17, requests=120)
    cooling = tail.endpoint
    tail.minutes(4, requests=120)
    tail.account.advance(STARTING_SECONDS)

    assert (before, four, cooling, tail.endpoint) == (
        ("InService", 6),
        ("InService", 4),
        ("InService", 4),
        ("InService", 2),
    )
    assert [activity[0] for activity in tail.activities] == ["Successful", "Successful"]


def test_traffic_that_ends_scales_in_and_disabled_scale_in_does_not(tail: Tail) -> None:
    tail.track(DisableScaleIn=True)
    tail.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="tail", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]
    )
    tail.account.advance(STARTING_SECONDS)
    tail.minutes(20, requests=0)
    kept = tail.endpoint
    tail.track()
    tail.minutes(1, requests=0)
    tail.account.advance(STARTING_SECONDS)

    assert (kept, tail.endpoint) == (("InService", 4), ("InService", 2))


def test_out_if_any_in_only_if_all(tail: Tail) -> None:
    other = {"Namespace": "AWS/SageMaker", "MetricName": "Other", "Statistic": "Sum", "Dimensions": DIMENSIONS}
    tail.track()
    tail.track("other", CustomizedMetricSpecification=other)

    def minutes(count: int, others: float) -> None:
        """No requests, and so much of the other metric, whose target is 100."""
        for _ in range(count):
            datum = {"MetricName": "Other", "Value": others, "Dimensions": DIMENSIONS}
            tail.account.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])
            tail.minutes(1, requests=0)

    minutes(3, others=190)
    tail.account.advance(STARTING_SECONDS)
    out = tail.endpoint
    minutes(16, others=95)
    held = tail.endpoint
    minutes(16, others=10)
    tail.account.advance(STARTING_SECONDS)

    assert out == held == ("InService", 4)
    assert tail.endpoint == ("InService", 2)


def test_steps_by_the_size_of_the_breach_and_never_during_an_update(tail: Tail) -> None:
    steps = [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 20, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 20, "ScalingAdjustment": 3},
    ]
    tail.step("thrash", "Unloads", steps, Cooldown=300)
    for value in (15, 15, 15):
        tail.account.put_metric("Test", "Unloads", value)
        tail.account.advance(59)
    updating = tail.endpoint, tail.activities
    tail.account.advance(STARTING_SECONDS)
    tail.account.put_metric("Test", "Unloads", 15)
    tail.account.advance(1)
    cooling = tail.endpoint
    tail.account.put_metric("Test", "Unloads", 50)
    tail.account.advance(1)
    tail.account.advance(STARTING_SECONDS)

    cause = "monitor alarm alarm-thrash in state ALARM triggered policy thrash"
    assert updating == (("Updating", 2), [("InProgress", "Setting desired instance count to 3.", cause)])
    assert cooling == ("InService", 3)
    assert tail.endpoint == ("InService", 5)  # three more than the two it counted from, not than the three there were
    assert tail.activities[0] == ("Successful", "Setting desired instance count to 5.", cause)


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"StepAdjustments": [{"ScalingAdjustment": 1}]}, "AdjustmentType is None"),
        ({"AdjustmentType": "More", "StepAdjustments": [{"ScalingAdjustment": 1}]}, "AdjustmentType is More"),
        ({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": []}, "At least one StepAdjustment"),
    ],
)
def test_an_impossible_step_policy_is_refused(tail: Tail, configuration: dict[str, Any], told: str) -> None:
    request = {"PolicyName": "x", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": configuration}

    code, message = error_of(tail.scaling.put_scaling_policy, **KEY, **request)

    assert (code, told in message) == ("ValidationException", True)


def test_an_alarm_with_disabled_actions_scales_nothing(tail: Tail) -> None:
    tail.step("thrash", "Unloads", [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}])
    tail.account.client("cloudwatch").disable_alarm_actions(AlarmNames=["alarm-thrash"])
    tail.account.put_metric("Test", "Unloads", 50)
    tail.account.advance(1)

    assert tail.account.alarm_state("alarm-thrash") == "ALARM"
    assert tail.endpoint == ("InService", 2)


def test_suspended_scaling_does_nothing(tail: Tail) -> None:
    tail.track()
    suspended = {"DynamicScalingOutSuspended": True, "ScheduledScalingSuspended": True}
    tail.scaling.register_scalable_target(**KEY, SuspendedState=suspended)
    tail.schedule("soon", f"at({tail.at(100):%Y-%m-%dT%H:%M:%S})", ScalableTargetAction={"MinCapacity": 5})
    tail.minutes(4, requests=500)

    assert (tail.endpoint, tail.bounds, tail.activities) == (("InService", 2), (2, 6), [])


def test_a_scheduled_action_moves_the_bounds_and_capacity_follows(tail: Tail) -> None:
    tail.schedule("morning", f"at({tail.at(100):%Y-%m-%dT%H:%M:%S})", ScalableTargetAction={"MinCapacity": 4})
    tail.account.advance(90)
    before = tail.bounds, tail.endpoint
    tail.account.advance(20)
    after = tail.bounds, tail.endpoint
    tail.account.advance(STARTING_SECONDS)

    assert before == ((2, 6), ("InService", 2))
    assert after == ((4, 6), ("Updating", 2))
    assert tail.endpoint == ("InService", 4)
    assert tail.activities == [
        ("Successful", "Setting desired instance count to 4.", "minimum capacity was set to 4"),
        (
            "Successful",
            "Setting min capacity to 4 and max capacity to 6",
            "scheduled action name morning was triggered",
        ),
    ]


def test_bounds_that_move_during_an_update_are_met_after_it(tail: Tail) -> None:
    create_config(tail.account, "second", "tail")
    tail.sagemaker.update_endpoint(EndpointName="tail", EndpointConfigName="second", RetainAllVariantProperties=True)
    tail.schedule(
        "soon", f"at({tail.at(10):%Y-%m-%dT%H:%M:%S})", ScalableTargetAction={"MaxCapacity": 1, "MinCapacity": 1}
    )
    tail.account.advance(20)
    moved = tail.bounds, tail.endpoint
    tail.account.advance(STARTING_SECONDS)
    tail.account.advance(STARTING_SECONDS)

    assert moved == ((1, 1), ("Updating", 2))
    assert tail.endpoint == ("InService", 1)
    assert tail.activities[0] == ("Successful", "Setting desired instance count to 1.", "maximum capacity was set to 1")


def following(moment: datetime, hour: int) -> datetime:
    candidate = moment.replace(hour=hour, minute=0, second=0)
    return candidate if candidate > moment else candidate + timedelta(days=1)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])  # Tokyo is nine hours ahead the whole year
def test_cron_follows_its_time_zone(tail: Tail, zone: str) -> None:
    tail.schedule(
        "morning", "cron(0 8 * * ? *)", Timezone=zone, ScalableTargetAction={"MinCapacity": 3, "MaxCapacity": 6}
    )
    tail.schedule(
        "evening", "cron(0 20 * * ? *)", Timezone=zone, ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 6}
    )
    ahead = timedelta(hours=9) if zone == "Asia/Tokyo" else timedelta()
    wait: Callable[[int], float] = lambda hour: (  # noqa: E731
        following(tail.at(0) + ahead, hour) - (tail.at(0) + ahead)
    ).total_seconds()
    tail.account.advance(wait(20) + 60)  # after the evening's
    evening = tail.bounds
    tail.account.advance(wait(8) - 60)
    before = tail.bounds
    tail.account.advance(120)
    morning = tail.bounds
    tail.account.advance(5 * 86_400)  # several days later, in order: the morning's was the last

    assert (evening, before, morning, tail.bounds) == ((2, 6), (2, 6), (3, 6), (3, 6))


def test_a_rate_counts_from_the_creation_and_stops_at_its_end(tail: Tail) -> None:
    tail.schedule("hourly", "rate(1 hour)", EndTime=tail.at(5000), ScalableTargetAction={"MinCapacity": 3})
    tail.account.advance(3590)
    before = tail.bounds
    tail.account.advance(20)
    once = tail.bounds
    tail.scaling.register_scalable_target(**KEY, MinCapacity=2)
    tail.account.advance(7200)

    assert (before, once, tail.bounds) == ((2, 6), (3, 6), (2, 6))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"Schedule": "cron(0 8 * *)"}, "Invalid schedule: cron(0 8 * *)"),
        ({"Schedule": "rate(0 minutes)"}, "Invalid schedule"),
        ({"Timezone": "Europe/Nowhere"}, "Invalid time zone: Europe/Nowhere"),
        ({"ScalableTargetAction": {}}, "needs MinCapacity or MaxCapacity"),
        ({"ScalableTargetAction": {"MinCapacity": 5, "MaxCapacity": 4}}, "cannot be less than minimum"),
    ],
)
def test_an_impossible_scheduled_action_is_refused(tail: Tail, change: dict[str, Any], told: str) -> None:
    request = {"Schedule": "cron(0 8 * * ? *)", "ScalableTargetAction": {"MinCapacity": 4}, **change}

    code, message = error_of(tail.scaling.put_scheduled_action, **KEY, ScheduledActionName="x", **request)

    assert (code, told in message) == ("ValidationException", True)


def test_bounds_that_cross_are_a_failed_activity(tail: Tail) -> None:
    tail.schedule("wrong", f"at({tail.at(5):%Y-%m-%dT%H:%M:%S})", ScalableTargetAction={"MinCapacity": 9})
    tail.account.advance(10)

    [(status, description, _)] = tail.activities
    assert (status, description) == ("Failed", "Setting min capacity to 9 and max capacity to 6")
    assert (tail.bounds, tail.endpoint) == ((2, 6), ("InService", 2))
