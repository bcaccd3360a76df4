"""Endpoints over time: states, updates to a new fleet, guardrails, events. The clock does not run here."""

import json
from typing import Any

import pytest
from aws_requests import create_config, create_model

from local_cloud.testing.account import Account, error_of
from local_cloud.testing.fleet_template import canary

ALARM = "whale-slow"


@pytest.fixture
def whale(account: Account) -> Account:
    """An account with models v1 and v2, a configuration for each, and an endpoint that serves v1."""
    sagemaker = account.client("sagemaker")
    for version in ("v1", "v2"):
        account.upload(f"models/m01/{version}.tar.gz")
        url = f"s3://{account.bucket}/models/m01/{version}.tar.gz"
        create_model(account, version, Mode="SingleModel", ModelDataUrl=url)
        create_config(account, version, version)
    account.client("cloudwatch").put_metric_alarm(
        AlarmName=ALARM,
        Namespace="Test",
        MetricName="Slow",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    account.stop_clock()
    sagemaker.create_endpoint(EndpointName="whale", EndpointConfigName="v1")
    account.advance(181)
    assert describe(account)["EndpointStatus"] == "InService"
    return account


def describe(account: Account) -> dict[str, Any]:
    answer: dict[str, Any] = account.client("sagemaker").describe_endpoint(EndpointName="whale")
    return answer


def update(account: Account, config: str = "v2", **request: Any) -> None:
    account.client("sagemaker").update_endpoint(EndpointName="whale", EndpointConfigName=config, **request)


def state(account: Account) -> tuple[str, str]:
    endpoint = describe(account)
    return endpoint["EndpointStatus"], endpoint["EndpointConfigName"]


def test_endpoint_is_creating_until_its_fleet_is_up(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html"""
    create_model(account)
    create_config(account, "config", "tail")
    account.stop_clock()
    account.client("sagemaker").create_endpoint(EndpointName="whale", EndpointConfigName="config")

    before = state(account)
    account.advance(179)
    almost = state(account)
    account.advance(2)

    assert before == almost == ("Creating", "config")
    assert state(account) == ("InService", "config")


def test_endpoint_whose_container_never_gets_healthy_fails_and_can_only_be_deleted(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html"""
    create_model(account)
    create_config(account, "config", "tail")
    account.cloud.admin("faults", {"unhealthy_model_data": ["/models/"]})
    sagemaker = account.client("sagemaker")
    sagemaker.create_endpoint(EndpointName="whale", EndpointConfigName="config")
    describe(account)

    failed = describe(account)
    refused = error_of(sagemaker.update_endpoint, EndpointName="whale", EndpointConfigName="config")
    sagemaker.delete_endpoint(EndpointName="whale")

    assert failed["EndpointStatus"] == "Failed"
    assert "ping health check" in failed["FailureReason"]
    assert refused[0] == "ValidationException"


def test_update_serves_the_old_configuration_until_the_new_fleet_takes_over(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html"""
    update(whale)

    during = describe(whale)
    whale.advance(181)

    assert (during["EndpointStatus"], during["EndpointConfigName"]) == ("Updating", "v1")
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == "v2"
    assert state(whale) == ("InService", "v2")


@pytest.mark.parametrize("operation", ["update_endpoint", "delete_endpoint"])
def test_endpoint_in_progress_refuses_changes(whale: Account, operation: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html"""
    update(whale)
    request = {"EndpointName": "whale"} | ({"EndpointConfigName": "v1"} if "update" in operation else {})

    code, message = error_of(getattr(whale.client("sagemaker"), operation), **request)

    assert code == "ValidationException"
    assert message == f'Cannot update in-progress endpoint "{describe(whale)["EndpointArn"]}".'


@pytest.mark.parametrize(
    ("request_fields", "instances"),
    [
        ({}, 2),
        ({"RetainAllVariantProperties": True}, 5),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
            },
            2,
        ),
    ],
)
def test_update_keeps_the_running_capacity_only_when_told(
    whale: Account, request_fields: dict[str, Any], instances: int
) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_VariantProperty.html"""
    whale.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName="whale",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 5}],
    )
    whale.advance(181)
    assert describe(whale)["ProductionVariants"][0]["CurrentInstanceCount"] == 5

    update(whale, **request_fields)
    whale.advance(181)

    assert describe(whale)["ProductionVariants"][0]["DesiredInstanceCount"] == instances


def test_exclude_without_retain_is_refused(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html"""
    excluded = [{"VariantPropertyType": "DesiredWeight"}]

    code, message = error_of(update, account=whale, ExcludeRetainedVariantProperties=excluded)

    assert code == "ValidationException"
    assert "RetainAllVariantProperties" in message


def register(account: Account) -> dict[str, str]:
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/whale/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    account.client("application-autoscaling").register_scalable_target(**target, MinCapacity=1, MaxCapacity=8)
    return target


def test_instance_type_of_an_autoscaled_variant_cannot_change(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html"""
    create_config(whale, "bigger", "v1", InstanceType="ml.m5.xlarge")
    target = register(whale)

    code, message = error_of(update, account=whale, config="bigger")
    whale.client("application-autoscaling").deregister_scalable_target(**target)
    update(whale, "bigger")

    assert code == "ValidationException"
    assert "target for auto scaling" in message


def test_model_of_an_autoscaled_variant_can_change(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html"""
    register(whale)

    update(whale)
    whale.advance(181)

    assert state(whale) == ("InService", "v2")


def test_canary_bakes_then_shifts_then_keeps_the_old_fleet_for_a_while(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html"""
    update(whale, DeploymentConfig=canary(ALARM))  # 180 s of start, 300 s of canary, 120 s before termination

    states = []
    for seconds in (181, 299, 119, 2):
        whale.advance(seconds)
        states.append(state(whale))

    assert states == [("Updating", "v1")] * 3 + [("InService", "v2")]


@pytest.mark.parametrize("moment", [0, 181, 500])
def test_alarm_at_any_moment_of_the_update_rolls_back(whale: Account, moment: int) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html"""
    update(whale, DeploymentConfig=canary(ALARM))
    whale.advance(moment)

    whale.put_metric("Test", "Slow", 1)
    rolling_back = describe(whale)
    whale.advance(61)

    assert (rolling_back["EndpointStatus"], rolling_back["EndpointConfigName"]) == ("RollingBack", "v1")
    assert ALARM in rolling_back["FailureReason"]
    assert state(whale) == ("InService", "v1")


def test_alarm_that_is_red_beforehand_rolls_back_at_once(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html"""
    whale.put_metric("Test", "Slow", 1)

    update(whale, DeploymentConfig=canary(ALARM))

    assert state(whale) == ("RollingBack", "v1")


def test_new_fleet_that_never_gets_healthy_rolls_back(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html"""
    whale.cloud.admin("faults", {"unhealthy_model_data": ["m01/v2"]})

    update(whale)
    whale.advance(181)
    rolling_back = state(whale)
    whale.advance(61)

    assert rolling_back == ("RollingBack", "v1")
    assert state(whale) == ("InService", "v1")


def shift(routing: dict[str, Any], **policy: Any) -> dict[str, Any]:
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **policy}}


def test_linear_shift_waits_between_steps(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-linear.html"""
    step = {"Type": "CAPACITY_PERCENT", "Value": 33}
    routing = {"Type": "LINEAR", "LinearStepSize": step, "WaitIntervalInSeconds": 100}
    update(whale, DeploymentConfig=shift(routing))  # shares 33, 66, 99, 100: four waits

    whale.advance(579)
    almost = state(whale)
    whale.advance(2)

    assert almost == ("Updating", "v1")
    assert state(whale) == ("InService", "v2")


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (
            shift(
                {
                    "Type": "CANARY",
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 60},
                    "WaitIntervalInSeconds": 0,
                }
            ),
            "CanarySize must be between 1 and 50 percent",
        ),
        (shift({"Type": "LINEAR", "WaitIntervalInSeconds": 0}), "LinearStepSize is required"),
        (
            shift(
                {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                TerminationWaitInSeconds=700,
                MaximumExecutionTimeoutInSeconds=600,
            ),
            "must exceed the total wait of 700 seconds",
        ),
    ],
)
def test_impossible_deployment_configuration_is_refused(whale: Account, config: dict[str, Any], complaint: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html"""
    code, message = error_of(update, account=whale, DeploymentConfig=config)

    assert code == "ValidationException"
    assert complaint in message


def test_deleted_endpoint_is_deleting_then_gone_and_takes_its_scaling_along(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpoint.html"""
    register(whale)
    sagemaker = whale.client("sagemaker")

    sagemaker.delete_endpoint(EndpointName="whale")
    deleting = state(whale)[0]
    whale.advance(21)
    gone = error_of(sagemaker.describe_endpoint, EndpointName="whale")

    assert deleting == "Deleting"
    assert gone[0] == "ValidationException"
    assert gone[1].startswith("Could not find endpoint ")
    scaling = whale.client("application-autoscaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_endpoint_lists_by_status(whale: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListEndpoints.html"""
    whale.client("sagemaker").create_endpoint(EndpointName="second", EndpointConfigName="v1")

    in_service = whale.client("sagemaker").list_endpoints(StatusEquals="InService")["Endpoints"]
    creating = whale.client("sagemaker").list_endpoints(StatusEquals="Creating")["Endpoints"]

    assert [e["EndpointName"] for e in in_service] == ["whale"]
    assert [e["EndpointName"] for e in creating] == ["second"]


def test_in_service_reaches_eventbridge_several_times(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html"""
    create_model(account)
    create_config(account, "config", "tail")
    sqs, events = account.client("sqs"), account.client("events")
    queue_url = sqs.create_queue(QueueName="events")["QueueUrl"]
    queue_arn = f"arn:aws:sqs:eu-west-1:{account.id}:events"
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Endpoint State Change"],
        "detail": {"EndpointName": ["whale"], "EndpointStatus": ["IN_SERVICE"]},
    }
    events.put_rule(Name="in-service", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="in-service", Targets=[{"Id": "queue", "Arn": queue_arn}])

    account.client("sagemaker").create_endpoint(EndpointName="whale", EndpointConfigName="config")
    describe(account)
    assert describe(account)["EndpointStatus"] == "InService"
    received = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)["Messages"]

    assert len(received) > 1
    event = json.loads(received[0]["Body"])
    assert event["detail"]["EndpointStatus"] == "IN_SERVICE"
    assert event["detail"]["EndpointConfigName"] == "config"
    assert event["account"] == account.id
