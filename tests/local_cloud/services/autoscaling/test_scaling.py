"""Application Auto Scaling for SageMaker variants."""

from typing import Any

import pytest
from aws_requests import create_config, create_model

from local_cloud.testing.account import Account, error_of

TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/tail/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
TRACKING = {
    "TargetValue": 3000.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}


@pytest.fixture
def tail(account: Account) -> Account:
    """An account with an endpoint `tail` of two instances in service."""
    create_model(account)
    create_config(account, "config", "tail")
    account.client("sagemaker").create_endpoint(EndpointName="tail", EndpointConfigName="config")
    account.client("sagemaker").describe_endpoint(EndpointName="tail")
    return account


def scaling(account: Account) -> Any:
    return account.client("application-autoscaling")


def track(account: Account, **configuration: Any) -> Any:
    return scaling(account).put_scaling_policy(
        **TARGET,
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={**TRACKING, **configuration},
    )


def instances(account: Account) -> int:
    endpoint = account.client("sagemaker").describe_endpoint(EndpointName="tail")
    return int(endpoint["ProductionVariants"][0]["CurrentInstanceCount"])


@pytest.mark.parametrize("resource_id", ["endpoint/absent/variant/AllTraffic", "endpoint/tail/variant/Other"])
def test_target_must_exist(tail: Account, resource_id: str) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html"""
    request = {**TARGET, "ResourceId": resource_id, "MinCapacity": 1, "MaxCapacity": 2}

    code, _ = error_of(scaling(tail).register_scalable_target, **request)

    assert code == "ValidationException"


def test_registering_again_updates_the_bounds_given(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html"""
    arn = scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)["ScalableTargetARN"]

    again = scaling(tail).register_scalable_target(**TARGET, MaxCapacity=9)["ScalableTargetARN"]

    [target] = scaling(tail).describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert arn == again == target["ScalableTargetARN"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 9)
    assert target["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")


def test_minimum_above_maximum_is_refused(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html"""
    code, _ = error_of(scaling(tail).register_scalable_target, **TARGET, MinCapacity=7, MaxCapacity=6)

    assert code == "ValidationException"


def test_minimum_above_the_running_count_scales_out_and_is_written_down(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalingActivities.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=4, MaxCapacity=6)
    tail.client("sagemaker").describe_endpoint(EndpointName="tail")

    [activity] = scaling(tail).describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]

    assert activity["StatusCode"] == "Successful"
    assert activity["ResourceId"] == TARGET["ResourceId"]
    assert instances(tail) == 4


def test_refused_scaling_is_a_failed_activity(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_ScalingActivity.html"""
    create_config(tail, "second", "tail")
    tail.stop_clock()
    tail.client("sagemaker").update_endpoint(EndpointName="tail", EndpointConfigName="second")

    scaling(tail).register_scalable_target(**TARGET, MinCapacity=4, MaxCapacity=6)

    [activity] = scaling(tail).describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    assert activity["StatusCode"] == "Failed"
    assert "in-progress" in activity["StatusMessage"]


def test_policy_and_scheduled_action_need_a_target(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html"""
    policy = error_of(track, account=tail)
    action = error_of(
        scaling(tail).put_scheduled_action,
        **TARGET,
        ScheduledActionName="morning",
        Schedule="cron(0 8 * * ? *)",
        ScalableTargetAction={"MinCapacity": 4},
    )

    assert policy[0] == action[0] == "ObjectNotFoundException"
    assert policy[1].startswith("No scalable target registered for service namespace: sagemaker")


def test_target_tracking_policy_makes_its_two_alarms(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)

    created = track(tail)

    names = [alarm["AlarmName"] for alarm in created["Alarms"]]
    alarms = tail.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    conditions = {
        alarm["AlarmName"].split("-")[2]: (alarm["ComparisonOperator"], alarm["Threshold"]) for alarm in alarms
    }
    assert all(n.startswith("TargetTracking-endpoint/tail/variant/AllTraffic-") for n in names)
    assert conditions == {
        "AlarmHigh": ("GreaterThanThreshold", 3000.0),
        "AlarmLow": ("LessThanThreshold", 2700.0),
    }
    assert {d["Name"] for d in alarms[0]["Dimensions"]} == {"EndpointName", "VariantName"}
    assert alarms[0]["MetricName"] == "InvocationsPerInstance"
    assert alarms[0]["AlarmActions"] == [created["PolicyARN"]]


def test_policy_without_scale_in_has_no_low_alarm(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)

    assert len(track(tail, DisableScaleIn=True)["Alarms"]) == 1


def test_deleting_a_policy_deletes_its_alarms(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeleteScalingPolicy.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)
    track(tail)

    scaling(tail).delete_scaling_policy(**TARGET, PolicyName="requests")
    again = error_of(scaling(tail).delete_scaling_policy, **TARGET, PolicyName="requests")

    assert tail.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert again[0] == "ObjectNotFoundException"


def test_step_policy_shows_the_alarms_that_act_on_it(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/userguide/create-step-scaling-policy-cli.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)
    arn = scaling(tail).put_scaling_policy(
        **TARGET,
        PolicyName="cache",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    )["PolicyARN"]
    tail.client("cloudwatch").put_metric_alarm(
        AlarmName="thrash",
        Namespace="AWS/SageMaker",
        MetricName="ModelUnloadingTime",
        Statistic="SampleCount",
        Period=300,
        EvaluationPeriods=1,
        Threshold=10,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[arn],
    )

    [policy] = scaling(tail).describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]

    assert [alarm["AlarmName"] for alarm in policy["Alarms"]] == ["thrash"]


def test_scheduled_action_is_kept_with_its_time_zone(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)
    scaling(tail).put_scheduled_action(
        **TARGET,
        ScheduledActionName="morning",
        Schedule="cron(0 8 * * ? *)",
        Timezone="Europe/London",
        ScalableTargetAction={"MinCapacity": 4, "MaxCapacity": 6},
    )

    [action] = scaling(tail).describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    scaling(tail).delete_scheduled_action(**TARGET, ScheduledActionName="morning")

    assert action["Timezone"] == "Europe/London"
    assert scaling(tail).describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"] == []


def test_deregistering_takes_policies_and_alarms_along(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeregisterScalableTarget.html"""
    scaling(tail).register_scalable_target(**TARGET, MinCapacity=2, MaxCapacity=6)
    track(tail)

    scaling(tail).deregister_scalable_target(**TARGET)

    assert scaling(tail).describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    assert tail.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert error_of(scaling(tail).deregister_scalable_target, **TARGET)[0] == "ObjectNotFoundException"


def test_targets_are_paged(tail: Account) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalableTargets.html"""
    for i in range(7):
        tail.client("sagemaker").create_endpoint(EndpointName=f"e{i}", EndpointConfigName="config")
        request = {**TARGET, "ResourceId": f"endpoint/e{i}/variant/AllTraffic"}
        scaling(tail).register_scalable_target(**request, MinCapacity=1, MaxCapacity=2)

    pages = list(
        scaling(tail)
        .get_paginator("describe_scalable_targets")
        .paginate(ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 3})
    )

    assert [len(page["ScalableTargets"]) for page in pages] == [3, 3, 1]
