"""CloudFormation's early start: who refers to an endpoint begins when it is configured, who depends on it waits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_fleet import FLEET, TAIL, Fleet, promoted, whale

from local_cloud.host import assembly
from local_cloud.testing.account import Account
from local_cloud.testing.fleet_template import GATE_CODE, attribute, fleet, tail_name

OLD = tail_name("ml.m5.xlarge")
# The gate of the miniature fleet says what it finds.
SAYING = GATE_CODE.replace('print(event["RequestType"])', "").replace(
    'if endpoint["EndpointConfigName"]',
    'print("found", endpoint["EndpointStatus"])\n        if False and endpoint["X"]',
)


def referring(template: dict[str, Any]) -> dict[str, Any]:
    """The gate of the multi-model endpoint refers to it, and depends on nothing."""
    gate = template["Resources"]["TailGate"]
    del gate["DependsOn"], gate["Properties"]["TargetModel"]
    gate["Properties"]["EndpointName"] = attribute("Tail", "EndpointName")
    template["Resources"]["GateFunction"]["Properties"]["Code"]["ZipFile"] = SAYING
    return template


def depending(template: dict[str, Any]) -> dict[str, Any]:
    referring(template)["Resources"]["TailGate"]["DependsOn"] = ["Tail"]
    return template


GATE = ("ResourceCreated", "TailGate")


@pytest.mark.parametrize(
    ("mode", "change", "early"),
    [
        ("off", referring, False),
        ("creation", referring, True),
        ("always", referring, True),
        ("creation", depending, False),
        ("always", depending, False),
    ],
)
def test_a_reference_begins_early_and_depends_on_waits(
    account: Account, mode: str, change: Callable[[dict[str, Any]], dict[str, Any]], early: bool
) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html"""
    account.cloud.admin("cloudformation", {"early_start": mode})
    account.stop_clock()
    account.start_deploy(change(fleet(account)))
    account.wait_for(lambda: ("EndpointCreating", OLD) in account.log())
    if early:
        account.wait_for(lambda: GATE in account.log())
    assert account.client("sagemaker").describe_endpoint(EndpointName=OLD)["EndpointStatus"] == "Creating"
    account.cloud.admin("clock", {"mode": "skip"})
    assert account.settle() == "CREATE_COMPLETE", account.stack_events()
    log = account.log()
    assert (log.index(GATE) < log.index(("EndpointInService", OLD))) == early


@pytest.mark.parametrize(("mode", "early"), [("off", False), ("creation", False), ("always", True)])
def test_an_update_lets_others_begin_early_only_where_so_told(account: Account, mode: str, early: bool) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html"""
    account.cloud.admin("cloudformation", {"early_start": mode})
    assert account.deploy(referring(fleet(account))) == "CREATE_COMPLETE", account.stack_events()
    seen = len(account.log())
    template = referring(fleet(account))
    template["Resources"]["TailConfig"]["Properties"]["ProductionVariants"][0]["InitialInstanceCount"] = 3

    assert account.deploy(template) == "UPDATE_COMPLETE", account.stack_events()

    events = [logical_id for logical_id, status, _ in account.stack_events() if status == "UPDATE_COMPLETE"]
    assert (events.index("TailGate") < events.index("Tail")) == early
    assert ("EndpointUpdating", OLD) in account.log()[seen:]


def test_the_events_tell_configured_from_complete(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html"""
    account.deploy(referring(fleet(account)))
    pages = account.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName="Fleet")
    events = [e for page in pages for e in page["StackEvents"] if e["LogicalResourceId"] == "Tail"]
    said = [(e["ResourceStatus"], e.get("DetailedStatus")) for e in reversed(events)]
    assert said == [
        ("CREATE_IN_PROGRESS", None),
        ("CREATE_IN_PROGRESS", "CONFIGURATION_COMPLETE"),
        ("CREATE_COMPLETE", None),
    ]


