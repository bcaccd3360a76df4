"""One table of AWS limits: it agrees with AWS's own models, and no template passes it."""

import json
import re
import unicodedata
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from local_cloud.testing.fleets import Synth, checked, document, fleet, read_templates
from tests.fuzz.fleet_files import synthesise_and_check
from tests.fuzz.random_fleets import random_fleets
from tierfleet import aws_limits, instance_types
from tierfleet.config import FleetConfig
from tierfleet.config.hosted_routes import hosted_routes, template_bytes
from tierfleet.config.hosting.dedicated import STACK_RESOURCES
from tierfleet.config.problems import errors_of
from tierfleet.config.template_size import ROUTE_PARTS_RESOURCES, nested_bytes, root_resources
from tierfleet.property_limits import PROPERTY_LIMITS, PropertyLimit
from tierfleet.template_limits import check_assembly, check_limits

CONFIG_LIMITS = [value for value in vars(aws_limits).values() if isinstance(value, aws_limits.Limit)]


@cache
def shapes(service: str) -> dict[str, Any]:
    service_shapes: dict[str, Any] = botocore.loaders.Loader().load_service_model(service, "service-2")["shapes"]
    return service_shapes


def shape_of(name: str) -> dict[str, Any]:
    service, _, shape = name.partition(":")
    service_shape: dict[str, Any] = shapes(service)[shape]
    return service_shape


@pytest.mark.parametrize("limit", [limit for limit in CONFIG_LIMITS if limit.shape], ids=lambda limit: limit.shape)
def test_a_limit_is_that_of_aws_model(limit: aws_limits.Limit) -> None:
    assert limit.most == shape_of(limit.shape)["max"]


@pytest.mark.parametrize(
    "limit",
    [limit for limit in PROPERTY_LIMITS if limit.shape],
    ids=lambda limit: f"{limit.resource_type} {limit.path}",
)
def test_a_property_limit_is_that_of_aws_model(limit: PropertyLimit) -> None:
    shape = shape_of(limit.shape)
    if "max" in shape:
        assert shape["max"] in (limit.longest, limit.most)
    else:
        assert limit.most in (None, aws_limits.INTEGER)
    if limit.least is not None:
        assert shape.get("min", 0) == limit.least
    elif limit.shortest:
        # A name that is there has one character.
        assert shape.get("min", 0) in (0, limit.shortest)
    if limit.pattern is not None and limit.pattern != "[a-z0-9-]+":
        assert shape["pattern"].strip("^$") == limit.pattern


def test_every_row_has_a_source_and_a_limit() -> None:
    assert all(limit.source for limit in CONFIG_LIMITS)
    assert all(limit.source for limit in PROPERTY_LIMITS)
    for limit in PROPERTY_LIMITS:
        assert (limit.longest, limit.least, limit.most, limit.pattern) != (None,) * 4 or limit.distinct, limit


def test_tag_characters_are_those_of_iam() -> None:
    assert shape_of("iam:tagKeyType")["pattern"] == r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+"
    for character in map(chr, range(0x10000)):
        allowed = re.fullmatch(aws_limits.TAG_PATTERN, character) is not None
        documented = unicodedata.category(character)[0] in "LNZ" or character in "_.:/=+-@"
        assert allowed == documented, repr(character)


def test_every_instance_type_of_sagemaker_is_offered_or_refused_with_its_own_reason() -> None:
    reasons = {}
    for name in shape_of("sagemaker:ProductionVariantInstanceType")["enum"]:
        try:
            instance_types.describe(name)
        except ValueError as error:
            reasons[name] = str(error)
    assert {reason.partition(";")[0] for reason in reasons.values()} == {
        "has an accelerator, which these models do not use",
        *(
            f"SageMaker hosts models on {family}, but it is older than the types tierfleet offers "
            "(generation 5 and later)"
            for family in instance_types.OLDER_FAMILIES
        ),
    }


def test_every_region_is_one_of_sagemaker() -> None:
    import boto3

    session = boto3.session.Session()
    known = {
        region
        for partition in ("aws", "aws-cn", "aws-us-gov")
        for region in session.get_available_regions("sagemaker", partition)
    }
    assert instance_types.hosting_regions() == known


