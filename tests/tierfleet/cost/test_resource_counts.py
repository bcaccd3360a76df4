"""What is counted for the bill is what the templates hold: compared with the snapshots of the synthesised stacks."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from local_cloud.testing.fleets import FLEET_FILES, ROOT
from tierfleet.config import FleetConfig, load
from tierfleet.cost.items import POINTER_TTL_SECONDS, WARM_UP_MEMORY_GB
from tierfleet.cost.resource_counts import WARM_UP_METRICS, AlarmCount, endpoint_alarms, fleet_alarms
from tierfleet.runtime.client.settings import ClientSettings


def resources(stem: str) -> list[dict[str, Any]]:
    templates = json.loads((ROOT / "tests/snapshots" / f"{stem}.json").read_text())
    return [resource for template in templates.values() for resource in template["Resources"].values()]


def all_alarms(config: FleetConfig) -> AlarmCount:
    """Every alarm and policy of the fleet."""
    total = fleet_alarms(config)
    for shared in config.multi_model_tiers.values():
        total += endpoint_alarms(shared)
    for pipeline in config.shared_pipeline_tiers.values():
        total += endpoint_alarms(pipeline)
    for own in config.tenant_endpoint_tiers.values():
        for tenant in own.tenants:
            total += endpoint_alarms(own, tenant)
    return total


@pytest.mark.parametrize("file", FLEET_FILES, ids=lambda file: file.stem)
def test_alarms_and_policies_are_those_of_the_template(file: Path) -> None:
    template = resources(file.stem)
    types = Counter(resource["Type"] for resource in template)
    counted = all_alarms(load(file))
    assert counted.alarms == types["AWS::CloudWatch::Alarm"]
    assert counted.composite == types["AWS::CloudWatch::CompositeAlarm"]
    assert counted.policies == types["AWS::ApplicationAutoScaling::ScalingPolicy"]
    metrics = [
        sum("MetricStat" in query for query in resource["Properties"]["Metrics"])
        if "Metrics" in resource["Properties"]
        else 1
        for resource in template
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert counted.alarm_metrics == sum(metrics)


@pytest.mark.parametrize("file", FLEET_FILES, ids=lambda file: file.stem)
def test_target_tracking_makes_two_alarms_and_one_where_it_may_not_scale_in(file: Path) -> None:
    configurations = [
        resource["Properties"]["TargetTrackingScalingPolicyConfiguration"]
        for resource in resources(file.stem)
        if resource["Properties"].get("PolicyType") == "TargetTrackingScaling"
    ]
    expected = sum(1 if policy.get("DisableScaleIn") else 2 for policy in configurations)
    assert all_alarms(load(file)).target_tracking == expected
    endpoints = sum(
        "InstanceType" in resource["Properties"]["ProductionVariants"][0]
        for resource in resources(file.stem)
        if resource["Type"] == "AWS::SageMaker::EndpointConfig"
    )
    assert len(configurations) == endpoints


def test_the_warm_up_function_is_billed_as_it_is_defined() -> None:
    functions = [
        resource["Properties"] for resource in resources("fraud-prod") if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert {function["MemorySize"] for function in functions} == {WARM_UP_MEMORY_GB * 1024}
    assert {tuple(function["Architectures"]) for function in functions} == {("arm64",)}
    assert ClientSettings().pointer_ttl_seconds == POINTER_TTL_SECONDS
    assert len(WARM_UP_METRICS) == 7


def test_one_dashboard_and_one_set_of_request_metrics_a_fleet() -> None:
    for file in FLEET_FILES:
        template = resources(file.stem)
        assert sum(resource["Type"] == "AWS::CloudWatch::Dashboard" for resource in template) == 1
        buckets = [resource["Properties"] for resource in template if resource["Type"] == "AWS::S3::Bucket"]
        measured = [len(bucket["MetricsConfigurations"]) for bucket in buckets if "MetricsConfigurations" in bucket]
        assert measured == [1]
