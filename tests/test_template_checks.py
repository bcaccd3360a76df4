"""Our own checks of templates: each proven by a seeded mistake, and no fleet makes one."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from template_checks import ALLOWED_WILDCARDS, CHECKS, _listed, check_template

from local_cloud.testing.fleets import ROOT, Synth, fleet

Seed = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def sound(synth: Synth) -> dict[str, Any]:
    """One template that holds every kind of resource: a fleet's own, its model stack's and its whale's, merged."""
    night = {"schedule": "cron(0 20 * * ? *)", "min": 1, "max": 2}
    config = fleet(tiers={"tail": {"guardrail": {"type": "CANARY"}, "scaling": {"schedules": {"night": night}}}})
    merged: dict[str, Any] = {"Resources": {}}
    for file in synth(config).rglob("*.template.json"):
        merged["Resources"] |= json.loads(file.read_text())["Resources"]
    return merged


def first(template: dict[str, Any], kind: str, key: str = "") -> dict[str, Any]:
    """Properties of the first resource of a type, or of the first that has a property."""
    resource: dict[str, Any] = next(
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == kind and (not key or key in resource["Properties"])
    )
    return resource


def shared_model(template: dict[str, Any]) -> dict[str, Any]:
    models = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::SageMaker::Model"]
    container: dict[str, Any] = next(
        model["PrimaryContainer"] for model in models if model["PrimaryContainer"]["Mode"] == "MultiModel"
    )
    return container


def put(kind: str, key: str, value: Any) -> Seed:
    """A seed that sets one property of the first resource of a type."""
    return lambda template: first(template, kind).__setitem__(key, value)


def take(kind: str, key: str) -> Seed:
    """A seed that removes one property of the first resource that has it."""
    return lambda template: first(template, kind, key).pop(key)


def allow(action: str, resource: Any) -> Seed:
    """A seed that allows one thing more."""

    def seed(template: dict[str, Any]) -> None:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        first(template, "AWS::IAM::Policy")["PolicyDocument"]["Statement"].append(statement)

    return seed


def row(*parts: Any) -> Seed:
    """A seed that adds a row to the dashboard."""

    def seed(template: dict[str, Any]) -> None:
        widget = {"type": "metric", "properties": {"metrics": [[*parts, {"stat": "Sum"}]]}}
        first(template, "AWS::CloudWatch::Dashboard")["DashboardBody"] = json.dumps({"widgets": [widget]})

    return seed


def statement_for_everyone(template: dict[str, Any]) -> None:
    statements = first(template, "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    statements.append({"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "arn:aws:sns:x:1:t"})


ALARM = "AWS::CloudWatch::Alarm"
TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
ENDPOINT = "AWS::SageMaker::Endpoint"
MAP = {"Ref": "Something"}
VARIANT = [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"}]


# (the seeded mistake, what the finding must say)
def scale_in_when_work_begins(template: dict[str, Any]) -> None:
    step = {"StepAdjustments": [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}]}
    template["Resources"]["Step"] = {
        "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
        "Properties": {"PolicyName": "in", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": step},
    }
    template["Resources"]["Waiting"] = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "Namespace": "AWS/SageMaker",
            "MetricName": "HasBacklogWithoutCapacity",
            "Statistic": "Average",
            "Dimensions": [{"Name": "EndpointName", "Value": "e"}],
            "AlarmDescription": "https://example.com/#a",
            "TreatMissingData": "missing",
            "AlarmActions": [{"Ref": "Step"}],
        },
    }


