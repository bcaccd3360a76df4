"""Every row of "Which change does what" (docs/architecture.md): what a deployment updates, replaces and runs again.

What callers meet and what warms it is tested in the local emulator: tests/local_cloud/serving/test_real_fleet.py,
test_moves_serving.py and test_guardrail_serving.py.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud.testing.fleets import CONFIG, DELETE, Synth, document, merged, read_templates
from tierfleet.assembly_diff import assembly_changes, replacements
from tierfleet.config import FleetConfig
from tierfleet.images import TIERFLEET_IMAGE

PAGE = CONFIG.parent / "docs" / "architecture.md"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
SECOND = {**document()["tiers"]["tail"], "default": False, "tenants": ["t1", "t2"], "instance_type": "ml.m5.large"}
NETWORK = {"subnets": ["subnet-11111111", "subnet-22222222"], "security_group_ids": ["sg-11111111"]}
MODELS = {"w1": {"model": "w1/2027-01-01.tar.gz"}, "w2": {"model": "w2/1.tar.gz"}}


def tail(**changes: Any) -> dict[str, Any]:
    return {"tiers": {"tail": changes}}


def whale(**changes: Any) -> dict[str, Any]:
    return {"tiers": {"whale": changes}}


def both(**changes: Any) -> dict[str, Any]:
    return {"tiers": {"tail": changes, "whale": changes}}


# SECOND with another hosting.
DEDICATED = {
    **{key: DELETE for key in SECOND if key not in document()["tiers"]["whale"]},
    **document()["tiers"]["whale"],
    "alarms": {
        "min_cache_hit_ratio": DELETE,
        "max_loading_wait_seconds": DELETE,
        "max_model_latency_p99_milliseconds": 50,
    },
    "tenants": {"t1": {"model": "t1/1.tar.gz"}},
}

# By key, one edit. A key of the container or of the whole fleet changes both kinds of endpoint.
OF_BOTH = {
    "image": {"container": {"image": TIERFLEET_IMAGE, "version": DELETE}},
    "version": {"container": {"version": "3.0-5"}},
    "environment": {"container": {"environment": {"OMP_NUM_THREADS": "2"}}},
    "network": {"network": NETWORK},
    "network_isolation": {"network_isolation": False},
    "volume_kms_key_arn": {"encryption": {"volume_kms_key_arn": KEY}},
    "detailed_observability": {"detailed_observability": True},
}
OF_A_TIER = {
    "initial": {"instances": {"initial": 3}},
    "volume_size_in_gb": {"volume_size_in_gb": 100},
    "model_data_download_timeout_in_seconds": {"model_data_download_timeout_in_seconds": 600},
    "container_startup_health_check_timeout_in_seconds": {"container_startup_health_check_timeout_in_seconds": 600},
}
# Its type no longer follows from the instances.
GUARDED = {"guardrail": {"type": "ALL_AT_ONCE"}}


@dataclass(frozen=True)
class Outcome:
    """shared, dedicated: "new" (another name), "updated" or "untouched". gates: those of endpoints that run again by
    themselves, "shared" and "dedicated". document: a new route document, so the gate for moved tenants runs."""

    shared: str = "untouched"
    dedicated: str = "untouched"
    gates: frozenset[str] = frozenset()
    document: bool = False


NOTHING = Outcome()
DOCUMENT = Outcome(document=True)
NEW_SHARED = Outcome(shared="new", gates=frozenset({"shared"}), document=True)
NEW_DEDICATED = Outcome(dedicated="new", gates=frozenset({"dedicated"}), document=True)
UPDATED_AND_ROUTED = Outcome(dedicated="updated", gates=frozenset({"dedicated"}), document=True)
UPDATED_DEDICATED = Outcome(dedicated="updated", gates=frozenset({"dedicated"}))
BOTH = Outcome("new", "updated", frozenset({"shared", "dedicated"}), document=True)
GATES = Outcome(gates=frozenset({"shared", "dedicated"}))


@dataclass(frozen=True)
class Case:
    edit: dict[str, Any]
    outcome: Outcome
    before: dict[str, Any] | None = None


# Each row of the page by the start of its first cell, with a case for each key that the cell names.
ROWS: list[tuple[str, dict[str, Case]]] = [
    ("a tenant is promoted", {"": Case(whale(tenants={"w2": MODELS["w2"]}), DOCUMENT)}),
    (
        "a tenant is demoted, or moves to another multi-model tier",
        {
            "": Case(whale(tenants={"w2": DELETE}), DOCUMENT, whale(tenants=MODELS)),
            "moved": Case({"tiers": {"rare": {"tenants": ["t1"]}}}, DOCUMENT, {"tiers": {"rare": SECOND}}),
        },
    ),
    (
        "multi-model tier: `instance_type`",
        {
            "instance_type": Case(tail(instance_type="ml.r5.large"), NEW_SHARED),
            # Of a third tier: tail and whale stay as they are, and its nested stack comes with its endpoint.
            "hosting": Case({"tiers": {"rare": DEDICATED}}, DOCUMENT, {"tiers": {"rare": SECOND}}),
        },
    ),
    (
        "multi-model tier: `image`",
        {
            **{key: Case(edit, BOTH) for key, edit in OF_BOTH.items()},
            **{key: Case(tail(**edit), NEW_SHARED) for key, edit in OF_A_TIER.items()},
            "model_cache": Case(tail(model_cache="Disabled"), NEW_SHARED),
            "guardrail": Case(tail(guardrail={"type": "ALL_AT_ONCE"}), NEW_SHARED),
        },
    ),
    ("dedicated tier: `instance_type`", {"instance_type": Case(whale(instance_type="ml.m5.xlarge"), NEW_DEDICATED)}),
    (
        "dedicated tenant: `model`",
        {"model": Case(whale(tenants={"w1": {"model": "w1/2.tar.gz"}}), UPDATED_AND_ROUTED)},
    ),
    (
        "dedicated tier: `image`",
        {
            **{key: Case(edit, BOTH) for key, edit in OF_BOTH.items()},
            **{key: Case(whale(**edit), UPDATED_DEDICATED) for key, edit in OF_A_TIER.items()},
        },
    ),
    (
        "dedicated tier: `guardrail`",
        {
            "guardrail": Case(whale(guardrail={"termination_wait_in_seconds": 600}), UPDATED_DEDICATED),
            # Left out, the type of the guardrail follows from how few instances there may be.
            "and its type": Case(whale(instances={"min": 1}), UPDATED_DEDICATED),
        },
    ),
    (
        "`min`",
        {
            "min": Case(both(instances={"min": 1}), NOTHING, whale(**GUARDED)),
            "max": Case(both(instances={"max": 9}), NOTHING),
            "scaling": Case(both(scaling={"max_requests_per_second": 60}), NOTHING),
            "scale_on_cache": Case(tail(scale_on_cache=DELETE), NOTHING),
        },
    ),
    (
        "`alarms`",
        {
            "alarms": Case(both(alarms={"max_5xx_ratio": 0.02}), NOTHING),
            "runbook_url": Case({"runbook_url": "https://example.com/other.md"}, NOTHING),
            "tags": Case({"tags": {"team": "shop"}}, NOTHING),
            "topic_kms_key_arn": Case({"encryption": {"topic_kms_key_arn": KEY}}, NOTHING),
        },
    ),
    ("`bucket_kms_key_arn`", {"bucket_kms_key_arn": Case({"encryption": {"bucket_kms_key_arn": KEY}}, NOTHING)}),
    ("`log_retention_days`", {"log_retention_days": Case({"log_retention_days": 30}, GATES)}),
    (
        "`warm_up.tenants`",
        {
            "warm_up.tenants": Case(tail(warm_up={"tenants": ["t3"]}), DOCUMENT),
            "probe": Case({"probe": {"body": "1,1,1"}}, DOCUMENT),
            "ttl_seconds": Case({"routes": {"ttl_seconds": 30}}, DOCUMENT),
        },
    ),
    (
        "`bake_minutes`",
        {
            "bake_minutes": Case({"routes": {"bake_minutes": 9}}, NOTHING),
            "warm_up.schedule": Case(tail(warm_up={"schedule": "cron(15 6 * * ? *)"}), NOTHING),
        },
    ),
]
CASES = [(cell, key, case) for cell, cases in ROWS for key, case in cases.items()]


def page_rows() -> list[list[str]]:
    """The cells of each row of the table."""
    _, _, after = PAGE.read_text().partition("### Which change does what")
    table = [line for line in after.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_each_row_of_the_page_has_a_case_for_each_key_that_it_names() -> None:
    rows = page_rows()
    assert len(rows) == len(ROWS)
    for cells, (begin, cases) in zip(rows, ROWS, strict=True):
        assert cells[0].startswith(begin)
        assert all(cells)
        named = set(re.findall(r"`([a-z_.]+)`", cells[0]))
        assert named <= set(cases), begin
        assert len(set(cases) - named) <= 1 + ("tenant is" in begin), begin


@pytest.fixture(scope="module")
def assembly_of(synth: Synth) -> Callable[..., Path]:
    """Each fleet is synthesised once."""
    done: dict[str, Path] = {}

    def of(*changes: dict[str, Any]) -> Path:
        edited = document()
        for change in changes:
            merged(edited, change)
        config = FleetConfig.model_validate_json(json.dumps(edited))
        key = config.model_dump_json()
        if key not in done:
            done[key] = synth(config)
        return done[key]

    return of


@pytest.mark.parametrize(("cell", "key", "case"), CASES, ids=[f"{cell}-{key}" for cell, key, _ in CASES])
def test_a_deployment_does_what_the_row_says(assembly_of: Callable[..., Path], cell: str, key: str, case: Case) -> None:
    before = case.before or {}
    old, new = assembly_of(before), assembly_of(before, case.edit)
    assert outcome(old, new) == case.outcome


def outcome(old: Path, new: Path) -> Outcome:
    """What CloudFormation would do to the endpoints of tail and w1, and to what warms them."""
    replaced = {(change.stack, change.logical_id) for change in replacements(old, new)}
    changed = {change.logical_id for change in assembly_changes(old, new) if change.change == "modified"}
    fates, again = {}, set()
    for kind, part in (("shared", "Fleet[0-9A-F]{8}"), ("dedicated", "FleetWhalesw1[0-9A-F]{8}")):
        (stack, before), (_, after) = (stack_of(assembly, f"shoptest{part}") for assembly in (old, new))
        (_, was), (endpoint_id, is_now) = (endpoint_of(template) for template in (before, after))
        config_id = is_now["EndpointConfigName"]["Fn::GetAtt"][0]
        # The attribute of the configuration, or of what it refers to, is another one at the deployment.
        another_config = (stack, config_id) in replaced or config_id not in before
        if was["EndpointName"] != is_now["EndpointName"]:
            fates[kind] = "new"
            assert (stack, endpoint_id) in replaced
        elif another_config:
            fates[kind] = "updated"
        else:
            fates[kind] = "untouched"
            assert {**was, "Tags": None} == {**is_now, "Tags": None}
        (gate_id,) = [
            logical_id
            for logical_id, resource in after.items()
            if resource["Type"] == "Custom::WarmGate" and endpoint_id in json.dumps(resource["Properties"])
        ]
        if gate_id in changed or fates[kind] != "untouched":
            again.add(kind)
    document_changes = any(logical_id.startswith("RoutesDocument") for logical_id in changed)
    return Outcome(fates["shared"], fates["dedicated"], frozenset(again), document_changes)


def stack_of(assembly: Path, pattern: str) -> tuple[str, dict[str, Any]]:
    """The name of a stack, as differences have it, and its resources."""
    [(name, template)] = [(n, t) for n, t in read_templates(assembly).items() if re.fullmatch(pattern, n)]
    return name[:-8], template["Resources"]


def endpoint_of(resources: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Logical id and properties of tail's or w1's endpoint."""
    [row] = [
        (logical_id, resource["Properties"])
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::SageMaker::Endpoint"
        and re.search("--tail--|--w1--", resource["Properties"]["EndpointName"])
    ]
    return row


def test_the_gate_for_moved_tenants_runs_with_each_new_document(assembly_of: Callable[..., Path]) -> None:
    """It refers to the version, which is create-only content: a new document is a new version is a new request."""
    _, resources = stack_of(assembly_of({}), "shoptestFleet[0-9A-F]{8}")
    [gate] = [resource for resource in resources.values() if resource["Type"] == "Custom::WarmMovedTenants"]
    [document_id] = [key for key, resource in resources.items() if "HostedConfigurationVersion" in resource["Type"]]
    assert gate["Properties"]["RouteDocumentVersion"] == {"Ref": document_id}
    assert set(gate["Properties"]) == {"ServiceToken", "ServiceTimeout", "RouteDocumentVersion"}