@pytest.fixture(scope="module")
def sound(synth: Synth) -> dict[str, Any]:
    """One template with every kind of resource of a fleet."""
    night = {"night": {"schedule": "cron(0 20 * * ? *)", "min": 2, "max": 4}}
    tiers = {"tail": {"guardrail": {"type": "LINEAR"}, "scaling": {"schedules": night}}}
    network = {"subnets": ["subnet-01234567", "subnet-01234568"], "security_group_ids": ["sg-01234567"]}
    merged: dict[str, Any] = {"Resources": {}}
    for template in read_templates(synth(fleet(tiers=tiers, network=network))).values():
        merged["Resources"] |= template["Resources"]
    return merged


def _set(value: Any, path: str, new: Any) -> bool:
    """Put `new` at the first place of a path; whether there is one."""
    head, _, rest = path.partition(".")
    name, in_list = head.removesuffix("[]"), head.endswith("[]")
    if name == "{key}":
        value[new] = "x"
        return True
    name = next(iter(value)) if name == "{}" else name
    if not isinstance(value, dict) or name not in value:
        return False
    if in_list:
        if rest:
            return any(isinstance(item, dict) and _set(item, rest, new) for item in value[name])
        value[name][0] = new
        return True
    if rest:
        return _set(value[name], rest, new)
    value[name] = new
    return True


def _beyond(limit: PropertyLimit) -> Any:
    """A value that the limit forbids."""
    if limit.most is not None:
        return limit.most * 2 + 1
    if limit.distinct:
        return ["one", "one"]
    if limit.entries:
        return {f"A{number}": "x" for number in range((limit.longest or 0) + 1)}
    if limit.longest is not None and limit.path.endswith(
        ("ScheduledActions", "StepAdjustments", "Monitors", "Targets", "Containers")
    ):
        return [
            {"Schedule": "rate(1 hour)", "Id": str(number), "ContainerHostname": f"c{number}"}
            for number in range(limit.longest + 1)
        ]
    return "x" * ((limit.longest or 0) + 1)


@pytest.mark.parametrize("limit", PROPERTY_LIMITS, ids=lambda limit: f"{limit.resource_type} {limit.path}")
def test_a_value_beyond_a_limit_is_found(limit: PropertyLimit, sound: dict[str, Any]) -> None:
    template = deepcopy(sound)
    of_type = [r["Properties"] for r in template["Resources"].values() if r["Type"] == limit.resource_type]
    new = _beyond(limit)
    if not any(_set(properties, limit.path, new) for properties in of_type):
        # Not in a fleet's templates, so that one is made.
        properties: Any = new
        for part in reversed(limit.path.split(".")):
            name = {"{key}": new, "{}": "A"}.get(part, part.removesuffix("[]"))
            properties = {name: [properties] if part.endswith("[]") else properties}
        template["Resources"]["Made"] = {"Type": limit.resource_type, "Properties": properties}
    name = limit.path.rpartition(".")[2]
    assert any(f": {name} " in finding for finding in check_limits(template)), check_limits(template)


