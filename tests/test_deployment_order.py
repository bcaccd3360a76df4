"""The order on which "no request is lost" rests, read from the synthesised templates' own dependencies."""

import json
import re
from collections import Counter
from typing import Any

import pytest

from local_cloud.testing.fleets import FLEET_FILES
from tierfleet.config import load
from tierfleet.cost.resource_counts import endpoint_alarms

ENDPOINT = "AWS::SageMaker::Endpoint"
TIERS = [tier for file in FLEET_FILES for tier in load(file).tiers.values()]
# The endpoints of all fleet files; tenant None: all tenants of the tier share it.
ENDPOINTS = [
    (tier, tenant) for tier in TIERS for tenant in (sorted(tier.tenants) if tier.endpoint_per_tenant else [None])
]


def fleet_stack(templates: dict[str, Any], stem: str) -> dict[str, Any]:
    prefix = f"{stem.replace('-', '')}Fleet"
    return next(t for name, t in templates.items() if re.fullmatch(rf"{prefix}[0-9A-F]{{8}}", name))


def before(template: dict[str, Any]) -> dict[str, set[str]]:
    """For each resource, every resource CloudFormation must have finished before it starts."""
    resources = template["Resources"]
    direct: dict[str, set[str]] = {}
    for logical_id, resource in resources.items():
        needs = resource.get("DependsOn", [])
        text = json.dumps(resource.get("Properties", {}))
        direct[logical_id] = {
            *([needs] if isinstance(needs, str) else needs),
            *re.findall(r'"Ref": "(\w+)"', text),
            *re.findall(r'"Fn::GetAtt": \["(\w+)"', text),
        } & resources.keys()
    closed: dict[str, set[str]] = {}

    def close(logical_id: str, path: tuple[str, ...] = ()) -> set[str]:
        assert logical_id not in path, f"a circle: {path}"
        if logical_id not in closed:
            known = set(direct[logical_id])
            for need in direct[logical_id]:
                known |= close(need, (*path, logical_id))
            closed[logical_id] = known
        return closed[logical_id]

    return {logical_id: close(logical_id) for logical_id in resources}


def of_type(template: dict[str, Any], resource_type: str) -> list[str]:
    return [key for key, resource in template["Resources"].items() if resource["Type"] == resource_type]


@pytest.fixture(params=[file.stem for file in FLEET_FILES])
def fleet_template(request: pytest.FixtureRequest, templates: dict[str, Any]) -> dict[str, Any]:
    return fleet_stack(templates, request.param)


def test_the_deployment_is_the_last_resource_of_the_fleet(fleet_template: dict[str, Any]) -> None:
    (deployment,) = of_type(fleet_template, "AWS::AppConfig::Deployment")
    assert before(fleet_template)[deployment] == fleet_template["Resources"].keys() - {deployment}


def test_each_multi_model_endpoint_is_warmed_by_name_after_the_new_document_and_before_the_deployment(
    fleet_template: dict[str, Any],
) -> None:
    order = before(fleet_template)
    (document,) = of_type(fleet_template, "AWS::AppConfig::HostedConfigurationVersion")
    endpoints = of_type(fleet_template, "AWS::SageMaker::Endpoint")
    gates = of_type(fleet_template, "Custom::WarmGate")
    assert len(gates) == len(endpoints) > 0
    for gate in gates:
        assert document in order[gate]
        assert order[gate] & set(endpoints)
        properties = fleet_template["Resources"][gate]["Properties"]
        assert properties.keys() == {
            "ServiceToken", "ServiceTimeout", "EndpointName", "EndpointConfigName", "LogRetentionDays", "Tier",
        }  # fmt: skip


def depends_on(resource: dict[str, Any]) -> set[str]:
    needs = resource.get("DependsOn", [])
    return {needs} if isinstance(needs, str) else set(needs)


def test_whatever_concerns_an_endpoint_waits_until_it_is_created(templates: dict[str, Any]) -> None:
    """A reference alone lets CloudFormation start the dependent at CONFIGURATION_COMPLETE: the endpoint exists and may
    still be Creating. docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html
    """
    waiting: Counter[str] = Counter()
    for template in templates.values():
        resources = template["Resources"]
        endpoints = {resources[key]["Properties"]["EndpointName"]: key for key in of_type(template, ENDPOINT)}
        for logical_id, resource in resources.items():
            text = json.dumps(resource.get("Properties", {}))
            named = {*re.findall(r'"Ref": "(\w+)"', text), *re.findall(r'"Fn::GetAtt": \["(\w+)"', text)}
            concerns = named & set(endpoints.values())
            # Alarms, and the composite over them, bear the endpoint's name.
            name = str(resource.get("Properties", {}).get("AlarmName", "")).rpartition("--")[0]
            if name in endpoints and logical_id not in depends_on(resources[endpoints[name]]):
                concerns.add(endpoints[name])
            if concerns:
                waiting[resource["Type"]] += 1
                assert concerns <= depends_on(resource), logical_id
    # Every alarm of an endpoint but the ones that roll its updates back.
    alarms = sum(endpoint_alarms(tier, tenant).alarms for tier, tenant in ENDPOINTS)
    rollback = sum(
        resource["Type"] == "AWS::CloudWatch::Alarm"
        for template in templates.values()
        for endpoint in of_type(template, ENDPOINT)
        for key in depends_on(template["Resources"][endpoint])
        if (resource := template["Resources"][key])
    )
    assert waiting == {
        "AWS::ApplicationAutoScaling::ScalableTarget": sum(tier.hosting != "serverless" for tier, _ in ENDPOINTS),
        "AWS::CloudWatch::Alarm": alarms - rollback,
        "AWS::CloudWatch::CompositeAlarm": sum(tier.hosting == "multi-model" for tier, _ in ENDPOINTS),
        "Custom::WarmGate": len(ENDPOINTS),
    }


