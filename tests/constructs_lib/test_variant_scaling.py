"""How an endpoint's variant scales."""

from typing import Any

import pytest
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.assertions import Match, Template
from synthesis import AUDIENCE, alarm, only, resources, template_of

from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.variant_scaling import VariantScaling
from local_cloud.testing.fleets import DELETE, fleet

TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
NAME = "shop--test--tail--all--mme-m5-large"
POLICY = "AWS::ApplicationAutoScaling::ScalingPolicy"
EVENING = {"schedule": "cron(0 20 * * ? *)", "timezone": "Europe/London", "min": 1, "max": 2}
MORNING = {"schedule": "cron(0 7 * * ? *)", "min": 2, "max": 6}


def scaling_template(**tail: Any) -> Template:
    config = fleet(tiers={"tail": tail})
    tier = config.multi_model_tiers["tail"]

    def build(stack: Any) -> None:
        endpoint = sagemaker.CfnEndpoint(stack, "Endpoint", endpoint_config_name="config")
        VariantScaling(
            stack,
            "Scaling",
            endpoint=endpoint,
            metrics=EndpointMetrics(NAME, "multi-model"),
            tier=tier,
            scale_on_cache=tier.scale_on_cache,
            audience=AUDIENCE,
        )

    return template_of(config, build)


@pytest.fixture(scope="module")
def on_calls() -> Template:
    return scaling_template(scale_on_cache=DELETE)


@pytest.fixture(scope="module")
def on_cache() -> Template:
    return scaling_template(scale_on_cache={"max_unloads_per_hour": 200, "add_instances": 2, "cooldown_seconds": 900})


@pytest.fixture(scope="module")
def by_the_clock() -> Template:
    schedules = {"morning": MORNING, "evening": EVENING}
    return scaling_template(scaling={"schedules": schedules, "scale_out_cooldown_seconds": 60})


def policy(template: Template, name: str) -> Any:
    [policy] = [
        resource["Properties"]
        for resource in resources(template, POLICY).values()
        if resource["Properties"]["PolicyName"] == name
    ]
    return policy


def test_the_target_has_the_bounds_of_the_tier_and_no_role(on_calls: Template) -> None:
    on_calls.has_resource_properties(
        TARGET,
        {
            "ServiceNamespace": "sagemaker",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "MinCapacity": 2,
            "MaxCapacity": 6,
            "RoleARN": Match.absent(),
            "ScheduledActions": Match.absent(),
        },
    )
    on_calls.resource_count_is("AWS::IAM::Role", 0)


def test_the_target_names_the_endpoint_by_reference_so_that_it_goes_first(on_calls: Template) -> None:
    resource_id = {"Fn::Join": ["", ["endpoint/", {"Fn::GetAtt": ["Endpoint", "EndpointName"]}, "/variant/AllTraffic"]]}
    on_calls.has_resource_properties(TARGET, {"ResourceId": resource_id})


def test_the_policy_belongs_to_the_target_by_reference(on_calls: Template) -> None:
    [target] = resources(on_calls, TARGET)
    assert only(on_calls, POLICY)["ScalingTargetId"] == {"Ref": target}


def test_calls_per_second_become_calls_per_minute_with_the_safety_factor(on_calls: Template) -> None:
    configuration = only(on_calls, POLICY)["TargetTrackingScalingPolicyConfiguration"]
    assert configuration == {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "TargetValue": 1500,
        "ScaleOutCooldown": 300,
        "ScaleInCooldown": 300,
        "DisableScaleIn": False,
    }


def test_without_a_cache_rule_there_is_one_policy_and_no_alarm(on_calls: Template) -> None:
    on_calls.resource_count_is(POLICY, 1)
    on_calls.resource_count_is("AWS::CloudWatch::Alarm", 0)


def test_scheduled_bounds_are_in_name_order_with_their_time_zones(by_the_clock: Template) -> None:
    assert only(by_the_clock, TARGET)["ScheduledActions"] == [
        {
            "ScheduledActionName": "evening",
            "Schedule": EVENING["schedule"],
            "Timezone": "Europe/London",
            "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 2},
        },
        {
            "ScheduledActionName": "morning",
            "Schedule": MORNING["schedule"],
            "Timezone": "UTC",
            "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 6},
        },
    ]


def test_cooldowns_are_passed_on(by_the_clock: Template) -> None:
    configuration = policy(by_the_clock, "invocations")["TargetTrackingScalingPolicyConfiguration"]
    assert (configuration["ScaleOutCooldown"], configuration["ScaleInCooldown"]) == (60, 300)


def test_with_a_cache_rule_target_tracking_takes_nothing_back(on_cache: Template) -> None:
    assert policy(on_cache, "invocations")["TargetTrackingScalingPolicyConfiguration"]["DisableScaleIn"] is True


def test_a_thrashing_cache_adds_instances(on_cache: Template) -> None:
    step = policy(on_cache, "scale-out-on-cache")
    assert step["PolicyType"] == "StepScaling"
    assert step["StepScalingPolicyConfiguration"] == {
        "AdjustmentType": "ChangeInCapacity",
        "Cooldown": 900,
        "MetricAggregationType": "Maximum",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 2}],
    }


def test_unloads_per_hour_become_unloads_per_quarter_hour(on_cache: Template) -> None:
    properties = alarm(on_cache, contains="unloads an hour")
    assert (properties["MetricName"], properties["Statistic"]) == ("ModelUnloadingTime", "SampleCount")
    assert (properties["Period"], properties["Threshold"]) == (900, 50)
    assert properties["TreatMissingData"] == "notBreaching"


def test_the_thrashing_alarm_triggers_the_policy_that_adds(on_cache: Template) -> None:
    [added] = alarm(on_cache, contains="unloads an hour")["AlarmActions"]
    scale_out = resources(on_cache, POLICY)[added["Ref"]]
    assert scale_out["Properties"]["PolicyName"] == "scale-out-on-cache"


def test_a_calm_hour_removes_one_instance(on_cache: Template) -> None:
    calm = alarm(on_cache, contains="Not an incident")
    [removed] = calm["AlarmActions"]
    scale_in = resources(on_cache, POLICY)[removed["Ref"]]["Properties"]
    [step] = scale_in["StepScalingPolicyConfiguration"]["StepAdjustments"]
    assert step["ScalingAdjustment"] == -1
    assert (calm["EvaluationPeriods"], calm["DatapointsToAlarm"]) == (4, 4)
    assert all(query["MetricStat"]["Period"] == 900 for query in calm["Metrics"] if "MetricStat" in query)


def test_calm_means_half_the_scaling_target_and_hardly_an_unload(on_cache: Template) -> None:
    [expression] = [
        q["Expression"] for q in alarm(on_cache, contains="Not an incident")["Metrics"] if "Expression" in q
    ]
    # 1,500 calls a minute x 15 minutes / 2; a tenth of 50 unloads a quarter-hour.
    assert expression == "IF(invocations < 11250 AND FILL(unloads, 0) <= 5, 1, 0)"
