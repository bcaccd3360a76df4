"""hosting = "async": what a fleet file may say, and what it gets for the rest."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, ValidationError
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, DELETE, checked, document, fleet
from tierfleet.cli import app
from tierfleet.config import load, routes
from tierfleet.config.quotas import quotas
from tierfleet.config.summary import fleet_summary
from tierfleet.runtime.route_parsing import parse_routes

ONE_MODEL = "an asynchronous endpoint has one model: InvokeEndpointAsync has no TargetModel"


def nightly(tenants: tuple[str, ...] = ("n1",), **changes: Any) -> dict[str, Any]:
    return {
        "hosting": "async",
        "instance_type": "ml.m5.large",
        "instances": {"min": 0, "max": 3, "initial": 1},
        "scaling": {"backlog_size_per_instance": 5},
        "tenants": {tenant: {"model": f"{tenant}/1.tar.gz"} for tenant in tenants},
        **changes,
    }


# What is wrong: the tier and the rest of the file, then (table, key, words) of each error.
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str, str]]]] = {
    "no first instance": (
        nightly(instances={"min": 0, "max": 3, "initial": 0}),
        {},
        [("tiers.nightly.instances", "initial", "greater than or equal to 1")],
    ),
    "bounds out of order": (
        nightly(instances={"min": 2, "max": 3, "initial": 1}),
        {},
        [("tiers.nightly", "instances", "must hold min <= initial <= max")],
    ),
    "no scaling": (nightly(scaling=DELETE), {}, [("tiers.nightly", "scaling", "is missing")]),
    "a real-time tier's scaling": (
        nightly(scaling={"max_requests_per_second": 5}),
        {},
        [
            ("tiers.nightly.scaling", "max_requests_per_second", "this table has backlog_size_per_instance"),
            ("tiers.nightly.scaling", "backlog_size_per_instance", "is missing"),
        ],
    ),
    "a target of nothing": (
        nightly(scaling={"backlog_size_per_instance": 0}),
        {},
        [("tiers.nightly.scaling", "backlog_size_per_instance", "greater than or equal to 0.001")],
    ),
    "concurrency beyond a thousand": (
        nightly(max_concurrent_invocations_per_instance=1001),
        {},
        [("tiers.nightly", "max_concurrent_invocations_per_instance", "1000")],
    ),
    "results that never expire": (nightly(expire_after_days=0), {}, [("tiers.nightly", "expire_after_days", "1")]),
    "an alarm that never goes off": (
        nightly(alarms={"max_age_of_oldest_request_seconds": 21_600}),
        {},
        [("tiers.nightly.alarms", "max_age_of_oldest_request_seconds", "21600")],
    ),
    "a burstable type": (
        nightly(instance_type="ml.t2.medium"),
        {},
        [("tiers.nightly", "instance_type", "a burstable type cannot autoscale")],
    ),
    "a volume with a local disk": (
        nightly(instance_type="ml.m5d.large", volume_size_in_gb=50),
        {},
        [("tiers.nightly", "volume_size_in_gb", "local NVMe disk")],
    ),
    "a GPU's or unknown type": (
        nightly(instance_type="ml.x9.huge"),
        {},
        [("tiers.nightly", "instance_type", "not a CPU type that SageMaker hosts models on")],
    ),
    "another tenant's model": (
        nightly() | {"tenants": {"n1": {"model": "n2/1.tar.gz"}}},
        {},
        [("tiers.nightly.tenants.n1", "model", "below its own id")],
    ),
    "a serverless tier's keys": (
        nightly(memory_size_in_mb=1024),
        {},
        [("tiers.nightly", "memory_size_in_mb", "an async tier has no memory_size_in_mb; serverless tiers have one")],
    ),
    "a list of tenants": (
        nightly() | {"tenants": ["n1", "n2"]},
        {},
        [("tiers.nightly", "tenants", ONE_MODEL)],
    ),
    "a multi-model tier's keys": (
        nightly(default=True, models_per_instance=10, model_cache="Enabled"),
        {},
        [("tiers.nightly", key, ONE_MODEL) for key in ("default", "model_cache", "models_per_instance")],
    ),
    **{
        f"hosting {word}": (nightly(hosting=word), {}, [("tiers.nightly", "hosting", ONE_MODEL)])
        for word in ("async-multi-model", "multi-model-async", "async mme", "Async Multi-Model")
    },
    "an endpoint name that is too long": (
        nightly(),
        {"fleet": "f" * 40, "environment": "test"},
        [("tiers.nightly.tenants", "n1", "SageMaker allows 63")],
    ),
}


def with_nightly(tier: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(**{**changes, "tiers": {"nightly": tier}})


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_an_error_that_says_where_and_why(name: str, tmp_path: Path) -> None:
    tier, changes, expected = BROKEN[name]
    errors = [p for p in checked(tmp_path, with_nightly(tier, **changes)).problems if p.severity == "error"]
    for table, key, words in expected:
        assert any((p.table, p.key) == (table, key) and words in p.message for p in errors), list(map(str, errors))
    assert len(errors) >= len(expected)


def test_all_errors_are_told_at_once_with_exit_code_2(tmp_path: Path) -> None:
    tier = nightly(
        default=True,
        instances={"min": 0, "max": 3, "initial": 0},
        scaling={"backlog_size_per_instance": 0},
        max_concurrent_invocations_per_instance=0,
        expire_after_days=0,
    )
    file = tmp_path / "shop-test.toml"
    checked(tmp_path, with_nightly(tier))
    result = CliRunner().invoke(app, ["config", "check", str(file)])
    assert result.exit_code == 2
    for word in ("default", "initial", "backlog_size_per_instance", "max_concurrent", "expire_after_days"):
        assert word in result.output, result.output


def test_a_target_below_the_concurrency_is_a_warning(tmp_path: Path) -> None:
    tier = nightly(max_concurrent_invocations_per_instance=8)
    file = checked(tmp_path, with_nightly(tier))
    assert file.config is not None
    [problem] = [p for p in file.problems if p.key == "backlog_size_per_instance"]
    assert (problem.severity, "requests at work count as backlog" in problem.message) == ("warning", True)


def test_the_routes_name_the_bucket_and_the_schema_knows_it_only_where_there_is_such_a_tier() -> None:
    config = fleet(tiers={"nightly": nightly()})
    documented = routes.route_document(config)
    bucket = "shop--test--async--123456789012--eu-west-1"
    assert documented["tiers"]["nightly"] == {"hosting": "async", "bucket": bucket}
    Draft4Validator(routes.route_schema(config)).validate(documented)
    parsed = parse_routes(json.dumps(documented)).route_of("n1")
    assert (parsed.endpoint, parsed.bucket) == ("shop--test--nightly--n1--async-m5-large", bucket)
    assert not parsed.shape.request_response
    without = routes.route_schema(fleet())
    assert "async" not in json.dumps(without)
    with pytest.raises(ValidationError):
        Draft4Validator(without).validate(documented)


def test_quotas_summary_and_gate() -> None:
    config = fleet(tiers={"nightly": nightly(("n1", "n2"))})
    needed = {quota.name: quota.at_maximum for quota in quotas(config)}
    other = {quota.name: quota.at_maximum for quota in quotas(fleet())}
    name = "ml.m5.large for endpoint usage"
    assert needed[name] - other.get(name, 0) == 6
    assert "0 to 3 x ml.m5.large, scaling at 5 requests in the queue an instance" in fleet_summary(config)
    assert not fleet(tiers={"nightly": nightly()}).compares_moves


def test_the_showcase_has_such_a_tier() -> None:
    tier = load(CONFIG / "showcase-dev.toml").async_tiers["backfill"]
    assert (tier.instances.min, tier.fewest_instances, tier.most_instances) == (0, 0, 2)