def test_a_gate_and_a_whale_wait_until_the_gate_function_can_be_called(fleet_template: dict[str, Any]) -> None:
    resources = fleet_template["Resources"]
    (function,) = [key for key in of_type(fleet_template, "AWS::Lambda::Function") if "GateFunction" in key]
    (permission,) = [key for key in of_type(fleet_template, "AWS::Lambda::Permission") if "NextRun" in key]
    called = of_type(fleet_template, "Custom::WarmGate") + of_type(fleet_template, "AWS::CloudFormation::Stack")
    for logical_id in called:
        assert {function, permission} <= depends_on(resources[logical_id])


def test_the_gate_does_not_run_again_when_only_the_document_changes(fleet_template: dict[str, Any]) -> None:
    """It reads the newest hosted document itself: a reference would make each route change a warm-up."""
    (document,) = of_type(fleet_template, "AWS::AppConfig::HostedConfigurationVersion")
    for gate in of_type(fleet_template, "Custom::WarmGate"):
        assert document not in json.dumps(fleet_template["Resources"][gate]["Properties"])


def test_the_gates_permissions_precede_the_endpoint(fleet_template: dict[str, Any]) -> None:
    order = before(fleet_template)
    policies = [key for key in of_type(fleet_template, "AWS::IAM::Policy") if "GateFunction" in key]
    assert len(policies) == 1
    for endpoint in of_type(fleet_template, "AWS::SageMaker::Endpoint"):
        assert policies[0] in order[endpoint]


def test_the_monitor_alarm_precedes_the_environment_that_watches_it(fleet_template: dict[str, Any]) -> None:
    (environment,) = of_type(fleet_template, "AWS::AppConfig::Environment")
    monitors = fleet_template["Resources"][environment]["Properties"]["Monitors"]
    assert len(monitors) == 1
    alarm = monitors[0]["AlarmArn"]["Fn::GetAtt"][0]
    properties = fleet_template["Resources"][alarm]["Properties"]
    assert (properties["MetricName"], properties["TreatMissingData"]) == ("RouteErrors", "notBreaching")


def test_scaling_and_alarms_come_after_each_endpoint_and_rollback_alarms_before_it(templates: dict[str, Any]) -> None:
    checked = 0
    for template in templates.values():
        order = before(template)
        for endpoint in of_type(template, "AWS::SageMaker::Endpoint"):
            alarms = set(of_type(template, "AWS::CloudWatch::Alarm"))
            guardrail = template["Resources"][endpoint]["Properties"].get("DeploymentConfig", {})
            rollback = {a["AlarmName"] for a in guardrail.get("AutoRollbackConfiguration", {}).get("Alarms", [])}
            literal = {key for key in alarms if template["Resources"][key]["Properties"].get("AlarmName") in rollback}
            later = {key for key in alarms - literal if endpoint in order[key]}
            targets = of_type(template, "AWS::ApplicationAutoScaling::ScalableTarget")
            policies = of_type(template, "AWS::ApplicationAutoScaling::ScalingPolicy")
            assert literal <= order[endpoint]
            assert len(later) >= 4
            assert all(endpoint in order[target] for target in targets)
            assert all(set(targets) & order[policy] for policy in policies)
            serverless = "rare" in json.dumps(template["Resources"][endpoint]["Properties"]["EndpointName"])
            assert bool(targets) == bool(policies) == (not serverless)
            checked += 1
    assert checked == len(ENDPOINTS)


def test_every_whale_has_a_gate_that_only_checks(templates: dict[str, Any]) -> None:
    whales = [template for name, template in templates.items() if "Whales" in name]
    assert len(whales) == sum(tenant is not None for _, tenant in ENDPOINTS)
    for template in whales:
        (gate,) = of_type(template, "Custom::WarmGate")
        assert "Tier" not in template["Resources"][gate]["Properties"]
        assert set(of_type(template, "AWS::SageMaker::Endpoint")) <= before(template)[gate]


def test_no_stack_exports_or_imports_anything(templates: dict[str, Any]) -> None:
    for template in templates.values():
        assert "Fn::ImportValue" not in json.dumps(template)
        assert not any("Export" in output for output in template.get("Outputs", {}).values())


def test_every_model_has_a_role_whose_policy_exists_with_it(templates: dict[str, Any]) -> None:
    """CreateModel fails while its role cannot read the artefact; a policy of its own would come later than the role."""
    models = 0
    for template in templates.values():
        order = before(template)
        for model in of_type(template, "AWS::SageMaker::Model"):
            properties = template["Resources"][model]["Properties"]
            role = properties["ExecutionRoleArn"]["Fn::GetAtt"][0]
            assert role in order[model]
            assert template["Resources"][role]["Properties"]["Policies"]
            models += 1
    assert models == len(ENDPOINTS)


def test_a_dedicated_tenants_role_is_its_own(templates: dict[str, Any]) -> None:
    for name, template in templates.items():
        if "Whales" not in name:
            continue
        (model,) = of_type(template, "AWS::SageMaker::Model")
        properties = template["Resources"][model]["Properties"]
        containers = [properties["PrimaryContainer"]] if "PrimaryContainer" in properties else properties["Containers"]
        url = next(container["ModelDataUrl"] for container in containers if "ModelDataUrl" in container)
        (role,) = of_type(template, "AWS::IAM::Role")
        (policy,) = template["Resources"][role]["Properties"]["Policies"]
        (read,) = [s for s in policy["PolicyDocument"]["Statement"] if s["Sid"] == "ReadModels"]
        bucket, _, key = url.removeprefix("s3://").partition("/")
        assert read["Resource"] == f"arn:aws:s3:::{bucket}/models/{key.split('/')[1]}/*"
