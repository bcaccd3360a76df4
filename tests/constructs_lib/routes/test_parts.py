"""What of a large route document lies in the model bucket, before AppConfig hosts what names it."""

import json
from typing import Any

import pytest
from template_checks import check_template

from local_cloud.testing.fleets import Synth, document, fleet, read_templates
from tierfleet.config import FleetConfig
from tierfleet.config.hosted_routes import hosted_routes
from tierfleet.template_limits import check_assembly

KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"
TAIL = document()["tiers"]["tail"]
LARGE: FleetConfig = fleet(
    tiers={"second": {**TAIL, "default": False, "tenants": [f"tenant-{number:05}" for number in range(9000)]}},
    encryption={"bucket_kms_key_arn": KEY},
)


@pytest.fixture(scope="module")
def assembly_of_large(synth: Synth) -> Any:
    return synth(LARGE)


@pytest.fixture(scope="module")
def resources(assembly_of_large: Any) -> dict[str, Any]:
    [template] = [
        t
        for name, t in read_templates(assembly_of_large).items()
        if name.startswith("shoptestFleet") and "Whales" not in name
    ]
    resources: dict[str, Any] = template["Resources"]
    return resources


def of(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: resource for name, resource in resources.items() if resource["Type"] == kind}


def test_the_templates_of_a_large_fleet_pass_no_limit(assembly_of_large: Any) -> None:
    assert check_assembly(assembly_of_large) == []
    for template in read_templates(assembly_of_large).values():
        assert check_template(template) == []


def test_the_document_waits_for_its_parts_and_they_for_the_functions_permissions(resources: dict[str, Any]) -> None:
    [(parts_id, parts)] = of(resources, "Custom::RouteParts").items()
    [hosted] = of(resources, "AWS::AppConfig::HostedConfigurationVersion").values()
    assert json.loads(hosted["Properties"]["Content"])["parts"]
    assert parts_id in hosted["DependsOn"]
    function = parts["Properties"]["ServiceToken"]["Fn::GetAtt"][0]
    assert function.startswith("WarmUpGateFunction")
    assert function in parts["DependsOn"]
    assert any("RoleDefaultPolicy" in name for name in resources[function]["DependsOn"])


def test_each_part_comes_as_an_asset_with_its_own_bytes(assembly_of_large: Any, resources: dict[str, Any]) -> None:
    [parts] = of(resources, "Custom::RouteParts").values()
    hosted = hosted_routes(LARGE)
    listed = {part["Key"]: part for part in parts["Properties"]["Parts"]}
    assert listed.keys() == hosted.parts.keys()
    for key, part in listed.items():
        assert part["SourceBucket"] == "cdk-hnb659fds-assets-123456789012-eu-west-1"
        [file] = assembly_of_large.rglob(f"asset.{part['SourceKey']}")
        assert file.read_bytes() == hosted.parts[key]


def test_the_function_may_read_these_assets_and_write_parts_only(resources: dict[str, Any]) -> None:
    statements = [
        statement
        for policy in of(resources, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    writes = [s["Resource"] for s in statements if "s3:PutObject" in s["Action"]]
    assert writes == ["arn:aws:s3:::shop--test--models--123456789012--eu-west-1/routes/*"]
    assert [s["Resource"] for s in statements if s["Action"] == "kms:GenerateDataKey"] == [KEY]
    text = json.dumps([s["Resource"] for s in statements if s["Action"] == "s3:GetObject"])
    assert "assets-123456789012-eu-west-1/*" not in text
    assert text.count("cdk-hnb659fds-assets") == 2


def test_a_fleet_whose_document_fits_has_none_of_this(synth: Synth) -> None:
    for template in read_templates(synth(fleet())).values():
        assert "Custom::RouteParts" not in json.dumps(template)
