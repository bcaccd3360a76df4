"""Every resource type of our templates: created, updated, replaced, deleted, and read back through boto3 each time.

One history is run for all types at once: the small fleet, the same with one property of each type changed in
place, the same with one create-only property of each type changed, nothing. The table says which; a template with
a type that the table does not know fails.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from real_fleet import FLEET, MODELS, Fleet

from local_cloud import LocalCloud
from local_cloud.services.cloudformation.schemas import create_only_properties
from local_cloud.testing.account import Account

ACCOUNT = "200000000001"
Properties = dict[str, Any]
Read = Callable[["Reader", str], Properties | None]


@dataclass(frozen=True)
class Row:
    """Which resource represents its type, how it is read, and one change of each kind.

    A change is a property and its new value, BY_CONFIG, or the reason why there is none.
    """

    logical_id: str
    read: Read
    update: tuple[str, Any] | str
    replace: tuple[str, Any] | str

    def matches(self, logical_id: str) -> bool:
        """Whether a template's logical id is this row's, its hash left out."""
        return re.fullmatch(f"{self.logical_id}[0-9A-F]{{8}}", logical_id) is not None

    @property
    def changes_in_place(self) -> bool:
        return self.update == BY_CONFIG or not isinstance(self.update, str)

    @property
    def is_replaced(self) -> bool:
        return self.replace == BY_CONFIG or not isinstance(self.replace, str)


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
    described = sagemaker(reader, "endpoint", "Endpoints", arn)
    return described and described | {"DeploymentConfig": described.get("LastDeploymentConfig")}


def sagemaker(reader: Reader, kind: str, listed: str, arn: str) -> Properties | None:
    client, word = reader.client("sagemaker"), listed.removesuffix("s")
    pages = client.get_paginator(f"list_{kind}s").paginate()
    for name in [item[f"{word}Name"] for page in pages for item in page[listed] if item[f"{word}Arn"] == arn]:
        described: Properties = getattr(client, f"describe_{kind}")(**{f"{word}Name": name})
        return described | {"Tags": client.list_tags(ResourceArn=arn)["Tags"]}
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
    described: Properties = reader.client("cloudwatch").get_dashboard(DashboardName=name)
    return described


def application(reader: Reader, physical_id: str) -> Properties:
    described: Properties = reader.client("appconfig").get_application(ApplicationId=physical_id)
    return described


def environment(reader: Reader, physical_id: str) -> Properties:
    application_id = reader.id_of("RoutesApplication")
    described: Properties = reader.client("appconfig").get_environment(
        ApplicationId=application_id, EnvironmentId=physical_id
    )
    return described


def profile(reader: Reader, physical_id: str) -> Properties:
    described: Properties = reader.client("appconfig").get_configuration_profile(
        ApplicationId=reader.id_of("RoutesApplication"), ConfigurationProfileId=physical_id
    )
    return described


def hosted_version(reader: Reader, physical_id: str) -> Properties:
    described: Properties = reader.client("appconfig").get_hosted_configuration_version(
        ApplicationId=reader.id_of("RoutesApplication"),
        ConfigurationProfileId=reader.id_of("RoutesProfile"),
        VersionNumber=int(physical_id),
    )
    return described | {"Content": described["Content"].read().decode()}


def strategy(reader: Reader, physical_id: str) -> Properties:
    described: Properties = reader.client("appconfig").get_deployment_strategy(DeploymentStrategyId=physical_id)
    return described


def deployment(reader: Reader, physical_id: str) -> Properties:
    described: Properties = reader.client("appconfig").get_deployment(
        ApplicationId=reader.id_of("RoutesApplication"),
        EnvironmentId=reader.id_of("RoutesEnvironment"),
        DeploymentNumber=int(physical_id),
    )
    return described


def rule(reader: Reader, physical_id: str) -> Properties:
    client, name = reader.client("events"), physical_id.rpartition("/")[2]
    described: Properties = client.describe_rule(Name=name)
    targets = client.list_targets_by_rule(Rule=name)["Targets"]
    return described | {"EventPattern": json.loads(described["EventPattern"]), "Targets": targets}


def schedule(reader: Reader, name: str) -> Properties | None:
    client = reader.client("scheduler")
    for item in client.list_schedules(NamePrefix=name)["Schedules"]:
        described: Properties = client.get_schedule(Name=name, GroupName=item["GroupName"])
        return described
    return None


def schedule_group(reader: Reader, name: str) -> Properties:
    described: Properties = reader.client("scheduler").get_schedule_group(Name=name)
    return described


def role(reader: Reader, name: str) -> Properties:
    described: Properties = reader.client("iam").get_role(RoleName=name)["Role"]
    return described


def policy(reader: Reader, physical_id: str) -> Properties | None:
    client = reader.client("iam")
    for described in client.list_roles()["Roles"]:
        for inline in client.list_role_policies(RoleName=described["RoleName"])["PolicyNames"]:
            if f"-{inline}-" in physical_id:
                document: Properties = client.get_role_policy(RoleName=described["RoleName"], PolicyName=inline)
                return document | {"Roles": [described["RoleName"]]}
    return None


def function(reader: Reader, name: str) -> Properties:
    client = reader.client("lambda")
    described: Properties = client.get_function_configuration(FunctionName=name)
    reserved = client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    return described | {"ReservedConcurrentExecutions": reserved}


def event_invoke_config(reader: Reader, physical_id: str) -> Properties:
    name = physical_id.partition(":")[0]
    described: Properties = reader.client("lambda").get_function_event_invoke_config(
        FunctionName=name, Qualifier="$LATEST"
    )
    return described | {"Qualifier": described["FunctionArn"].rpartition(":")[2]}


def permission(reader: Reader, physical_id: str) -> Properties | None:
    document = json.loads(reader.client("lambda").get_policy(FunctionName=reader.id_of("WarmUpFunction"))["Policy"])
    for statement in document["Statement"]:
        if statement["Sid"] == physical_id.rpartition("|")[2]:
            return {"Action": statement["Action"], "Principal": statement["Principal"]["Service"]}
    return None


def log_group(reader: Reader, name: str) -> Properties | None:
    groups = reader.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    described = [group for group in groups if group["logGroupName"] == name]
    return {"LogGroupName": name, "RetentionInDays": described[0].get("retentionInDays")} if described else None


def topic(reader: Reader, arn: str) -> Properties:
    described: Properties = reader.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    return described | {"TopicName": arn.rpartition(":")[2]}


def topic_policy(reader: Reader, _physical_id: str) -> Properties:
    arn = reader.id_of("AlarmsTopic")
    return {"PolicyDocument": json.loads(topic(reader, arn)["Policy"]), "Topics": [arn]}


def bucket(reader: Reader, name: str) -> Properties:
    client = reader.client("s3")
    client.head_bucket(Bucket=name)
    return {
        "BucketName": name,
        "PublicAccessBlockConfiguration": client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"],
        "VersioningConfiguration": {"Status": client.get_bucket_versioning(Bucket=name).get("Status")},
    }


def bucket_policy(reader: Reader, _physical_id: str) -> Properties:
    name = reader.id_of("ModelsBucket")
    return {"Bucket": name, "PolicyDocument": json.loads(reader.client("s3").get_bucket_policy(Bucket=name)["Policy"])}


def nested_stack(reader: Reader, stack_id: str) -> Properties | None:
    described: Properties = reader.client("cloudformation").describe_stacks(StackName=stack_id)["Stacks"][0]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described.get("Parameters", [])}
    return None if described["StackStatus"] == "DELETE_COMPLETE" else described | {"Parameters": parameters}


def gate(reader: Reader, physical_id: str) -> Properties | None:
    """A custom resource cannot be read; the endpoint that it follows can."""
    described = reader.client("sagemaker").list_endpoints(NameContains=physical_id)["Endpoints"]
    return next(iter(described), None)


def guard(reader: Reader, _physical_id: str) -> Properties | None:
    """A custom resource is no more than its request; what it guards is what one can read."""
    return environment(reader, reader.id_of("RoutesEnvironment"))


def moved_gate(reader: Reader, physical_id: str) -> Properties | None:
    """It follows no endpoint, so the stack's record is read."""
    described = reader.client("cloudformation").describe_stack_resources(StackName=FLEET)["StackResources"]
    return next((resource for resource in described if resource["PhysicalResourceId"] == physical_id), None)