SEEDS: dict[str, tuple[str, str, Any, str]] = {
    "a tag twice in other case": (
        "AWS::IAM::Role",
        "Tags",
        [{"Key": "fleet", "Value": "x"}, {"Key": "Fleet", "Value": "y"}],
        "duplicate tag keys fleet",
    ),
    "a reserved tag": ("AWS::SNS::Topic", "Tags", [{"Key": "aws:x", "Value": "y"}], "AWS's own"),
    "51 tags": ("AWS::SNS::Topic", "Tags", [{"Key": str(n), "Value": "y"} for n in range(51)], "51 tags"),
    "a tag of other characters": ("AWS::SNS::Topic", "Tags", [{"Key": "a", "Value": "y;"}], "is not 1 to 256"),
    "a reserved bucket": ("AWS::S3::Bucket", "BucketName", "xn--a", "begins with xn--"),
    "a reserved suffix": ("AWS::S3::Bucket", "BucketName", "a--x-s3", "ends with --x-s3"),
    "a wrong retention": ("AWS::Logs::LogGroup", "RetentionInDays", 31, "RetentionInDays 31"),
    "a time zone that is none": ("AWS::Scheduler::Schedule", "ScheduleExpressionTimezone", "Factory", "IANA"),
    "a dashboard of 501 widgets": (
        "AWS::CloudWatch::Dashboard",
        "DashboardBody",
        json.dumps({"widgets": [{"properties": {}}] * 501}),
        "501 widgets",
    ),
    "a hostname twice": (
        "AWS::SageMaker::Model",
        "Containers",
        [{"ContainerHostname": "a"}, {"ContainerHostname": "a"}],
        "list a hostname twice",
    ),
    "a serverless variant on instances": (
        "AWS::SageMaker::EndpointConfig",
        "ProductionVariants",
        [{"InstanceType": "ml.m5.large", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}],
        "either an InstanceType or a ServerlessConfig",
    ),
    "a variant on nothing": (
        "AWS::SageMaker::EndpointConfig",
        "ProductionVariants",
        [{"VariantName": "AllTraffic"}],
        "either an InstanceType or a ServerlessConfig",
    ),
    "half a step of memory": (
        "AWS::SageMaker::EndpointConfig",
        "ProductionVariants",
        [{"ServerlessConfig": {"MemorySizeInMB": 1536, "MaxConcurrency": 1}}],
        "MemorySizeInMB is 1536",
    ),
    "more kept warm than run": (
        "AWS::SageMaker::EndpointConfig",
        "ProductionVariants",
        [{"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 2}}],
        "ProvisionedConcurrency is above MaxConcurrency, 1",
    ),
    "a stage with too large an environment": (
        "AWS::SageMaker::Model",
        "Containers",
        [{"Environment": {f"A{number}": "x" * 1000 for number in range(40)}}],
        "environment has",
    ),
    "a widget of 501 metrics": (
        "AWS::CloudWatch::Dashboard",
        "DashboardBody",
        json.dumps({"widgets": [{"properties": {"metrics": [["AWS/S3", "x"]] * 501}}]}),
        "a widget of 501 metrics",
    ),
    "a dashboard of 2,501 metrics": (
        "AWS::CloudWatch::Dashboard",
        "DashboardBody",
        json.dumps({"widgets": [{"properties": {"metrics": [["AWS/S3", "x"]] * 417}}] * 6}),
        "2502 metrics",
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_seeded_mistake_is_found_and_nothing_else(name: str, sound: dict[str, Any]) -> None:
    kind, key, value, words = SEEDS[name]
    template = deepcopy(sound)
    next(r for r in template["Resources"].values() if r["Type"] == kind)["Properties"][key] = value
    [finding] = check_limits(template)
    assert words in finding


def test_the_waits_of_a_guardrail_are_counted_step_by_step(sound: dict[str, Any]) -> None:
    template = deepcopy(sound)
    endpoint = next(
        r["Properties"]
        for r in template["Resources"].values()
        if r["Type"] == "AWS::SageMaker::Endpoint" and "LINEAR" in json.dumps(r)
    )
    policy = endpoint["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    policy["TrafficRoutingConfiguration"] |= {"LinearStepSize": {"Value": 30}, "WaitIntervalInSeconds": 900}
    policy |= {"TerminationWaitInSeconds": 0, "MaximumExecutionTimeoutInSeconds": 3600}
    [finding] = check_limits(template)
    assert "3600 s" in finding
    policy["MaximumExecutionTimeoutInSeconds"] = 3601
    assert check_limits(template) == []


def test_no_template_of_the_shipped_fleets_passes_a_limit(assembly: Path) -> None:
    assert check_assembly(assembly) == []


def test_no_template_of_random_fleets_passes_a_limit() -> None:
    """The whole run is 200: python tests/fuzz/random_fleets.py."""
    assert [finding for config in random_fleets(5, 7) for finding in synthesise_and_check(config)] == []


def test_an_assembly_over_a_limit_ends_the_synthesis(tmp_path: Path) -> None:
    (tmp_path / "big.template.json").write_text(json.dumps({"Description": "x" * 1_000_001}))
    (tmp_path / "many.template.json").write_text(
        json.dumps({"Resources": {f"R{n}": {"Type": "AWS::SNS::Topic"} for n in range(501)}})
    )
    assert check_assembly(tmp_path) == [
        "big: template has 1,000,020 bytes, at most 1,000,000",
        "many: 501 Resources, at most 500",
    ]


def root_of(assembly: Path) -> tuple[int, int]:
    """Resources and bytes of the fleet's root template."""
    [file] = [f for f in assembly.rglob("*.template.json") if "Fleet" in f.name and "Whales" not in f.name]
    return len(json.loads(file.read_text())["Resources"]), file.stat().st_size


SIZES: dict[str, FleetConfig] = {
    "the small fleet": fleet(),
    "no option": fleet(tiers={"tail": {"warm_up": None, "scale_on_cache": None}, "whale": {"tenants": {}}}),
    "long names": fleet(fleet="a-longer-name", environment="production", runbook_url="https://e.com/" + "r" * 180),
    "many tags": fleet(tags={f"key-{n:030d}": "v" * 200 for n in range(40)}),
    "many variables": fleet(container={"environment": {f"A{n}": 'x"y' * 100 for n in range(90)}}),
    "a long warm-up": fleet(tiers={"tail": {"warm_up": {"tenants": [f"t{n}" for n in range(5000)]}}}),
    "many whales": fleet(
        tiers={"whale": {"tenants": {f"w{n:035}": {"model": f"w{n:035}/1.tar.gz"} for n in range(25)}}}
    ),
    "many schedules": fleet(
        tiers={
            "tail": {
                "scaling": {
                    "schedules": {f"s{n}": {"schedule": "cron(0 20 * * ? *)", "min": 2, "max": 2} for n in range(200)}
                }
            }
        }
    ),
    "a document in parts": fleet(tiers={"tail": {"warm_up": {"tenants": [f"tenant-{n:06}" for n in range(60_000)]}}}),
    "more shared tiers": fleet(
        tiers={f"s{n}": {**document()["tiers"]["tail"], "default": False, "tenants": [f"a{n}"]} for n in range(4)}
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_resources_and_bytes_that_a_check_expects_are_the_real_ones(name: str, synth: Synth) -> None:
    config = SIZES[name]
    resources, size = root_of(synth(config))
    hosted = hosted_routes(config)
    assert root_resources(config.tiers) + ROUTE_PARTS_RESOURCES * bool(hosted.parts) == resources
    assert template_bytes(config, hosted) == pytest.approx(size, rel=0.05)


TRIO: dict[str, Any] = {
    **{key: document()["tiers"]["whale"][key] for key in ("instance_type", "instances", "scaling", "alarms")},
    "hosting": "multi-container",
    "tenants": {
        "c1": {
            "primary": "c0",
            "containers": [
                {
                    "hostname": f"c{number}",
                    "image": "sagemaker-xgboost",
                    "version": "1.7-1",
                    "model": f"c1/{number}.tar.gz",
                    "environment": {"A": "é" * 400},
                }
                for number in range(15)
            ],
        }
    },
}
LONG_TAGS = {f"k{number:02}" + "k" * 125: "é" * 20 + "v" * 236 for number in range(46)}


def test_a_nested_template_has_about_the_bytes_that_a_check_expects(synth: Synth) -> None:
    config = fleet(tiers={"trio": TRIO}, tags=LONG_TAGS)
    [expected] = [size for (tier, _), size in nested_bytes(config).items() if tier == "trio"]
    largest = max(file.stat().st_size for file in synth(config).rglob("*.nested.template.json"))
    assert abs(largest - expected) < 0.05 * largest


def test_a_nested_template_over_the_limit_is_refused(tmp_path: Path) -> None:
    tags = dict.fromkeys(LONG_TAGS, "é" * 70 + "v" * 186)
    result = checked(tmp_path, document(tiers={"trio": TRIO}, tags=tags))
    [error] = errors_of(result.problems)
    assert (error.table, error.key) == ("tiers.trio.tenants", "c1")
    assert "CloudFormation allows 1 MB" in error.message


def test_a_whale_is_as_many_resources_as_the_check_expects(synth: Synth) -> None:
    nested = [t for n, t in read_templates(synth(fleet())).items() if "Whalesw1" in n]
    assert [len(template["Resources"]) for template in nested] == [STACK_RESOURCES]
