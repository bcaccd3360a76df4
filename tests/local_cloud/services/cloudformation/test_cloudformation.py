"""Resource types: physical ids, attributes, create-only properties, and nothing skipped silently."""

from typing import Any

import pytest

from local_cloud.testing.account import Account
from local_cloud.testing.fleet_template import (
    IMAGE,
    ROLE_ARN,
    alarm,
    attribute,
    endpoint,
    endpoint_config,
    model,
    ref,
    scaling,
)


def tail_stack(account: Account, **config: Any) -> dict[str, Any]:
    account.upload("models/m37/1.tar.gz")
    return {
        "Resources": {
            "Model": model(f"s3://{account.bucket}/models/", mode="MultiModel"),
            "Config": endpoint_config("Model", "ml.m5.large", **config),
            "Endpoint": endpoint("Tail-Endpoint", "Config"),
            **scaling("Tail-Endpoint", "Endpoint"),
        }
    }


def resource(account: Account, logical_id: str) -> str:
    described = account.client("cloudformation").describe_stack_resource(
        StackName="Fleet", LogicalResourceId=logical_id
    )
    return str(described["StackResourceDetail"]["PhysicalResourceId"])


def outputs(account: Account) -> dict[str, str]:
    return {o["OutputKey"]: o["OutputValue"] for o in account.stack()["Outputs"]}


def failure(account: Account, template: dict[str, Any]) -> str:
    """Why a creation that must fail failed."""
    assert account.deploy(template) == "ROLLBACK_COMPLETE"
    return " ".join(reason for _, status, reason in account.stack_events() if status == "CREATE_FAILED")


