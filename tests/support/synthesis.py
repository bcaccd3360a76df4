"""One small stack around one construct, for the tests of constructs."""

import json
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk.assertions import Template

from constructs_lib.alarms import AlarmAudience
from local_cloud.testing.fleets import ROOT
from tierfleet.config import FleetConfig

FLAGS = json.loads((ROOT / "cdk.json").read_text())["context"]
TOPIC_ARN = "arn:aws:sns:eu-west-1:123456789012:shop--test--alarms"
AUDIENCE = AlarmAudience(topic_arn=TOPIC_ARN, runbook_url="https://example.com/runbook.md")
ROLE_ARN = "arn:aws:iam::123456789012:role/sagemaker"
BUCKET = "shop--test--models--123456789012--eu-west-1"


def template_of(config: FleetConfig, build: Callable[[cdk.Stack], object]) -> Template:
    """The template of a stack in the fleet's account and region, filled by `build`, under the flags of cdk.json."""
    with tempfile.TemporaryDirectory() as outdir:
        app = cdk.App(context=FLAGS, outdir=outdir, analytics_reporting=False, tree_metadata=False)
        stack = cdk.Stack(app, "Test", env=cdk.Environment(account=config.account, region=config.region))
        build(stack)
        return Template.from_stack(stack)


def resources(template: Template, kind: str) -> dict[str, Mapping[str, Any]]:
    """The resources of one type by logical id."""
    return dict(template.find_resources(kind))


def only(template: Template, kind: str) -> Mapping[str, Any]:
    """The properties of the only resource of a type."""
    [resource] = resources(template, kind).values()
    properties: Mapping[str, Any] = resource.get("Properties", {})
    return properties


def alarm(template: Template, *, section: str = "", contains: str = "") -> Mapping[str, Any]:
    """The properties of the only alarm whose description links this runbook section and contains this text."""
    alarms = [
        resource["Properties"]
        for resource in resources(template, "AWS::CloudWatch::Alarm").values()
        if resource["Properties"]["AlarmDescription"].endswith(f"#{section}" if section else "")
        and contains in resource["Properties"]["AlarmDescription"]
    ]
    assert len(alarms) == 1, f"{len(alarms)} alarms link #{section} and contain {contains!r}"
    properties: Mapping[str, Any] = alarms[0]
    return properties


def statements(template: Template) -> list[Mapping[str, Any]]:
    """Every statement of every IAM policy."""
    return [
        statement
        for resource in resources(template, "AWS::IAM::Policy").values()
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
    ]
