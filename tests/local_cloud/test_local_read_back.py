"""Every resource type of our templates: created, updated, replaced, deleted, and read back through boto3 each time.

One history is run for all types at once: the small fleet, the same with one property of each type changed in
place, the same with one create-only property of each type changed, nothing. The table says which; a template with
a type that the table does not know fails.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_account import Account
from real_fleet import FLEET, MODELS, Fleet

from local_cloud import LocalCloud
from local_cloud.resource_schemas import create_only_properties

ACCOUNT = "200000000001"
Properties = dict[str, Any]
Read = Callable[["Reader", str], Properties | None]


@dataclass(frozen=True)
class Row:
    """How a type is read and changed. A change is a property and its new value, or why there is none.

    unread: properties that no API call returns, or that the stand-in accepts without effect.
    """

    read: Read
    update: tuple[str, Any] | str
    replace: tuple[str, Any] | str
    unread: frozenset[str] = frozenset()


@dataclass
class Reader:
    """An account read through boto3, by the physical ids of a deployed stack."""

    account: Account
    ids: dict[str, str]

    def client(self, service: str) -> Any:
        return self.account.client(service)

    def id_of(self, logical_id: str) -> str:
        return next(value for key, value in self.ids.items() if re.fullmatch(f"{logical_id}[0-9A-F]{{8}}", key))


def model(reader: Reader, arn: str) -> Properties | None:
    return sagemaker(reader, "model", "Models", arn)


def endpoint_config(reader: Reader, arn: str) -> Properties | None:
    return sagemaker(reader, "endpoint_config", "EndpointConfigs", arn)


def endpoint(reader: Reader, arn: str) -> Properties | None:
    found = sagemaker(reader, "endpoint", "Endpoints", arn)
    return found and found | {"DeploymentConfig": found.get("LastDeploymentConfig")}


def sagemaker(reader: Reader, kind: str, listed: str, arn: str) -> Properties | None:
    client, word = reader.client("sagemaker"), listed.removesuffix("s")
    pages = client.get_paginator(f"list_{kind}s").paginate()
    for name in [item[f"{word}Name"] for page in pages for item in page[listed] if item[f"{word}Arn"] == arn]:
        found: Properties = getattr(client, f"describe_{kind}")(**{f"{word}Name": name})
        return found | {"Tags": client.list_tags(ResourceArn=arn)["Tags"]}
    return None


def scalable_target(reader: Reader, physical_id: str) -> Properties | None:
    answer = reader.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[physical_id.split("|")[0]]
    )
    return next(iter(answer["ScalableTargets"]), None)


def scaling_policy(reader: Reader, arn: str) -> Properties | None:
    answer = reader.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    return next((policy for policy in answer["ScalingPolicies"] if policy["PolicyARN"] == arn), None)


def alarm(reader: Reader, name: str) -> Properties | None:
    answer = reader.client("cloudwatch").describe_alarms(
        AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    return next(iter(answer["MetricAlarms"] + answer["CompositeAlarms"]), None)


def dashboard(reader: Reader, name: str) -> Properties:
    found: Properties = reader.client("cloudwatch").get_dashboard(DashboardName=name)
    return found


def application(reader: Reader, physical_id: str) -> Properties:
    found: Properties = reader.client("appconfig").get_application(ApplicationId=physical_id)
    return found


def environment(reader: Reader, physical_id: str) -> Properties:
    application_id = reader.id_of("RoutesApplication")
    found: Properties = reader.client("appconfig").get_environment(
        ApplicationId=application_id, EnvironmentId=physical_id
    )
    return found


def profile(reader: Reader, physical_id: str) -> Properties:
    found: Properties = reader.client("appconfig").get_configuration_profile(
        ApplicationId=reader.id_of("RoutesApplication"), ConfigurationProfileId=physical_id
    )
    return found


def hosted_version(reader: Reader, physical_id: str) -> Properties:
    found: Properties = reader.client("appconfig").get_hosted_configuration_version(
        ApplicationId=reader.id_of("RoutesApplication"),
        ConfigurationProfileId=reader.id_of("RoutesProfile"),
        VersionNumber=int(physical_id),
    )
    return found | {"Content": found["Content"].read().decode()}


def strategy(reader: Reader, physical_id: str) -> Properties:
    found: Properties = reader.client("appconfig").get_deployment_strategy(DeploymentStrategyId=physical_id)
    return found


def deployment(reader: Reader, physical_id: str) -> Properties:
    found: Properties = reader.client("appconfig").get_deployment(
        ApplicationId=reader.id_of("RoutesApplication"),
        EnvironmentId=reader.id_of("RoutesEnvironment"),
        DeploymentNumber=int(physical_id),
    )
    return found


def rule(reader: Reader, physical_id: str) -> Properties:
    client, name = reader.client("events"), physical_id.rpartition("/")[2]
    found: Properties = client.describe_rule(Name=name)
    targets = client.list_targets_by_rule(Rule=name)["Targets"]
    return found | {"EventPattern": json.loads(found["EventPattern"]), "Targets": targets}


def schedule(reader: Reader, name: str) -> Properties:
    found: Properties = reader.client("scheduler").get_schedule(Name=name)
    return found


def role(reader: Reader, name: str) -> Properties:
    found: Properties = reader.client("iam").get_role(RoleName=name)["Role"]
    return found


def policy(reader: Reader, name: str) -> Properties | None:
    client = reader.client("iam")
    for found in client.list_roles()["Roles"]:
        for inline in client.list_role_policies(RoleName=found["RoleName"])["PolicyNames"]:
            if inline == name:
                document: Properties = client.get_role_policy(RoleName=found["RoleName"], PolicyName=name)
                return document | {"Roles": [found["RoleName"]]}
    return None


def function(reader: Reader, name: str) -> Properties:
    client = reader.client("lambda")
    found: Properties = client.get_function_configuration(FunctionName=name)
    reserved = client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    return found | {"ReservedConcurrentExecutions": reserved}


def event_invoke_config(reader: Reader, physical_id: str) -> Properties:
    name = physical_id.partition(":")[0]
    found: Properties = reader.client("lambda").get_function_event_invoke_config(
        FunctionName=name, Qualifier="$LATEST"
    )
    return found | {"Qualifier": found["FunctionArn"].rpartition(":")[2]}


def permission(reader: Reader, physical_id: str) -> Properties | None:
    document = json.loads(reader.client("lambda").get_policy(FunctionName=reader.id_of("WarmUpFunction"))["Policy"])
    for statement in document["Statement"]:
        if statement["Sid"] == physical_id.rpartition("|")[2]:
            return {"Action": statement["Action"], "Principal": statement["Principal"]["Service"]}
    return None


def log_group(reader: Reader, name: str) -> Properties | None:
    groups = reader.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    found = [group for group in groups if group["logGroupName"] == name]
    return {"LogGroupName": name, "RetentionInDays": found[0].get("retentionInDays")} if found else None


def topic(reader: Reader, arn: str) -> Properties:
    found: Properties = reader.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    return found | {"TopicName": arn.rpartition(":")[2]}


def topic_policy(reader: Reader, _physical_id: str) -> Properties:
    arn = reader.id_of("AlarmsTopic")
    return {"PolicyDocument": json.loads(topic(reader, arn)["Policy"]), "Topics": [arn]}


def bucket(reader: Reader, name: str) -> Properties:
    client = reader.client("s3")
    client.head_bucket(Bucket=name)
    return {
        "BucketName": name,
        "PublicAccessBlockConfiguration": client.get_public_access_block(Bucket=name)[
            "PublicAccessBlockConfiguration"
        ],
        "OwnershipControls": client.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"],
        "VersioningConfiguration": {"Status": client.get_bucket_versioning(Bucket=name).get("Status")},
        "Tags": client.get_bucket_tagging(Bucket=name)["TagSet"],
    }


def bucket_policy(reader: Reader, _physical_id: str) -> Properties:
    name = reader.id_of("ModelsBucket")
    return {"Bucket": name, "PolicyDocument": json.loads(reader.client("s3").get_bucket_policy(Bucket=name)["Policy"])}


def nested_stack(reader: Reader, stack_id: str) -> Properties | None:
    found: Properties = reader.client("cloudformation").describe_stacks(StackName=stack_id)["Stacks"][0]
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def gate(reader: Reader, physical_id: str) -> Properties | None:
    """A custom resource is no more than its request; the endpoint it answered for is what one can read."""
    return endpoint(reader, next((i for i in reader.ids.values() if i.endswith(f":endpoint/{physical_id}")), ""))


TABLE: dict[str, Row] = {}
