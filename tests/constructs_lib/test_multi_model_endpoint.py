"""The shared tier's endpoint."""

from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template
from synthesis import AUDIENCE, BUCKET, ROLE_ARN, only, resources, template_of

from constructs_lib.hosting.multi_model_endpoint import MultiModelEndpoint
from local_cloud.testing.fleets import fleet

KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"
NAME = "shop--test--tail--all--mme-m5-xlarge"


def endpoint_template(**changes: Any) -> Template:
    config = fleet(**changes)

    def build(stack: Any) -> None:
        MultiModelEndpoint(
            stack,
            "Tail",
            config=config,
            tier_name="tail",
            tier=config.multi_model_tiers["tail"],
            image_uri="141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1",
            execution_role=iam.Role.from_role_arn(stack, "Role", ROLE_ARN),
            audience=AUDIENCE,
        )

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return endpoint_template()


@pytest.fixture(scope="module")
def configured() -> Template:
    return endpoint_template(
        network_isolation=True,
        detailed_observability=True,
        network={
            "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
            "security_group_ids": ["sg-0000000000000000c"],
        },
        encryption={"volume_kms_key_arn": KEY},
        container={"environment": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/code"}},
        tiers={
            "tail": {
                "volume_size_in_gb": 200,
                "model_cache": "Disabled",
                "model_data_download_timeout_in_seconds": 600,
                "container_startup_health_check_timeout_in_seconds": 120,
                "guardrail": {"type": "LINEAR", "linear_step_percent": 50},
            }
        },
    )


def test_the_model_serves_a_prefix_that_ends_with_a_slash(plain: Template) -> None:
    container = {"Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/models/"}
    plain.has_resource_properties(
        "AWS::SageMaker::Model", {"PrimaryContainer": Match.object_like(container), "ExecutionRoleArn": ROLE_ARN}
    )


def test_the_model_cache_is_on_unless_the_tier_says_otherwise(plain: Template, configured: Template) -> None:
    for template, setting in ((plain, "Enabled"), (configured, "Disabled")):
        container = only(template, "AWS::SageMaker::Model")["PrimaryContainer"]
        assert container["MultiModelConfig"] == {"ModelCacheSetting": setting}


def test_the_container_gets_the_environment_as_it_is(plain: Template, configured: Template) -> None:
    assert only(plain, "AWS::SageMaker::Model")["PrimaryContainer"]["Environment"] == {"OMP_NUM_THREADS": "1"}
    assert only(configured, "AWS::SageMaker::Model")["PrimaryContainer"]["Environment"] == {
        "OMP_NUM_THREADS": "1",
        "SAGEMAKER_PROGRAM": "serve.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/code",
    }


def test_the_container_of_a_stock_image_has_no_network_by_default(plain: Template) -> None:
    model = only(plain, "AWS::SageMaker::Model")
    assert model["EnableNetworkIsolation"] is True
    assert "VpcConfig" not in model


def test_the_container_runs_isolated_in_the_vpc_that_is_asked_for(configured: Template) -> None:
    configured.has_resource_properties(
        "AWS::SageMaker::Model",
        {
            "EnableNetworkIsolation": True,
            "VpcConfig": {
                "Subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
                "SecurityGroupIds": ["sg-0000000000000000c"],
            },
        },
    )


def test_model_and_endpoint_config_carry_no_name(plain: Template) -> None:
    assert "ModelName" not in only(plain, "AWS::SageMaker::Model")
    assert "EndpointConfigName" not in only(plain, "AWS::SageMaker::EndpointConfig")


def test_the_model_waits_for_the_policy_of_its_role() -> None:
    config = fleet()

    def build(stack: Any) -> None:
        role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::b/*"]))
        tier = config.multi_model_tiers["tail"]
        options: dict[str, Any] = {"config": config, "tier_name": "tail", "tier": tier, "execution_role": role}
        MultiModelEndpoint(stack, "Tail", **options, image_uri="image", audience=AUDIENCE)

    template = template_of(config, build)
    [model] = resources(template, "AWS::SageMaker::Model").values()
    [policy] = resources(template, "AWS::IAM::Policy")
    assert policy in model["DependsOn"]


def test_the_endpoint_config_holds_one_variant_of_the_tier(plain: Template) -> None:
    [variant] = only(plain, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    [model] = resources(plain, "AWS::SageMaker::Model")
    assert variant == {
        "VariantName": "AllTraffic",
        "ModelName": {"Fn::GetAtt": [model, "ModelName"]},
        "InstanceType": "ml.m5.xlarge",
        "InitialInstanceCount": 2,
        "InitialVariantWeight": 1,
    }


def test_disk_timeouts_and_volume_key_are_passed_on(configured: Template) -> None:
    variant = {
        "VolumeSizeInGB": 200,
        "ModelDataDownloadTimeoutInSeconds": 600,
        "ContainerStartupHealthCheckTimeoutInSeconds": 120,
    }
    configured.has_resource_properties(
        "AWS::SageMaker::EndpointConfig",
        {"KmsKeyId": KEY, "ProductionVariants": [Match.object_like(variant)]},
    )


def test_no_volume_key_is_set_by_default(plain: Template) -> None:
    assert "KmsKeyId" not in only(plain, "AWS::SageMaker::EndpointConfig")


@pytest.mark.parametrize(("name", "detailed"), [("plain", False), ("configured", True)])
def test_paid_metrics_are_on_only_when_asked_for(name: str, detailed: bool, request: pytest.FixtureRequest) -> None:
    config = only(request.getfixturevalue(name), "AWS::SageMaker::EndpointConfig")
    assert config["MetricsConfig"] == {"EnableDetailedObservability": detailed, "EnableEnhancedMetrics": False}


def test_the_endpoint_has_its_literal_name_and_keeps_what_scaling_did(plain: Template) -> None:
    [config] = resources(plain, "AWS::SageMaker::EndpointConfig")
    plain.has_resource_properties(
        "AWS::SageMaker::Endpoint",
        {
            "EndpointName": NAME,
            "EndpointConfigName": {"Fn::GetAtt": [config, "EndpointConfigName"]},
            "RetainAllVariantProperties": True,
            "DeploymentConfig": Match.absent(),
        },
    )


def test_a_guardrail_is_opt_in_and_names_its_alarm_literally(configured: Template) -> None:
    endpoint = only(configured, "AWS::SageMaker::Endpoint")
    assert endpoint["DeploymentConfig"]["AutoRollbackConfiguration"] == {
        "Alarms": [{"AlarmName": f"{endpoint['EndpointName']}--server-errors"}]
    }
    assert endpoint["EndpointName"].startswith(f"{NAME}-")


def test_the_rollback_alarm_precedes_the_endpoint(plain: Template) -> None:
    [endpoint] = resources(plain, "AWS::SageMaker::Endpoint").values()
    named = {
        logical_id
        for logical_id, alarm in resources(plain, "AWS::CloudWatch::Alarm").items()
        if alarm["Properties"].get("AlarmName") == f"{NAME}--server-errors"
    }
    assert set(endpoint["DependsOn"]) == named
    assert len(named) == 1


def test_every_other_alarm_comes_after_the_endpoint_and_bears_its_name(plain: Template) -> None:
    [endpoint] = resources(plain, "AWS::SageMaker::Endpoint")
    others = [
        alarm
        for alarm in resources(plain, "AWS::CloudWatch::Alarm").values()
        if alarm["Properties"]["AlarmName"] != f"{NAME}--server-errors"
    ]
    assert len(others) == 6
    for alarm in others:
        assert alarm["Properties"]["AlarmName"].startswith(f"{NAME}--")
        assert alarm["DependsOn"] == [endpoint]


def test_all_of_it_is_tagged_with_the_tier(plain: Template) -> None:
    tag = {"Key": "tier", "Value": "tail"}
    for kind in ("Model", "EndpointConfig", "Endpoint"):
        assert tag in only(plain, f"AWS::SageMaker::{kind}")["Tags"]
