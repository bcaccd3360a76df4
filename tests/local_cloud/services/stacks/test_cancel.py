"""CancelUpdateStack at each phase of a move: the routes name live endpoints afterwards, as the stack says they do."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from real_fleet import FLEET, TAIL, Fleet, whale

from local_cloud import LocalCloud
from local_cloud.testing.account import Account

NEW_TAIL = TAIL.replace("m5", "r5")
MOVE = {"tiers": {"tail": {"instance_type": "ml.r5.xlarge"}, "whale": {"tenants": {"t2": {"model": "t2/1.tar.gz"}}}}}


@pytest.fixture(scope="module")
def created(cloud: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    """One fleet for all tests: a cancelled update leaves it as it was."""
    cloud.admin("clock", {"mode": "skip"})
    shop = Fleet(Account(cloud, "720000000001"), synth)
    shop.create()
    shop.publish("w1/2")
    return shop


@pytest.fixture
def shop(created: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    cloud, early_start = created.account.cloud, request.config.getoption("--early-start")
    cloud.admin("clock", {"mode": "skip"})
    cloud.admin("cloudformation", {"early_start": early_start, "cancel_waits_for_the_resource": False})
    yield created
    vars(created).pop("template", None)
    cloud.admin("clock", {"mode": "skip"})
    cloud.admin("cloudformation", {"early_start": "creation", "cancel_waits_for_the_resource": False})


def cancel(shop: Fleet) -> None:
    shop.account.client("cloudformation").cancel_update_stack(StackName=FLEET)


def settle(shop: Fleet) -> str:
    """The stack's status in the end, on a clock that steps."""
    give_up = time.monotonic() + 120
    while (status := shop.account.status(FLEET)).endswith("IN_PROGRESS"):
        assert time.monotonic() < give_up, shop.reasons()
        shop.account.advance(30)
        time.sleep(0.02)
    return status


def until_baking(shop: Fleet) -> None:
    began, give_up = len(shop.account.log("ConfigurationDeploying")), time.monotonic() + 120
    while len(shop.account.log("ConfigurationDeploying")) == began:
        assert time.monotonic() < give_up, shop.reasons()
        shop.account.advance(60)
        time.sleep(0.02)


def in_progress(shop: Fleet) -> list[tuple[str, str, str]]:
    """Events of this update that say that a resource began."""
    events = shop.account.stack_events(FLEET)
    began = max(index for index, event in enumerate(events) if event[:2] == (FLEET, "UPDATE_IN_PROGRESS"))
    return [event for event in events[began:] if event[1] == "UPDATE_IN_PROGRESS"]


def deployments(shop: Fleet) -> list[str]:
    """Their states, oldest first."""
    appconfig = shop.account.client("appconfig")
    application = appconfig.list_applications()["Items"][0]["Id"]
    environment = appconfig.list_environments(ApplicationId=application)["Items"][0]["Id"]
    items = appconfig.list_deployments(ApplicationId=application, EnvironmentId=environment)["Items"]
    return [item["State"] for item in sorted(items, key=lambda item: item["DeploymentNumber"])]


def assert_as_before(shop: Fleet, routes: dict[str, Any]) -> None:
    assert shop.account.status(FLEET) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
    assert shop.served_routes() == routes
    assert shop.routes_name_live_endpoints()
    assert shop.live_endpoints() == {TAIL, whale("w1")}


def assert_no_deployment(shop: Fleet, seen: int) -> None:
    assert not [entry for entry in shop.account.log()[seen:] if entry[0] == "ConfigurationDeploying"]


def assert_the_routes_came_back_first(shop: Fleet, seen: int) -> None:
    """No endpoint was deleted while the routes that name it were served."""
    log = [action for action, _ in shop.account.log()[seen:]]
    assert "EndpointDeleting" in log
    assert log.index("RoutesTakenBack") < log.index("EndpointDeleting")


@pytest.mark.parametrize("waits", [False, True])
def test_cancelled_while_callers_have_the_new_routes(shop: Fleet, waits: bool) -> None:
    """During the bake. CloudFormation's own StopDeployment leaves a deployment that bakes as it is."""
    shop.account.cloud.admin("cloudformation", {"cancel_waits_for_the_resource": waits})
    routes, seen = shop.served_routes(), len(shop.account.log())
    shop.account.stop_clock()
    shop.start(**MOVE)
    until_baking(shop)
    assert shop.served_routes()["tiers"]["tail"]["endpoint"] == NEW_TAIL

    cancel(shop)
    settle(shop)

    assert_as_before(shop, routes)
    assert_the_routes_came_back_first(shop, seen)
    assert deployments(shop)[-1] == ("REVERTED" if waits else "ROLLED_BACK")


@pytest.mark.parametrize("waits", [False, True])
def test_cancelled_while_appconfig_deploys(shop: Fleet, waits: bool) -> None:
    """Before the bake: our strategy deploys at once, so this one is made to take four minutes, in two steps."""
    shop.account.cloud.admin("cloudformation", {"cancel_waits_for_the_resource": waits})
    original = shop.template

    def slowly(stack: Any) -> dict[str, Any]:
        template = original(stack)
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::AppConfig::DeploymentStrategy":
                resource["Properties"] |= {"DeploymentDurationInMinutes": 4, "GrowthFactor": 50}
        return template

    shop.template = slowly  # type: ignore[method-assign]
    routes, seen = shop.served_routes(), len(shop.account.log())
    shop.account.stop_clock()
    shop.start(**MOVE)
    until_baking(shop)
    assert deployments(shop)[-1] == "DEPLOYING"

    cancel(shop)
    settle(shop)

    assert_as_before(shop, routes)
    assert_the_routes_came_back_first(shop, seen)
    assert deployments(shop)[-1] == ("REVERTED" if waits else "ROLLED_BACK")