SEEDS: dict[str, tuple[Seed, str]] = {
    "an instance removed while its request runs": (scale_in_when_work_begins, "removes instances that work on"),
    "prefix without a slash": (
        lambda t: shared_model(t).__setitem__("ModelDataUrl", "s3://bucket/models"),
        "must end with /",
    ),
    "data source on a shared model": (
        lambda t: shared_model(t).__setitem__("ModelDataSource", {"S3DataSource": {}}),
        "takes no ModelDataSource",
    ),
    "min above max": (put(TARGET, "MinCapacity", 9), "MinCapacity 9 is above MaxCapacity"),
    "scheduled min above max": (
        lambda t: first(t, TARGET, "ScheduledActions")["ScheduledActions"][0]["ScalableTargetAction"].update(
            MinCapacity=7
        ),
        "night: MinCapacity 7 is above MaxCapacity 2",
    ),
    "scale to zero": (put(TARGET, "MinCapacity", 0), "cannot scale to 0"),
    "role on a target": (put(TARGET, "RoleARN", "arn"), "RoleARN"),
    "rate(1 hours)": (put("AWS::Scheduler::Schedule", "ScheduleExpression", "rate(1 hours)"), "singular"),
    "cron of five fields": (
        lambda t: first(t, TARGET, "ScheduledActions")["ScheduledActions"][0].update(Schedule="cron(0 7 * * ?)"),
        "cron takes six fields",
    ),
    "rule with a wrong rate": (put("AWS::Events::Rule", "ScheduleExpression", "rate(0 days)"), "not a schedule"),
    "large template": (put("AWS::AppConfig::Application", "Description", "x" * 1_000_001), "template has"),
    "501 resources": (
        lambda t: t["Resources"].update({f"R{n}": {"Type": "AWS::SNS::Topic"} for n in range(501)}),
        "Resources, at most 500",
    ),
    "201 parameters": (lambda t: t.update(Parameters={str(n): {} for n in range(201)}), "201 Parameters"),
    "long endpoint name": (put(ENDPOINT, "EndpointName", "e" * 64), "EndpointName has 64 characters, at most 63"),
    "long alarm name": (put(ALARM, "AlarmName", "a" * 256), "AlarmName has 256"),
    "long alarm description": (
        put(ALARM, "AlarmDescription", "x" * 1024 + " https://e.com/r.md#disk"),
        "AlarmDescription has",
    ),
    "long rule of a composite alarm": (
        put("AWS::CloudWatch::CompositeAlarm", "AlarmRule", {"Fn::Join": ["", ["x" * 10_200, MAP]]}),
        "AlarmRule has 10264",
    ),
    "large Lambda environment": (
        put("AWS::Lambda::Function", "Environment", {"Variables": {"TENANTS": "t," * 2048}}),
        "environment has 4103 bytes",
    ),
    "large validator": (
        put("AWS::AppConfig::ConfigurationProfile", "Validators", [{"Type": "JSON_SCHEMA", "Content": "x" * 32_769}]),
        "Content has 32769",
    ),
    "large policies of a role": (allow("s3:GetObject", "arn:aws:s3:::" + "x" * 10_240), "inline policies have"),
    "large trust policy": (
        put("AWS::IAM::Role", "AssumeRolePolicyDocument", {"Statement": [], "Comment": "x" * 2048}),
        "AssumeRolePolicyDocument has",
    ),
    "missing data left to the default": (take(ALARM, "TreatMissingData"), "TreatMissingData is missing"),
    "alarm that does not say what to do": (put(ALARM, "AlarmDescription", "Too bad."), "no runbook link"),
    "composite alarm that does not say what to do": (
        take("AWS::CloudWatch::CompositeAlarm", "AlarmDescription"),
        "no runbook link",
    ),
    "utilisation in the wrong namespace": (
        lambda t: first(t, ALARM, "Namespace").update(Namespace="AWS/SageMaker", MetricName="MemoryUtilization"),
        "no metric MemoryUtilization is published in AWS/SageMaker",
    ),
    "misspelt namespace": (
        lambda t: first(t, ALARM, "Namespace").update(
            Namespace="/aws/SageMaker/Endpoints", MetricName="CPUUtilization"
        ),
        "no metric CPUUtilization is published in /aws/SageMaker/Endpoints",
    ),
    "endpoint without variant": (
        lambda t: first(t, ALARM, "Namespace").update(
            Namespace="AWS/SageMaker", MetricName="ModelLatency", Dimensions=[{"Name": "EndpointName", "Value": "e"}]
        ),
        "is published with ('EndpointName', 'VariantName'), not ('EndpointName',)",
    ),
    "metric math with a wrong dimension": (
        lambda t: first(t, ALARM, "Metrics")["Metrics"][1]["MetricStat"]["Metric"].update(Dimensions=[]),
        "not ()",
    ),
    "fleet metric with an unpublished dimension": (
        lambda t: first(t, ALARM, "Namespace").update(
            Namespace="tierfleet", MetricName="RouteErrors", Dimensions=[{"Name": "Tenant", "Value": "m1"}]
        ),
        "is not published with ('Tenant',)",
    ),
    "dashboard row in the wrong namespace": (
        row("AWS/SageMaker", "LoadedModelCount", "EndpointName", "e", "VariantName", "v"),
        "no metric LoadedModelCount is published in AWS/SageMaker",
    ),
    "dashboard row without variant": (
        row("AWS/SageMaker", "Invocations", "EndpointName", "e"),
        "not ('EndpointName',)",
    ),
    "percentile of a metric that has none": (
        lambda t: first(t, ALARM, "Namespace").update(
            Namespace="AWS/SageMaker", MetricName="ModelLoadingWaitTime", ExtendedStatistic="p99", Dimensions=VARIANT
        ),
        "ModelLoadingWaitTime has no statistic p99",
    ),
    "average of a count": (
        lambda t: first(t, ALARM, "Metrics")["Metrics"][1]["MetricStat"].update(
            Stat="Average",
            Metric={"Namespace": "AWS/SageMaker", "MetricName": "InvocationsPerInstance", "Dimensions": VARIANT},
        ),
        "InvocationsPerInstance has no statistic Average",
    ),
    "named model": (put("AWS::SageMaker::Model", "ModelName", "m"), "ModelName is set"),
    "named endpoint config": (
        put("AWS::SageMaker::EndpointConfig", "EndpointConfigName", "c"),
        "EndpointConfigName is set",
    ),
    "upper-case endpoint": (put(ENDPOINT, "EndpointName", "Fraud"), "is not lower case"),
    "an update that undoes scaling": (take(ENDPOINT, "RetainAllVariantProperties"), "would undo scaling"),
    "guardrail without a wait": (
        lambda t: first(t, ENDPOINT, "DeploymentConfig")["DeploymentConfig"]["BlueGreenUpdatePolicy"][
            "TrafficRoutingConfiguration"
        ].pop("WaitIntervalInSeconds"),
        "the API requires it",
    ),
    "export": (lambda t: t.update(Outputs={"Bucket": {"Value": "b", "Export": {"Name": "b"}}}), "Bucket: exported"),
    "import": (put("AWS::SNS::Topic", "TopicName", {"Fn::ImportValue": "b"}), "Fn::ImportValue is used"),
    "weak reference": (
        put("AWS::SNS::Topic", "TopicName", {"Fn::GetStackOutput": {"StackName": "s", "OutputName": "o"}}),
        "Fn::GetStackOutput is used",
    ),
    "all of S3": (allow("s3:GetObject", "*"), "s3:GetObject on * is an unlisted wildcard"),
    "all actions": (allow("s3:*", "arn:aws:s3:::bucket"), "s3:* on arn:aws:s3:::bucket is an unlisted wildcard"),
    "all endpoints": (
        allow("sagemaker:InvokeEndpoint", "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/*"),
        "unlisted wildcard",
    ),
    "every endpoint of a fleet": (
        allow("sagemaker:DeleteEndpoint", "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/shop--test--*"),
        "unlisted wildcard",
    ),
    "everyone": (statement_for_everyone, "everyone is allowed sns:Publish"),
}