def test_no_stack_is_complete_before_its_endpoints_are(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html"""
    template = referring(fleet(account))
    keep = ("TailModel", "TailConfig", "Tail")
    template["Resources"] = {key: template["Resources"][key] for key in keep}
    account.stop_clock()
    account.start_deploy(template)
    account.wait_for(lambda: ("ResourceConfigured", "Tail") in account.log())
    assert account.status() == "CREATE_IN_PROGRESS"
    account.advance(181)
    assert account.settle() == "CREATE_COMPLETE"
    completed = [logical_id for logical_id, status, _ in account.stack_events() if status == "CREATE_COMPLETE"]
    assert completed[-2:] == ["Tail", "Fleet"]


@pytest.mark.parametrize("change", [referring, depending])
def test_an_endpoint_that_fails_late_rolls_its_stack_back(
    account: Account, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html"""
    account.deploy(fleet(account))
    account.cloud.admin("faults", {"unhealthy_model_data": [f"{account.bucket}/models/"]})

    assert account.deploy(change(fleet(account, tail_instance_type="ml.r5.xlarge"))) == "UPDATE_ROLLBACK_COMPLETE"

    assert ("Tail", "UPDATE_FAILED") in [event[:2] for event in account.stack_events()] or (
        "Tail",
        "CREATE_FAILED",
    ) in [event[:2] for event in account.stack_events()]
    assert str(assembly.first_failure(account.client("cloudformation"), "Fleet")).startswith("Tail (")
    names = [e["EndpointName"] for e in account.client("sagemaker").list_endpoints()["Endpoints"]]
    assert names == [OLD]
    assert len(account.log("ConfigurationDeploying")) == 1
    account.cloud.admin("faults", {})
    assert account.deploy(fleet(account, tail_instance_type="ml.r5.xlarge")) == "UPDATE_COMPLETE"


@pytest.mark.parametrize(
    "settings",
    [{"early_start": "sometimes"}, {"early_start": []}, {"cancel_waits_for_the_resource": "false"}, {"early": "off"}],
)
def test_a_setting_that_does_not_exist_is_refused_and_changes_nothing(
    account: Account, settings: dict[str, Any]
) -> None:
    before = account.cloud.admin("cloudformation")
    with pytest.raises(OSError, match="400"):
        account.cloud.admin("cloudformation", {"early_start": "always", **settings})
    assert account.cloud.admin("cloudformation") == before


@pytest.fixture
def shop(account: Account, synth: Callable[..., Path]) -> Fleet:
    return Fleet(account, synth)


@pytest.mark.parametrize("mode", ["off", "always"])
def test_promote_retype_and_demote_keep_their_order(shop: Fleet, mode: str) -> None:
    """The order that our templates ask for, whichever way CloudFormation starts what refers to an endpoint."""
    account = shop.account
    account.cloud.admin("cloudformation", {"early_start": mode})
    shop.create()
    seen = len(account.log())
    change = promoted("t2")
    change["tiers"]["tail"] = {"instance_type": "ml.r5.xlarge"}
    new = TAIL.replace("m5", "r5")
    assert shop.update(**change) == "UPDATE_COMPLETE", shop.reasons()
    log = account.log()[seen:]
    flip = ("ConfigurationDeploying", shop.last_deployment())
    (gate,) = [entry for entry in log if entry[0] == "ResourceUpdated" and "tailGate" in entry[1]] or [flip]
    for entry in (("EndpointInService", new), ("EndpointInService", whale("t2"))):
        assert log.index(entry) < log.index(gate) <= log.index(flip)
    assert set(shop.warmed(new)) == {"t1/1.tar.gz", "t3/1.tar.gz"}
    assert log.index(("EndpointDeleted", TAIL)) > log.index(("ConfigurationComplete", shop.last_deployment()))
    assert shop.routes_name_live_endpoints()
    assert shop.update() == "UPDATE_COMPLETE", shop.reasons()
    assert shop.live_endpoints() == {TAIL, whale("w1")}
    assert account.status(FLEET) == "UPDATE_COMPLETE"