# The change comes with the step's fleet file instead of an edit of the template.
BY_CONFIG = "by config"
STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::changed/*"}
DOCUMENT = {"Version": "2012-10-17", "Statement": [STATEMENT]}
REFUSAL = {"Version": "2012-10-17", "Statement": [STATEMENT | {"Effect": "Deny", "Principal": "*"}]}
TAGS = [{"Key": "changed", "Value": "yes"}]
DESCRIPTION = ("Description", "changed")
NEVER = "every property is create-only"

TABLE = {
    "AWS::AppConfig::Application": Row("RoutesApplication", application, DESCRIPTION, "nothing is create-only"),
    "AWS::AppConfig::ConfigurationProfile": Row(
        "RoutesProfile", profile, DESCRIPTION, "another application, location or type would be another route table"
    ),
    "AWS::AppConfig::Deployment": Row("Deployment", deployment, NEVER, DESCRIPTION),
    "AWS::AppConfig::DeploymentStrategy": Row(
        "RoutesStrategy", strategy, ("FinalBakeTimeInMinutes", 6), ("Name", "renamed")
    ),
    "AWS::AppConfig::Environment": Row(
        "RoutesEnvironment", environment, DESCRIPTION, "another application would be another route table"
    ),
    "AWS::AppConfig::HostedConfigurationVersion": Row("RoutesDocument", hosted_version, NEVER, BY_CONFIG),
    "AWS::ApplicationAutoScaling::ScalableTarget": Row(
        "TierstailScalingTarget", scalable_target, ("MaxCapacity", 7), BY_CONFIG
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Row(
        "TierstailScalingInvocations", scaling_policy, BY_CONFIG, ("PolicyName", "renamed")
    ),
    "AWS::CloudFormation::Stack": Row(
        "Whalesw1NestedStackw1NestedStackResource", nested_stack, BY_CONFIG, "nothing is create-only"
    ),
    "AWS::CloudWatch::Alarm": Row("TierstailServerErrors", alarm, ("Threshold", 77), BY_CONFIG),
    "AWS::CloudWatch::CompositeAlarm": Row(
        "TierstailCacheCacheDegraded", alarm, ("AlarmDescription", "changed"), ("AlarmName", "renamed")
    ),
    "AWS::CloudWatch::Dashboard": Row(
        "Dashboard", dashboard, ("DashboardBody", '{"widgets": []}'), ("DashboardName", "renamed")
    ),
    "AWS::Events::Rule": Row("WarmUpInService", rule, DESCRIPTION, ("Name", "renamed")),
    "AWS::IAM::Policy": Row(
        "RoutesMonitorRoleDefaultPolicy", policy, ("PolicyDocument", DOCUMENT), "nothing is create-only"
    ),
    "AWS::IAM::Role": Row("RoutesMonitorRole", role, DESCRIPTION, ("RoleName", "renamed")),
    "AWS::Lambda::EventInvokeConfig": Row(
        "WarmUpFunctionEventInvokeConfig", event_invoke_config, ("MaximumEventAgeInSeconds", 200), BY_CONFIG
    ),
    "AWS::Lambda::Function": Row("WarmUpFunction", function, ("MemorySize", 640), ("FunctionName", "renamed")),
    "AWS::Lambda::Permission": Row(
        "WarmUpInServiceAllowEventRuleshoptestFleetWarmUpFunction.*", permission, NEVER, BY_CONFIG
    ),
    "AWS::Logs::LogGroup": Row("WarmUpGateFunctionLogs", log_group, ("RetentionInDays", 7), ("LogGroupName", "other")),
    "AWS::S3::Bucket": Row(
        "ModelsBucket",
        bucket,
        ("PublicAccessBlockConfiguration", {"BlockPublicAcls": False}),
        ("BucketName", "renamed-bucket"),
    ),
    "AWS::S3::BucketPolicy": Row("ModelsBucketPolicy", bucket_policy, ("PolicyDocument", REFUSAL), BY_CONFIG),
    "AWS::SNS::Topic": Row("AlarmsTopic", topic, ("DisplayName", "changed"), ("TopicName", "renamed")),
    "AWS::SNS::TopicPolicy": Row(
        "AlarmsTopicPolicy", topic_policy, ("PolicyDocument", REFUSAL), "nothing is create-only"
    ),
    "AWS::SageMaker::Endpoint": Row("TierstailEndpoint", endpoint, ("Tags", TAGS), BY_CONFIG),
    "AWS::SageMaker::EndpointConfig": Row("TierstailEndpointConfig", endpoint_config, ("Tags", TAGS), BY_CONFIG),
    "AWS::SageMaker::Model": Row("TierstailModel", model, ("Tags", TAGS), BY_CONFIG),
    "AWS::Scheduler::Schedule": Row("WarmUptailschedule", schedule, DESCRIPTION, ("Name", "renamed")),
    "Custom::RouteGuard": Row("FirstGuard", guard, ("WaitSeconds", "9"), "it keeps one id, so that it is sent back"),
    "AWS::Scheduler::ScheduleGroup": Row("WarmUpSchedules", schedule_group, ("Tags", TAGS), "its schedules name it"),
    "Custom::WarmGate": Row(
        "TierstailGate", gate, "no API returns a request; serving/test_real_fleet.py has one", BY_CONFIG
    ),
    "Custom::WarmMovedTenants": Row(
        "MovedGate", moved_gate, "no API returns a request; test_local_real_fleet has one", "its id is its logical id"
    ),
}
# Properties that no call returns: CloudFormation's own, write-only, or without effect in the local emulator. Tags are
# read where we keep them ourselves.
UNREAD = {
    "AWS::CloudFormation::Stack": {"TemplateURL"},
    "AWS::Lambda::Function": {"Code"},
    "AWS::Lambda::Permission": {"SourceArn", "FunctionName"},
    "AWS::S3::Bucket": {"BucketEncryption", "LifecycleConfiguration", "MetricsConfigurations"},
    "AWS::SageMaker::Endpoint": {"RetainAllVariantProperties"},
    "Custom::RouteGuard": {"ServiceTimeout", "ServiceToken", "WaitSeconds"},
    "Custom::WarmGate": {"EndpointConfigName", "LogRetentionDays", "ServiceTimeout", "ServiceToken", "Tier"},
    "Custom::WarmMovedTenants": {"RouteDocumentVersion", "ServiceTimeout", "ServiceToken"},
}
STEPS = ("created", "updated", "replaced")


@dataclass
class Seen:
    """One resource after one step: what the template says, what boto3 read, and whether the one before is gone."""

    physical_id: str
    properties: Properties
    described: Properties | None
    before_is_gone: bool


class History:
    """What every row of the table was after each step."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.seen: dict[str, dict[str, Seen]] = {}
        self.ids: dict[str, str] = {}
        self.deleted: set[str] = set()

    def run(self) -> None:
        """Both stacks through all steps; the models stack is replaced after the fleet is gone and the bucket empty."""
        account = self.fleet.account
        stacks = self.templates("created")
        assert account.deploy(stacks[MODELS], MODELS) == "CREATE_COMPLETE", account.stack_events(MODELS)
        self.fleet.publish("t1/1", "t2/1", "t3/1", "w1/2027-01-01")
        assert account.deploy(stacks[FLEET], FLEET) == "CREATE_COMPLETE", account.stack_events(FLEET)
        self.look("created", stacks)
        stacks = self.templates("updated")
        for name in (MODELS, FLEET):
            assert account.deploy(stacks[name], name) == "UPDATE_COMPLETE", account.stack_events(name)
        self.look("updated", stacks)
        stacks = self.templates("replaced")
        assert account.deploy(stacks[FLEET], FLEET) == "UPDATE_COMPLETE", account.stack_events(FLEET)
        self.look("replaced", {FLEET: stacks[FLEET]})
        self.destroy(FLEET)
        s3 = account.client("s3")
        bucket_name = self.ids[self.logical_id(TABLE["AWS::S3::Bucket"], self.ids)]
        for item in s3.list_object_versions(Bucket=bucket_name)["Versions"]:
            s3.delete_object(Bucket=bucket_name, Key=item["Key"], VersionId=item["VersionId"])
        assert account.deploy(stacks[MODELS], MODELS) == "UPDATE_COMPLETE", account.stack_events(MODELS)
        self.look("replaced", {MODELS: stacks[MODELS]})
        self.destroy(MODELS)

    def templates(self, step: str) -> dict[str, Properties]:
        """The synthesised templates of a step, with its edits."""
        tail: Properties = {}
        whale: Properties = {}
        if step != "created":
            tail |= {"scaling": {"max_requests_per_second": 60}}
            whale |= {"instances": {"max": 9}}
        container = {}
        if step == "replaced":
            tail |= {"instance_type": "ml.r5.xlarge"}
            container = {"environment": {"OMP_NUM_THREADS": "2"}}
        stacks = self.fleet.synthesise(retain=False, container=container, tiers={"tail": tail, "whale": whale})
        templates: dict[str, Properties] = {
            name: json.loads(stack.template_file.read_text()) for name, stack in stacks.items()
        }
        for row in TABLE.values():
            for change, edited in ((row.update, step != "created"), (row.replace, step == "replaced")):
                if edited and not isinstance(change, str):
                    for template in templates.values():
                        for logical_id in filter(row.matches, template["Resources"]):
                            template["Resources"][logical_id]["Properties"][change[0]] = change[1]
        return templates

    def look(self, step: str, templates: dict[str, Properties]) -> None:
        before, self.ids = dict(self.ids), dict(self.ids)
        for name in templates:
            pages = self.fleet.account.client("cloudformation").get_paginator("list_stack_resources")
            for page in pages.paginate(StackName=name):
                self.ids |= {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in page["StackResourceSummaries"]}
        reader, old_reader = Reader(self.fleet.account, self.ids), Reader(self.fleet.account, before)
        for template in templates.values():
            for kind, row in TABLE.items():
                for logical_id in filter(row.matches, template["Resources"]):
                    old = before.get(logical_id)
                    self.seen.setdefault(kind, {})[step] = Seen(
                        self.ids[logical_id],
                        template["Resources"][logical_id]["Properties"],
                        read(row, reader, self.ids[logical_id]),
                        old is not None and read(row, old_reader, old) is None,
                    )

    def destroy(self, name: str) -> None:
        kinds = {
            kind
            for kind, row in TABLE.items()
            for summary in self.fleet.account.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=name)
            .search("StackResourceSummaries[].LogicalResourceId")
            if row.matches(summary)
        }
        self.fleet.account.destroy(name)
        reader = Reader(self.fleet.account, self.ids)
        self.deleted |= {
            kind for kind in kinds if read(TABLE[kind], reader, self.seen[kind]["replaced"].physical_id) is None
        }

    @staticmethod
    def logical_id(row: Row, ids: dict[str, str]) -> str:
        return next(filter(row.matches, ids))


def read(row: Row, reader: Reader, physical_id: str) -> Properties | None:
    try:
        return row.read(reader, physical_id)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if not re.search("NotFound|NoSuch|404|ValidationError", code):
            raise
        return None


def differences(wanted: Any, described: Any, path: str = "") -> list[str]:
    """Where a template's literal values are not what was read; what the template computes is left out."""
    if isinstance(wanted, dict):
        if any(key == "Ref" or key.startswith("Fn::") for key in wanted):
            return []
        if not isinstance(described, dict):
            return [f"{path}: {wanted!r} read as {described!r}"]
        here = {key.lower(): value for key, value in described.items()}
        return [d for key, value in wanted.items() for d in differences(value, here.get(key.lower()), f"{path}.{key}")]
    if isinstance(wanted, list):
        if not isinstance(described, list) or len(described) != len(wanted):
            return [f"{path}: {wanted!r} read as {described!r}"]
        return [
            d
            for pair in enumerate(zip(wanted, described, strict=True))
            for d in differences(*pair[1], f"{path}[{pair[0]}]")
        ]
    same = wanted == described or str(wanted).lower() == str(described).lower()
    return [] if same else [f"{path}: {wanted!r} read as {described!r}"]


@pytest.fixture(scope="module")
def history(cloud: LocalCloud, synth: Callable[..., Path]) -> History:
    cloud.admin("clock", {"mode": "skip"})
    cloud.admin("faults", {})
    described = History(Fleet(Account(cloud, ACCOUNT), synth))
    described.run()
    return described


def test_the_table_knows_every_resource_type_of_our_templates(templates: dict[str, dict[str, Any]]) -> None:
    types = {resource["Type"] for template in templates.values() for resource in template["Resources"].values()}

    # Part of fleets with a serverless tier only: serving/test_moves_serverless.py has one.
    assert types - {"Custom::ComparedTenants"} == TABLE.keys()


def test_what_is_changed_to_replace_is_create_only_and_what_is_changed_in_place_is_not() -> None:
    for kind, row in TABLE.items():
        create_only = create_only_properties(kind, "eu-west-1")
        assert isinstance(row.replace, str) or row.replace[0] in create_only, kind
        assert isinstance(row.update, str) or row.update[0] not in create_only, kind


@pytest.mark.parametrize("kind", TABLE)
@pytest.mark.parametrize("step", STEPS)
def test_it_is_read_back_as_the_template_says(history: History, kind: str, step: str) -> None:
    seen = history.seen[kind][step]
    unread = UNREAD.get(kind, set()) | (set() if kind.startswith("AWS::SageMaker") else {"Tags"})
    wanted = {key: value for key, value in seen.properties.items() if key not in unread}

    assert seen.described is not None
    assert differences(wanted, seen.described) == []


@pytest.mark.parametrize("kind", [kind for kind, row in TABLE.items() if row.changes_in_place])
def test_it_is_updated_in_place(history: History, kind: str) -> None:
    created, updated = history.seen[kind]["created"], history.seen[kind]["updated"]

    assert created.properties != updated.properties
    assert created.physical_id == updated.physical_id


@pytest.mark.parametrize("kind", [kind for kind, row in TABLE.items() if row.is_replaced])
def test_it_is_replaced_and_the_old_one_is_gone(history: History, kind: str) -> None:
    before, replaced = history.seen[kind]["updated"], history.seen[kind]["replaced"]

    assert before.physical_id != replaced.physical_id
    assert replaced.before_is_gone or kind == "AWS::AppConfig::Deployment", "only a deployment stays, as history"


@pytest.mark.parametrize("kind", TABLE)
def test_it_is_deleted_with_its_stack(history: History, kind: str) -> None:
    assert kind in history.deleted