@pytest.mark.parametrize("early_start", ["off", "always"])
def test_cancelled_while_an_endpoint_is_created(shop: Fleet, early_start: str) -> None:
    shop.account.cloud.admin("cloudformation", {"early_start": early_start})
    routes = shop.served_routes()
    seen = len(shop.account.log())
    shop.account.stop_clock()
    shop.start(**MOVE)
    shop.account.wait_for(lambda: ("EndpointCreating", NEW_TAIL) in shop.account.log()[seen:])

    cancel(shop)
    settle(shop)

    assert_as_before(shop, routes)
    assert_no_deployment(shop, seen)


@pytest.mark.parametrize("waits", [False, True])
def test_cancelled_in_the_gate(shop: Fleet, waits: bool) -> None:
    """The gate waits for its endpoint, as it does where a reference alone lets it begin, and notices the rollback."""
    settings = {"early_start": "creation", "cancel_waits_for_the_resource": waits}
    shop.account.cloud.admin("cloudformation", settings)
    original = shop.template

    def referring(stack: Any) -> dict[str, Any]:
        template = original(stack)
        for resource in template["Resources"].values():
            if resource["Type"] == "Custom::WarmGate":
                needs = resource["DependsOn"]
                # The scaling target waits for the endpoint too.
                resource["DependsOn"] = [n for n in needs if "Endpoint" not in n and "ScalingTarget" not in n]
        return template

    shop.template = referring  # type: ignore[method-assign]
    routes, seen = shop.served_routes(), len(shop.account.log())
    shop.account.stop_clock()
    shop.start(**MOVE)
    shop.account.wait_for(lambda: any(e[0].endswith("tailGate4908A82A") for e in in_progress(shop)))

    cancel(shop)
    settle(shop)

    assert_as_before(shop, routes)
    assert_no_deployment(shop, seen)


@pytest.mark.parametrize("waits", [False, True])
def test_cancelled_while_a_whales_version_rolls_out(shop: Fleet, waits: bool) -> None:
    """The old version is brought back behind the guardrail, whatever the new one had of the traffic."""
    shop.account.cloud.admin("cloudformation", {"cancel_waits_for_the_resource": waits})
    routes, seen = shop.served_routes(), len(shop.account.log())
    sagemaker = shop.account.client("sagemaker")
    before = sagemaker.describe_endpoint(EndpointName=whale("w1"))["EndpointConfigName"]
    shop.account.stop_clock()
    shop.start(tiers={"whale": {"tenants": {"w1": {"model": "w1/2.tar.gz"}}}})
    shop.account.wait_for(lambda: ("EndpointUpdating", whale("w1")) in shop.account.log()[seen:])

    cancel(shop)
    settle(shop)

    assert_as_before(shop, routes)
    described = sagemaker.describe_endpoint(EndpointName=whale("w1"))
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", before)
    assert_no_deployment(shop, seen)


def test_in_clean_up_an_update_can_no_longer_be_cancelled_but_taken_back_by_the_next(shop: Fleet) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn--stack-update-cancel.html"""
    routes, seen = shop.served_routes(), len(shop.account.log())
    shop.account.stop_clock()
    shop.start(**MOVE)
    give_up = time.monotonic() + 120
    while ("StackCleaningUp", FLEET) not in shop.account.log()[seen:]:
        assert time.monotonic() < give_up, shop.reasons()
        shop.account.advance(60)
        time.sleep(0.02)
    with pytest.raises(ClientError, match="cannot be called from current stack status"):
        cancel(shop)
    assert settle(shop) == "UPDATE_COMPLETE"
    assert shop.routes_name_live_endpoints()
    shop.account.cloud.admin("clock", {"mode": "skip"})
    assert shop.update() == "UPDATE_COMPLETE", shop.reasons()
    assert shop.served_routes() == routes
    assert shop.live_endpoints() == {TAIL, whale("w1")}


def test_without_its_guards_a_cancelled_bake_leaves_routes_to_endpoints_that_are_gone(shop: Fleet) -> None:
    """What the guards are for: the local emulator does what AWS's StopDeployment does."""
    original = shop.template

    def unguarded(stack: Any) -> dict[str, Any]:
        template = original(stack)
        guards = {key for key, r in template["Resources"].items() if r["Type"] == "Custom::RouteGuard"}
        for key in guards:
            del template["Resources"][key]
        everything = [key for key, r in template["Resources"].items() if r["Type"] != "AWS::AppConfig::Deployment"]
        for resource in template["Resources"].values():
            needs = set(resource.get("DependsOn", [])) - guards
            if resource["Type"] == "AWS::AppConfig::Deployment":
                needs = set(everything)
            if "DependsOn" in resource:
                resource["DependsOn"] = sorted(needs)
        return template

    shop.template = unguarded  # type: ignore[method-assign]
    assert shop.update() == "UPDATE_COMPLETE", shop.reasons()
    shop.account.stop_clock()
    shop.start(**MOVE)
    until_baking(shop)

    cancel(shop)
    settle(shop)

    assert deployments(shop)[-1] in ("BAKING", "COMPLETE")
    assert NEW_TAIL not in shop.live_endpoints()
