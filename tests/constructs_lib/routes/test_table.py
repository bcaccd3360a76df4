"""Which endpoint serves a tenant, as AppConfig hosts it."""

import json
from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template
from jsonschema import Draft4Validator
from synthesis import AUDIENCE, only, resources, statements, template_of

from constructs_lib.routes.table import RouteDeployment, RouteTable
from local_cloud.testing.fleets import fleet
from tierfleet.config import routes

APPCONFIG = "AWS::AppConfig::"


@pytest.fixture(scope="module")
def template() -> Template:
    config = fleet(routes={"bake_minutes": 7, "max_route_errors_per_minute": 9})

    def build(stack: Any) -> None:
        table = RouteTable(stack, "Routes", config=config, audience=AUDIENCE)
        for name, grant in (("Deployed", table.grant_read_deployed), ("Hosted", table.grant_read_hosted)):
            grant(iam.Role(stack, name, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))
        last = sns.Topic(stack, "SomethingElse")
        RouteDeployment(stack, "Deployment", route_table=table, after=[table, last])

    return template_of(config, build)


def test_application_profile_and_environment_have_names_that_clients_know(template: Template) -> None:
    names = [
        only(template, APPCONFIG + kind)["Name"] for kind in ("Application", "ConfigurationProfile", "Environment")
    ]
    assert names == ["shop--test", "routes", "test"]


def test_the_document_is_the_one_derivation_of_the_fleet(template: Template) -> None:
    document = only(template, f"{APPCONFIG}HostedConfigurationVersion")
    assert document["ContentType"] == "application/json"
    assert json.loads(document["Content"]) == routes.route_document(fleet())


def test_the_validator_is_draft_04_and_accepts_the_document(template: Template) -> None:
    [validator] = only(template, f"{APPCONFIG}ConfigurationProfile")["Validators"]
    schema = json.loads(validator["Content"])
    assert (validator["Type"], schema["$schema"]) == ("JSON_SCHEMA", "http://json-schema.org/draft-04/schema#")
    Draft4Validator.check_schema(schema)
    document = json.loads(only(template, f"{APPCONFIG}HostedConfigurationVersion")["Content"])
    assert list(Draft4Validator(schema).iter_errors(document)) == []


def test_the_validator_refuses_a_tenant_without_an_endpoint(template: Template) -> None:
    [validator] = only(template, f"{APPCONFIG}ConfigurationProfile")["Validators"]
    document = {**routes.route_document(fleet()), "tenants": {"w1": {"tier": "whale"}}}
    assert not Draft4Validator(json.loads(validator["Content"])).is_valid(document)


def test_the_routes_flip_at_once_and_bake(template: Template) -> None:
    strategy = only(template, f"{APPCONFIG}DeploymentStrategy")
    assert (strategy["DeploymentDurationInMinutes"], strategy["GrowthFactor"]) == (0, 100)
    assert (strategy["FinalBakeTimeInMinutes"], strategy["ReplicateTo"]) == (7, "NONE")


def test_one_alarm_takes_a_route_change_back(template: Template) -> None:
    [alarm] = resources(template, "AWS::CloudWatch::Alarm")
    [monitor] = only(template, f"{APPCONFIG}Environment")["Monitors"]
    assert monitor["AlarmArn"] == {"Fn::GetAtt": [alarm, "Arn"]}


def test_that_alarm_counts_route_errors_and_no_data_is_no_error(template: Template) -> None:
    alarm = only(template, "AWS::CloudWatch::Alarm")
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("tierfleet", "RouteErrors", "Sum")
    assert alarm["Dimensions"] == [{"Name": "Fleet", "Value": "shop"}, {"Name": "Environment", "Value": "test"}]
    assert (alarm["Threshold"], alarm["Period"], alarm["TreatMissingData"]) == (9, 60, "notBreaching")
    assert alarm["AlarmDescription"].endswith("#route-errors")


def test_appconfig_of_this_account_reads_that_alarm_alone(template: Template) -> None:
    [alarm] = resources(template, "AWS::CloudWatch::Alarm")
    [read] = [s for s in statements(template) if s["Action"] == "cloudwatch:DescribeAlarms"]
    assert read["Resource"] == {"Fn::GetAtt": [alarm, "Arn"]}
    [trust] = [
        statement
        for role in resources(template, "AWS::IAM::Role").values()
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "appconfig.amazonaws.com"}
    ]
    assert "Condition" not in trust


def test_the_deployment_deploys_this_document_and_waits_for_all_it_is_told_to(template: Template) -> None:
    [deployment] = resources(template, f"{APPCONFIG}Deployment").values()
    [document] = resources(template, f"{APPCONFIG}HostedConfigurationVersion")
    assert deployment["Properties"]["ConfigurationVersion"] == {"Ref": document}
    [topic] = resources(template, "AWS::SNS::Topic")
    waits_for = set(deployment["DependsOn"])
    assert topic in waits_for
    kinds = ("Application", "ConfigurationProfile", "Environment", "DeploymentStrategy", "HostedConfigurationVersion")
    assert {name for kind in kinds for name in resources(template, APPCONFIG + kind)} <= waits_for
    assert set(resources(template, "AWS::CloudWatch::Alarm")) <= waits_for


def test_a_reader_of_the_deployed_document_is_bound_to_profile_and_environment(template: Template) -> None:
    [statement] = [s for s in statements(template) if "appconfig:StartConfigurationSession" in s["Action"]]
    assert statement["Action"] == ["appconfig:GetLatestConfiguration", "appconfig:StartConfigurationSession"]
    arn = _joined(statement["Resource"])
    assert arn == (
        "arn:aws:appconfig:eu-west-1:123456789012:application/<Application>/environment/<Environment>"
        "/configuration/<Profile>"
    )


def test_a_reader_of_the_hosted_document_is_bound_to_application_and_profile(template: Template) -> None:
    [statement] = [s for s in statements(template) if "appconfig:GetHostedConfigurationVersion" in s["Action"]]
    application = "arn:aws:appconfig:eu-west-1:123456789012:application/<Application>"
    profile = f"{application}/configurationprofile/<Profile>"
    arns = sorted(map(_joined, statement["Resource"]))
    assert arns == [application, profile, f"{profile}/hostedconfigurationversion/*"]


def _joined(resource: Any) -> str:
    """An ARN with <id> for a reference; the ids of this stack all start with Routes."""
    parts = resource["Fn::Join"][1]
    return "".join(p if isinstance(p, str) else f"<{p['Ref'].removeprefix('Routes')[:-8]}>" for p in parts)