def test_ref_is_the_arn_and_getatt_the_name(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-model.html"""
    template = tail_stack(account)
    template["Outputs"] = {
        "ModelRef": {"Value": ref("Model")},
        "ConfigRef": {"Value": ref("Config")},
        "EndpointRef": {"Value": ref("Endpoint")},
        "EndpointName": {"Value": attribute("Endpoint", "EndpointName")},
        "TargetRef": {"Value": ref("Target")},
        "PolicyArn": {"Value": attribute("Policy", "Arn")},
    }

    assert account.deploy(template) == "CREATE_COMPLETE"

    values = outputs(account)
    prefix = f"arn:aws:sagemaker:eu-west-1:{account.id}"
    assert values["ModelRef"].startswith(f"{prefix}:model/fleet-model-")
    assert values["ConfigRef"].startswith(f"{prefix}:endpoint-config/fleet-config-")
    assert values["EndpointRef"] == f"{prefix}:endpoint/tail-endpoint"
    assert values["EndpointName"] == "Tail-Endpoint"
    variant = "endpoint/Tail-Endpoint/variant/AllTraffic"
    assert values["TargetRef"] == f"{variant}|sagemaker:variant:DesiredInstanceCount|sagemaker"
    assert values["PolicyArn"].startswith(f"arn:aws:autoscaling:eu-west-1:{account.id}:scalingPolicy:")


def test_unnamed_model_and_config_are_replaced_and_the_endpoint_updated_in_place(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-endpointconfig.html"""
    account.deploy(tail_stack(account))
    before = {logical_id: resource(account, logical_id) for logical_id in ("Model", "Config", "Endpoint")}

    assert account.deploy(tail_stack(account, instances=3)) == "UPDATE_COMPLETE"

    after = {logical_id: resource(account, logical_id) for logical_id in before}
    assert after["Model"] == before["Model"]
    assert after["Config"] != before["Config"]
    assert after["Endpoint"] == before["Endpoint"]
    assert len(account.client("sagemaker").list_endpoint_configs()["EndpointConfigs"]) == 1
    described = account.client("sagemaker").describe_endpoint(EndpointName="Tail-Endpoint")
    assert described["EndpointConfigName"].lower() == after["Config"].rsplit("/", 1)[1]


def test_replacement_of_a_named_config_is_refused(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-name.html"""
    first, second = tail_stack(account), tail_stack(account, instances=3)
    for template in (first, second):
        template["Resources"]["Config"]["Properties"]["EndpointConfigName"] = "tail"
    account.deploy(first)

    assert account.deploy(second) == "UPDATE_ROLLBACK_COMPLETE"
    reasons = [reason for _, status, reason in account.stack_events() if status == "UPDATE_FAILED"]
    assert any("custom-named resource requires replacing" in reason for reason in reasons), reasons


def test_instance_type_of_an_autoscaled_endpoint_fails_the_stack(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html"""
    account.deploy(tail_stack(account))
    template = tail_stack(account)
    variant = template["Resources"]["Config"]["Properties"]["ProductionVariants"][0]
    variant["InstanceType"] = "ml.m5.xlarge"

    assert account.deploy(template) == "UPDATE_ROLLBACK_COMPLETE"
    assert any("target for auto scaling" in reason for _, _, reason in account.stack_events())
    described = account.client("sagemaker").describe_endpoint(EndpointName="Tail-Endpoint")
    assert described["EndpointConfigName"].lower() == resource(account, "Config").rsplit("/", 1)[1]


def test_scaling_changes_in_place_and_scheduled_actions_follow_the_template(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-applicationautoscaling-scalabletarget.html"""
    account.deploy(tail_stack(account))
    template = tail_stack(account)
    target = template["Resources"]["Target"]["Properties"]
    target["MaxCapacity"] = 9
    target["ScheduledActions"] = [
        {
            "ScheduledActionName": "morning",
            "Schedule": "cron(0 8 * * ? *)",
            "Timezone": "Europe/London",
            "ScalableTargetAction": {"MinCapacity": 4},
        }
    ]
    scaling_api = account.client("application-autoscaling")

    def actions() -> list[str]:
        actions = scaling_api.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
        return [action["ScheduledActionName"] for action in actions]

    assert account.deploy(template) == "UPDATE_COMPLETE"
    with_action = actions()
    [described] = scaling_api.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert account.deploy(tail_stack(account)) == "UPDATE_COMPLETE"

    assert described["MaxCapacity"] == 9
    assert (with_action, actions()) == (["morning"], [])


def test_unknown_resource_type_is_refused_before_anything_is_made(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html"""
    template = tail_stack(account)
    template["Resources"]["Component"] = {"Type": "AWS::SageMaker::InferenceComponent", "Properties": {}}

    with pytest.raises(account.client("cloudformation").exceptions.ClientError, match="Unrecognized resource types"):
        account.deploy(template)
    assert account.client("sagemaker").list_models()["Models"] == []


@pytest.mark.parametrize(
    ("logical_id", "properties", "complaint"),
    [
        (
            "Model",
            {"PrimaryContainer": {"Image": IMAGE, "ModelDataURL": "s3://b/k"}},
            "ModelDataURL: unknown",
        ),
        ("Model", {"ModelArn": "arn"}, "ModelArn: read-only"),
        ("Endpoint", {"RetainAllVariantProperty": True}, "RetainAllVariantProperty: unknown property"),
        ("Target", {"MinCapacity": "two"}, "'two' is not a number"),
        ("Policy", {"PolicyTyp": "StepScaling"}, "PolicyTyp: unknown property"),
    ],
)
def test_every_property_error_is_reported(
    account: Account, logical_id: str, properties: dict[str, Any], complaint: str
) -> None:
    """https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html"""
    template = tail_stack(account)
    template["Resources"][logical_id]["Properties"] |= properties

    assert complaint in failure(account, template)


def test_unknown_property_of_a_ministack_type_is_refused_too(account: Account) -> None:
    """https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html"""
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicNam": "alarms"}}

    assert "TopicNam: unknown property" in failure(account, {"Resources": {"Topic": topic}})


def test_property_that_ministack_never_reads_is_refused(account: Account) -> None:
    """A valid property without effect would prove nothing.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
    """
    bucket = {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "BucketName": f"skipped-{account.id}",
            "ReplicationConfiguration": {"Role": ROLE_ARN, "Rules": []},
        },
    }

    assert "would skip silently: ReplicationConfiguration" in failure(account, {"Resources": {"Bucket": bucket}})
    assert f"skipped-{account.id}" not in {b["Name"] for b in account.client("s3").list_buckets()["Buckets"]}


def test_alarms_are_created_updated_and_deleted_in_place(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-compositealarm.html"""

    def stack(threshold: int) -> dict[str, Any]:
        errors = alarm("errors", "Test", "Errors")
        errors["Properties"]["Threshold"] = threshold
        return {
            "Resources": {
                "Errors": errors,
                "Warming": alarm("warming", "Test", "Warming"),
                "Any": {
                    "Type": "AWS::CloudWatch::CompositeAlarm",
                    "Properties": {
                        "AlarmName": "any",
                        "AlarmRule": {"Fn::Sub": 'ALARM("${Errors}")'},
                        "ActionsSuppressor": attribute("Warming", "Arn"),
                        "ActionsSuppressorWaitPeriod": 60,
                        "ActionsSuppressorExtensionPeriod": 60,
                        "AlarmDescription": f"more than {threshold}",
                    },
                },
            },
            "Outputs": {"Arn": {"Value": attribute("Any", "Arn")}, "Name": {"Value": ref("Any")}},
        }

    assert account.deploy(stack(0)) == "CREATE_COMPLETE"
    account.put_metric("Test", "Errors", 1)
    assert account.alarm_state("any") == "ALARM"
    assert account.deploy(stack(5)) == "UPDATE_COMPLETE"

    [composite] = account.client("cloudwatch").describe_alarms(AlarmNames=["any"], AlarmTypes=["CompositeAlarm"])[
        "CompositeAlarms"
    ]
    assert composite["AlarmDescription"] == "more than 5"
    assert composite["StateValue"] == "OK"
    assert outputs(account) == {"Arn": composite["AlarmArn"], "Name": "any"}
    account.destroy()
    assert account.client("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"] == []


def test_failed_creation_leaves_no_endpoint(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html"""
    account.cloud.admin("faults", {"unhealthy_model_data": [account.bucket]})

    assert "did not stabilize" in failure(account, tail_stack(account))

    sagemaker = account.client("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_models()["Models"] == []