def test_a_sound_template_has_no_finding(sound: dict[str, Any]) -> None:
    assert check_template(sound) == []


@pytest.mark.parametrize("name", SEEDS)
def test_a_seeded_mistake_is_found_and_nothing_else(sound: dict[str, Any], name: str) -> None:
    seed, sentence = SEEDS[name]
    template = deepcopy(sound)
    seed(template)
    findings = check_template(template)
    assert len(findings) == 1, findings
    assert sentence in findings[0]


def test_every_check_has_a_seed(sound: dict[str, Any]) -> None:
    caught = set()
    for seed, _sentence in SEEDS.values():
        template = deepcopy(sound)
        seed(template)
        caught |= {check for check in CHECKS if list(check(template))}
    assert caught == set(CHECKS)


def test_a_tenants_future_endpoint_is_a_listed_wildcard() -> None:
    endpoint = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/shop--test--*--m1--*"
    assert _listed("sagemaker:InvokeEndpoint", endpoint)


def test_every_listed_wildcard_has_a_reason() -> None:
    assert all(reason for _action, _resource, reason in ALLOWED_WILDCARDS)


def test_no_fleet_makes_any_of_these_mistakes(assembly: Path) -> None:
    files = sorted(assembly.rglob("*.template.json"))
    assert len(files) >= 6
    findings = {file.name: check_template(json.loads(file.read_text())) for file in files}
    assert {name: problems for name, problems in findings.items() if problems} == {}


def test_every_section_that_an_alarm_links_is_in_the_runbook(assembly: Path) -> None:
    sections = set(re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE))
    linked = set()
    for file in assembly.rglob("*.template.json"):
        for resource in json.loads(file.read_text())["Resources"].values():
            if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"}:
                linked.add(resource["Properties"]["AlarmDescription"].rpartition("#")[2])
    assert linked
    assert linked <= sections
