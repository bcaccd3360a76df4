"""The product promise: what a tier change may touch, and what it may not."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_cloud.testing.fleets import CONFIG, Synth, fleet
from tierfleet.assembly_diff import ResourceChange, assembly_changes
from tierfleet.config import FleetConfig, load

# What a promotion or demotion may modify: the routes and their Deployment, the dashboard, nothing else.
MAY_CHANGE = {
    "AWS::AppConfig::HostedConfigurationVersion",
    "AWS::AppConfig::Deployment",
    "Custom::RouteGuard",
    "AWS::CloudWatch::Dashboard",
}
TENANTS = [f"t{number}" for number in range(6)]
Assignment = dict[str, str]  # tenant -> tier, for tenants that are not on the default tier

assignments = st.dictionaries(st.sampled_from(TENANTS), st.sampled_from(["whale", "orca"]), max_size=4)


def fleet_with(assignment: Assignment, order: Iterable[str] = ()) -> FleetConfig:
    """The small fleet with two dedicated tiers; `order`: the order in which the file names the tenants."""
    names = [*order, *(tenant for tenant in assignment if tenant not in list(order))]

    def tenants(tier: str) -> dict[str, Any]:
        return {t: {"model": f"{t}/1.tar.gz"} for t in names if assignment.get(t) == tier}

    base = fleet().tiers["whale"].model_dump(exclude={"tenants"})
    orca = {**base, "instance_type": "ml.m5.xlarge", "tenants": tenants("orca")}
    whale = {**base, "tenants": tenants("whale")}
    config = fleet(tiers={"orca": orca})
    tiers = {**config.model_dump()["tiers"], "whale": whale}
    return FleetConfig.model_validate_json(json.dumps({**config.model_dump(), "tiers": tiers}))


@pytest.fixture(scope="session")
def synth_of(synth: Synth) -> Any:
    """Each assignment is synthesised once a session."""
    done: dict[str, Path] = {}

    def of(assignment: Assignment) -> Path:
        key = json.dumps(assignment, sort_keys=True)
        if key not in done:
            done[key] = synth(fleet_with(assignment))
        return done[key]

    return of


def changes_between(before: Path, after: Path) -> list[ResourceChange]:
    return assembly_changes(before, after)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(before=assignments, after=assignments)
def test_a_tier_change_adds_and_removes_only_the_whales_that_move(
    synth_of: Any, before: Assignment, after: Assignment
) -> None:
    changes = changes_between(synth_of(before), synth_of(after))
    moved = {tenant for tenant in {*before, *after} if before.get(tenant) != after.get(tenant)}
    for change in changes:
        if change.resource_type in MAY_CHANGE:
            assert change.change == "modified"
        elif change.resource_type == "AWS::CloudFormation::Stack":
            assert any(tenant in change.logical_id for tenant in moved), change
        else:
            assert any(f"Whales{tenant}" in change.stack for tenant in moved), change
    if not moved:
        assert changes == []


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(assignment=assignments, order=st.permutations(TENANTS))
def test_the_order_of_the_file_changes_nothing(
    synth: Synth, synth_of: Any, assignment: Assignment, order: list[str]
) -> None:
    reordered = fleet_with({t: assignment[t] for t in order if t in assignment}, order)
    assert changes_between(synth_of(assignment), synth(reordered)) == []


def test_a_promotion_adds_one_nested_stack_and_its_thirteen_resources(synth_of: Any) -> None:
    changes = changes_between(synth_of({}), synth_of({"t1": "whale"}))
    added = [change for change in changes if change.change == "added"]
    assert sum(change.resource_type == "AWS::CloudFormation::Stack" for change in added) == 1
    assert len(added) == 14
    assert {c.resource_type for c in changes if c.change == "modified"} == MAY_CHANGE - {"AWS::AppConfig::Deployment"}
    assert not [change for change in changes if change.change == "removed"]


def test_a_demotion_mirrors_the_promotion(synth_of: Any) -> None:
    there = changes_between(synth_of({}), synth_of({"t1": "whale"}))
    back = changes_between(synth_of({"t1": "whale"}), synth_of({}))
    opposite = {"added": "removed", "removed": "added", "modified": "modified"}
    assert {(opposite[c.change], c.stack, c.logical_id) for c in there} == {
        (c.change, c.stack, c.logical_id) for c in back
    }


def test_a_new_model_version_touches_one_model_the_stack_around_it_and_the_routes(synth: Synth, synth_of: Any) -> None:
    config = fleet_with({"t1": "whale", "t2": "whale"}).model_dump()
    config["tiers"]["whale"]["tenants"]["t1"]["model"] = "t1/2.tar.gz"
    after = synth(FleetConfig.model_validate_json(json.dumps(config)))
    changes = changes_between(synth_of({"t1": "whale", "t2": "whale"}), after)
    assert [(c.change, c.resource_type) for c in changes] == [
        ("modified", "AWS::AppConfig::HostedConfigurationVersion"),
        ("modified", "AWS::CloudFormation::Stack"),
        ("modified", "AWS::SageMaker::Model"),
    ]
    assert changes[2].paths == ("Properties.PrimaryContainer.ModelDataUrl",)


def test_a_tail_tenant_is_no_resource() -> None:
    """Nothing in the configuration names most tenants, so nothing in a template can."""
    config = load(CONFIG / "fraud-prod.toml")
    named = {*config.dedicated_tiers["whale"].tenants, *config.multi_model_tiers["tail"].warm_up.tenants}
    assert "m70" not in named


def test_a_warm_up_list_changes_the_route_document_and_nothing_else(synth: Synth, synth_of: Any) -> None:
    config = fleet_with({}).model_dump()
    config["tiers"]["tail"]["warm_up"]["tenants"] = ["t3", "t1", "t5", "t2"]
    after = synth(FleetConfig.model_validate_json(json.dumps(config)))
    changes = changes_between(synth_of({}), after)
    assert [(c.resource_type, c.paths) for c in changes] == [
        ("AWS::AppConfig::HostedConfigurationVersion", ("Properties.Content",))
    ]


def test_another_instance_type_is_another_endpoint_name(synth: Synth, synth_of: Any) -> None:
    """An autoscaled endpoint refuses a new instance type in place, so it must be replaced."""
    config = fleet_with({}).model_dump()
    config["tiers"]["tail"]["instance_type"] = "ml.r5.large"
    after = synth(FleetConfig.model_validate_json(json.dumps(config)))
    paths = {path for c in changes_between(synth_of({}), after) for path in c.paths if "Endpoint" in c.resource_type}
    assert "Properties.EndpointName" in paths


def test_environments_of_a_fleet_have_the_same_resource_types(templates: dict[str, Any]) -> None:
    def types(environment: str) -> set[str]:
        return {
            resource["Type"]
            for name, template in templates.items()
            if name.startswith(f"fraud{environment}")
            for resource in template["Resources"].values()
        }

    assert types("dev") == types("prod")


def test_two_synths_give_the_same_bytes(synth: Synth) -> None:
    config = load(CONFIG / "fraud-prod.toml")
    first, second = synth(config), synth(config)
    files = sorted(file.relative_to(first) for file in first.rglob("*.template.json"))
    assert len(files) == 7
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
