"""hosting = "serverless": what a fleet file may say, and what it gets for the rest."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, DELETE, checked, document, fleet
from local_cloud.testing.fleets import serverless_tier as rare
from tierfleet.cli import app
from tierfleet.config import load, routes
from tierfleet.config.hosting.serverless import REGIONS
from tierfleet.config.quotas import SERVERLESS_CONCURRENCY, SERVERLESS_ENDPOINTS, quotas
from tierfleet.config.summary import fleet_summary
from tierfleet.runtime.hosting import SHAPES

NETWORK = {
    "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
    "security_group_ids": ["sg-0000000000000000c"],
}
SOUND = {"network_isolation": False, "routes": {"bake_minutes": 7}}


def with_rare(tier: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(**{**SOUND, **changes, "tiers": {"rare": tier}})


# What is wrong: the tier and the rest of the file, then (table, key, words) of each error.
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str, str]]]] = {
    "memory between the steps": (
        rare(memory_size_in_mb=1500),
        {},
        [("tiers.rare", "memory_size_in_mb", "must be 1024, 2048, 3072, 4096, 5120 or 6144")],
    ),
    "concurrency beyond 200": (rare(max_concurrency=201), {}, [("tiers.rare", "max_concurrency", "200")]),
    # Both at once: neither hides the other.
    "more kept warm than may run": (
        rare(provisioned_concurrency=6),
        {"network_isolation": True},
        [
            ("tiers.rare", "provisioned_concurrency", "is above max_concurrency = 5"),
            ("tiers.rare", "hosting", "network_isolation is true"),
        ],
    ),
    "a VPC": (rare(), {"network": NETWORK}, [("tiers.rare", "hosting", "cannot be in a VPC")]),
    "isolation": (
        rare(),
        {"network_isolation": True},
        [("tiers.rare", "hosting", "network_isolation is true")],
    ),
    "isolation by default": (
        rare(),
        {"network_isolation": DELETE},
        [("tiers.rare", "hosting", "is true here")],
    ),
    "another region": (
        rare(),
        {"region": "eu-south-2"},
        [("tiers.rare", "hosting", "no serverless endpoints in")],
    ),
    "another account's image": (
        rare(),
        {"container": {"image": "999999999999.dkr.ecr.eu-west-1.amazonaws.com/own:1", "version": DELETE}},
        [("tiers.rare", "hosting", "ECR of its own account 123456789012")],
    ),
    "instances": (
        rare(instance_type="ml.g5.xlarge", instances={"min": 1, "max": 1, "initial": 1}),
        {},
        [
            ("tiers.rare", "instance_type", "a serverless tier has no instance_type; multi-model, dedicated"),
            ("tiers.rare", "instances", "a serverless tier has no instances"),
        ],
    ),
    "a shared tier's keys": (
        rare(default=True, model_cache="Enabled"),
        {},
        [
            ("tiers.rare", "default", "a serverless tier has no default; multi-model tiers have one"),
            ("tiers.rare", "model_cache", "a serverless tier has no model_cache"),
        ],
    ),
    "a guardrail": (
        rare(guardrail={}),
        {},
        [("tiers.rare", "guardrail", "a serverless tier has no guardrail")],
    ),
    "another tenant's model": (
        rare(tenants=(), **{}) | {"tenants": {"r1": {"model": "r2/1.tar.gz"}}},
        {},
        [("tiers.rare.tenants.r1", "model", "below its own id, r1/")],
    ),
    "a tenant twice": (rare(("w1",)), {}, [("tiers.whale.tenants", "w1", "tenant is on 2 tiers")]),
    "too short a bake": (
        rare(),
        {"routes": {"bake_minutes": 5}},
        [("routes", "bake_minutes", "at least 370 s")],
    ),
    "an unpublished metric": (
        rare(alarms={"max_model_latency_p99_milliseconds": 500, "max_disk_percent": 80}),
        {},
        [("tiers.rare.alarms", "max_disk_percent", "unknown key")],
    ),
    "everything at once": (
        rare(memory_size_in_mb=1, max_concurrency=0, instance_type="ml.m5.large"),
        {"routes": {"bake_minutes": 0}},
        [
            ("tiers.rare", "memory_size_in_mb", "must be"),
            ("tiers.rare", "max_concurrency", "greater than or equal to 1"),
            ("tiers.rare", "instance_type", "has no instance_type"),
            ("routes", "bake_minutes", "greater than or equal to 1"),
        ],
    ),
}


def test_a_sound_serverless_tier_has_no_problem(tmp_path: Path) -> None:
    result = checked(tmp_path, with_rare(rare()))
    assert result.config is not None
    assert [problem for problem in result.problems if "rare" in problem.table] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gets_all_its_errors_at_once_and_exit_code_2(name: str, tmp_path: Path) -> None:
    tier, changes, expected = BROKEN[name]
    result = checked(tmp_path, with_rare(tier, **changes))
    errors = [problem for problem in result.problems if problem.severity == "error"]
    for table, key, words in expected:
        assert any((e.table, e.key) == (table, key) and words in e.message for e in errors), [str(e) for e in errors]
    assert len(errors) == len(expected), [str(error) for error in errors]
    assert CliRunner().invoke(app, ["config", "check", str(tmp_path / "shop-test.toml")]).exit_code == 2


@given(
    memory=st.integers(0, 8000) | st.sampled_from([1024, 2048, 3072, 4096, 5120, 6144]),
    most=st.integers(-1, 220),
    provisioned=st.none() | st.integers(-1, 220),
    region=st.sampled_from(["eu-west-1", "us-east-1", "eu-south-2", "ap-southeast-4"]),
    isolated=st.booleans(),
    network=st.booleans(),
)
@settings(max_examples=60)
def test_a_serverless_tier_is_sound_exactly_when_aws_takes_it(
    tmp_path_factory: pytest.TempPathFactory,
    memory: int,
    most: int,
    provisioned: int | None,
    region: str,
    isolated: bool,
    network: bool,
) -> None:
    tier = rare(memory_size_in_mb=memory, max_concurrency=most)
    if provisioned is not None:
        tier["provisioned_concurrency"] = provisioned
    changes: dict[str, Any] = {"region": region, "network_isolation": isolated}
    if network:
        changes["network"] = NETWORK
    taken = memory in {1024, 2048, 3072, 4096, 5120, 6144} and 1 <= most <= 200
    taken &= provisioned is None or 1 <= provisioned <= most
    taken &= region in REGIONS and not isolated and not network
    result = checked(tmp_path_factory.mktemp("fleet"), with_rare(tier, **changes))
    assert (result.config is not None) == taken, [str(problem) for problem in result.problems]


def test_endpoint_routes_and_quotas_follow_from_the_file() -> None:
    config = fleet(**{**SOUND, "tiers": {"rare": rare(("r1", "r2"))}})
    assert routes.endpoint_name(config, "rare", "r1") == "shop--test--rare--r1--serverless"
    built = routes.route_document(config)
    assert built["tiers"]["rare"] == {"hosting": "serverless"}
    assert built["tenants"]["r1"] == {
        "tier": "rare",
        "endpoint": "shop--test--rare--r1--serverless",
        "model_version": "1",
    }
    needed = {quota.name: quota for quota in quotas(config)}
    assert (needed[SERVERLESS_ENDPOINTS].at_maximum, needed[SERVERLESS_ENDPOINTS].default) == (2, 5)
    assert (needed[SERVERLESS_CONCURRENCY].while_updating, needed[SERVERLESS_CONCURRENCY].default) == (10, 10)
    assert "0 to 5 containers of 3072 MB" in fleet_summary(config)


def test_a_fleet_without_a_serverless_tier_has_the_validator_and_the_quotas_that_it_had() -> None:
    assert routes.route_schema(fleet()) == routes.ROUTE_SCHEMA
    assert not {SERVERLESS_ENDPOINTS, SERVERLESS_CONCURRENCY} & {quota.name for quota in quotas(fleet())}


def test_the_showcase_has_a_tier_of_each_shape() -> None:
    config = load(CONFIG / "showcase-dev.toml")
    assert {tier.hosting for tier in config.tiers.values()} == set(SHAPES)
