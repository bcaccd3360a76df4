"""A whale's endpoint."""

from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template
from synthesis import AUDIENCE, BUCKET, ROLE_ARN, only, resources, template_of

from constructs_lib.hosting.dedicated_endpoint import DedicatedEndpoint
from local_cloud.testing.fleets import fleet

NAME = "shop--test--whale--w1--dedicated-m5-large"
NETWORK = {
    "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
    "security_group_ids": ["sg-0000000000000000c"],
}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"


def whale_template(**changes: Any) -> Template:
    config = fleet(**changes)

    def build(stack: Any) -> None:
        DedicatedEndpoint(
            stack,
            "Whale",
            config=config,
            tier_name="whale",
            tier=config.dedicated_tiers["whale"],
            tenant="w1",
            image_uris=["image"],
            execution_role=iam.Role.from_role_arn(stack, "Role", ROLE_ARN),
            audience=AUDIENCE,
        )

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return whale_template()


@pytest.fixture(scope="module")
def configured() -> Template:
    return whale_template(
        network_isolation=True,
        network=NETWORK,
        encryption={"volume_kms_key_arn": KEY},
        tiers={"whale": {"guardrail": {"type": "ALL_AT_ONCE", "wait_interval_in_seconds": 60}}},
    )


def test_the_model_is_the_pinned_artefact_alone(plain: Template) -> None:
    container = only(plain, "AWS::SageMaker::Model")["PrimaryContainer"]
    assert container["Mode"] == "SingleModel"
    assert container["ModelDataUrl"] == f"s3://{BUCKET}/models/w1/2027-01-01.tar.gz"
    assert "MultiModelConfig" not in container


def test_calls_go_to_the_least_busy_instance(plain: Template) -> None:
    [variant] = only(plain, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    assert variant["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}


def test_model_and_endpoint_config_carry_no_name(plain: Template) -> None:
    assert "ModelName" not in only(plain, "AWS::SageMaker::Model")
    assert "EndpointConfigName" not in only(plain, "AWS::SageMaker::EndpointConfig")


def test_the_endpoint_has_its_literal_name_and_keeps_what_scaling_did(plain: Template) -> None:
    plain.has_resource_properties(
        "AWS::SageMaker::Endpoint", {"EndpointName": NAME, "RetainAllVariantProperties": True}
    )


def test_vpc_isolation_and_volume_key_are_passed_on(configured: Template) -> None:
    vpc = {"Subnets": NETWORK["subnets"], "SecurityGroupIds": NETWORK["security_group_ids"]}
    configured.has_resource_properties("AWS::SageMaker::Model", {"VpcConfig": vpc, "EnableNetworkIsolation": True})
    configured.has_resource_properties("AWS::SageMaker::EndpointConfig", {"KmsKeyId": KEY})


def test_paid_metrics_are_off_explicitly(plain: Template) -> None:
    config = only(plain, "AWS::SageMaker::EndpointConfig")
    assert config["MetricsConfig"] == {"EnableDetailedObservability": False, "EnableEnhancedMetrics": False}


def test_an_update_starts_with_one_canary_instance_by_default(plain: Template) -> None:
    policy = only(plain, "AWS::SageMaker::Endpoint")["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy == {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 420,
        },
        "TerminationWaitInSeconds": 420,
        "MaximumExecutionTimeoutInSeconds": 3600,
    }


def test_an_update_all_at_once_has_no_step_size(configured: Template) -> None:
    policy = only(configured, "AWS::SageMaker::Endpoint")["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60}


def test_latency_and_errors_take_an_update_back(plain: Template) -> None:
    alarms = only(plain, "AWS::SageMaker::Endpoint")["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert alarms == [{"AlarmName": f"{NAME}--model-latency"}, {"AlarmName": f"{NAME}--server-errors"}]


ROLLBACK = {f"{NAME}--model-latency", f"{NAME}--server-errors"}


def test_the_rollback_alarms_precede_the_endpoint_and_the_others_follow_it(plain: Template) -> None:
    [(endpoint_id, endpoint)] = resources(plain, "AWS::SageMaker::Endpoint").items()
    alarms = resources(plain, "AWS::CloudWatch::Alarm")
    named = {alarm["Properties"]["AlarmName"]: logical_id for logical_id, alarm in alarms.items()}
    assert set(endpoint["DependsOn"]) == {named[name] for name in ROLLBACK}
    others = {name: alarms[logical_id] for name, logical_id in named.items() if name not in ROLLBACK}
    assert len(others) == 4
    assert all(alarm["DependsOn"] == [endpoint_id] for alarm in others.values())


def test_every_alarm_bears_the_endpoints_name_so_that_another_endpoint_gets_others(plain: Template) -> None:
    for alarm in resources(plain, "AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["AlarmName"].startswith(f"{NAME}--")


def test_the_latency_limit_is_milliseconds_in_the_file_and_microseconds_in_the_alarm(plain: Template) -> None:
    plain.has_resource_properties(
        "AWS::CloudWatch::Alarm",
        {
            "MetricName": "ModelLatency",
            "ExtendedStatistic": "p99",
            "Statistic": Match.absent(),
            "Threshold": 50_000,
            "EvaluateLowSampleCountPercentile": "evaluate",
            "TreatMissingData": "notBreaching",
        },
    )


def test_a_whale_scales_on_calls_alone(plain: Template) -> None:
    plain.resource_count_is("AWS::ApplicationAutoScaling::ScalingPolicy", 1)
    plain.has_resource_properties("AWS::ApplicationAutoScaling::ScalingPolicy", {"PolicyType": "TargetTrackingScaling"})
