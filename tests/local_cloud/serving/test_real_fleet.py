"""Our own templates, deployed: the order of every kind of change, and what failures leave behind."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_fleet import FLEET, MODELS, TAIL, Fleet, promoted, whale

from local_cloud.host import assembly
from local_cloud.testing.account import Account, assert_order
from tierfleet.config import routes
from tierfleet.config.generation import generation
from tierfleet.runtime import names


@pytest.fixture
def shop(account: Account, synth: Callable[..., Path]) -> Fleet:
    return Fleet(account, synth)


def assert_flip_after(fleet_under_test: Fleet, seen: int, *before: tuple[str, str]) -> list[tuple[str, str]]:
    """These came first, then the Deployment and its bake, then clean-up; the log since `seen`."""
    log = fleet_under_test.account.log()[seen:]
    deployment = fleet_under_test.last_deployment()
    flip = (("ConfigurationDeploying", deployment), ("ConfigurationComplete", deployment))
    for entry in before:
        assert_order(log, entry, *flip, ("StackSettled", FLEET))
    deleted = [index for index, (action, _) in enumerate(log) if action.endswith("Deleted")]
    assert not deleted or min(deleted) > log.index(flip[1]), log
    return log


def test_the_first_deployment_routes_to_live_warm_endpoints(shop: Fleet) -> None:
    shop.create()
    assert shop.live_endpoints() == {TAIL, whale("w1")}
    assert shop.served_routes() == routes.route_document(shop.config)
    assert set(shop.warmed(TAIL)) == {"t1/1.tar.gz", "t2/1.tar.gz", "t3/1.tar.gz"}


def test_the_fleet_stack_fails_before_its_models_are_published_and_a_rerun_succeeds(shop: Fleet) -> None:
    stacks = shop.synthesise()
    assert shop.deploy(stacks[MODELS]) == "CREATE_COMPLETE"
    assert shop.deploy(stacks[FLEET]) == "ROLLBACK_COMPLETE"
    assert "Could not find model data" in shop.reasons()
    shop.publish("w1/2027-01-01", "t1/1")
    shop.account.destroy(FLEET)
    assert shop.deploy(stacks[FLEET]) == "CREATE_COMPLETE"


def test_promote_makes_the_whale_before_the_flip(shop: Fleet) -> None:
    shop.create()
    seen = len(shop.account.log())
    assert shop.update(**promoted("t2")) == "UPDATE_COMPLETE"
    assert_flip_after(shop, seen, ("EndpointInService", whale("t2")))
    assert shop.served_routes()["tenants"]["t2"]["endpoint"] == whale("t2")


def test_demote_deletes_the_whale_after_the_bake(shop: Fleet) -> None:
    shop.create(**promoted("t2"))
    seen = len(shop.account.log())
    assert shop.update() == "UPDATE_COMPLETE"
    log = assert_flip_after(shop, seen)
    assert_order(log, ("ConfigurationComplete", shop.last_deployment()), ("EndpointDeleted", whale("t2")))
    assert shop.live_endpoints() == {TAIL, whale("w1")}


def test_tail_retype_warms_the_new_endpoint_before_the_flip(shop: Fleet) -> None:
    shop.create()
    new = TAIL.replace("m5", "r5")
    seen = len(shop.account.log())
    shop.account.stop_clock()
    shop.start(tiers={"tail": {"instance_type": "ml.r5.xlarge"}})
    while len(shop.account.log("ConfigurationDeploying")) < 2:
        shop.account.advance(60)
        time.sleep(0.02)
    warm_at_the_flip, live_at_the_flip = set(shop.warmed(new)), shop.live_endpoints()
    shop.account.cloud.admin("clock", {"mode": "skip"})

    assert shop.account.settle(FLEET) == "UPDATE_COMPLETE"
    assert warm_at_the_flip == {"t1/1.tar.gz", "t2/1.tar.gz", "t3/1.tar.gz"}
    assert live_at_the_flip == {TAIL, new, whale("w1")}
    log = assert_flip_after(shop, seen, ("EndpointInService", new))
    assert_order(log, ("ConfigurationComplete", shop.last_deployment()), ("EndpointDeleted", TAIL))
    assert shop.live_endpoints() == {new, whale("w1")}


@dataclass(frozen=True)
class AtTheFlip:
    """What there is when the Deployment of the routes begins."""

    live: set[str]
    calls: dict[str, set[str]]
    alarms: set[str]


def update_and_look_at_the_flip(shop: Fleet, **changes: Any) -> AtTheFlip:
    account = shop.account
    # The warm-ups that an endpoint's IN_SERVICE started.
    account.wait_for(lambda: account.cloud.admin("functions") == {"events_under_way": 0})
    flips, calls = len(account.log("ConfigurationDeploying")), len(account.cloud.admin("invocations"))
    account.stop_clock()
    shop.start(**changes)
    while len(account.log("ConfigurationDeploying")) == flips:
        account.advance(60)
        time.sleep(0.02)
    made: dict[str, set[str]] = {}
    for call in account.cloud.admin("invocations")[calls:]:
        made.setdefault(call["endpoint"], set()).add(call["target_model"])
    at_the_flip = AtTheFlip(shop.live_endpoints(), made, alarm_names(shop))
    account.cloud.admin("clock", {"mode": "skip"})
    assert account.settle(FLEET) == "UPDATE_COMPLETE", shop.reasons()
    return at_the_flip


def alarm_names(shop: Fleet) -> set[str]:
    pages = shop.account.client("cloudwatch").get_paginator("describe_alarms").paginate()
    return {
        alarm["AlarmName"] for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page[kind]
    }


LISTED = {"t1/1.tar.gz", "t2/1.tar.gz", "t3/1.tar.gz"}


@pytest.mark.parametrize(
    "changes",
    [
        {"container": {"version": "3.0-5"}},
        {"tiers": {"tail": {"guardrail": {"type": "ALL_AT_ONCE"}}}},
    ],
    ids=["image", "guardrail"],
)
def test_what_would_replace_shared_instances_is_a_new_endpoint_that_is_warm_before_the_flip(
    shop: Fleet, changes: dict[str, Any]
) -> None:
    shop.create()
    seen = len(shop.account.log())
    at_the_flip = update_and_look_at_the_flip(shop, **changes)
    new = f"{TAIL}-{generation(shop.config, shop.config.multi_model_tiers['tail'])}"
    assert at_the_flip.live == {TAIL, new, whale("w1")}
    assert at_the_flip.calls == {new: LISTED}
    assert {f"{name}--memory" for name in (TAIL, new)} <= at_the_flip.alarms
    log = assert_flip_after(shop, seen, ("EndpointInService", new))
    assert ("EndpointUpdating", TAIL) not in log
    assert_order(log, ("ConfigurationComplete", shop.last_deployment()), ("EndpointDeleted", TAIL))
    assert shop.live_endpoints() == {new, whale("w1")}
    assert not [name for name in alarm_names(shop) if name.startswith(f"{TAIL}--")]


def test_a_demoted_tenant_is_warm_on_the_multi_model_endpoint_before_the_flip(shop: Fleet) -> None:
    shop.create(**promoted("t2", "t3"))
    at_the_flip = update_and_look_at_the_flip(shop, **promoted("t3"))
    assert at_the_flip.calls == {TAIL: {"t2/1.tar.gz"}}
    assert whale("t2") in at_the_flip.live
    assert shop.live_endpoints() == {TAIL, whale("w1"), whale("t3")}


def test_tenants_that_move_between_multi_model_endpoints_are_warm_before_the_flip(shop: Fleet) -> None:
    shop.create()
    shop.publish("t8/1", "t9/1")
    second = {**shop.config.model_dump(mode="json", exclude_none=True)["tiers"]["tail"], "default": False}
    second |= {"instance_type": "ml.m5.large", "tenants": ["t2", "t8"]}
    del second["warm_up"]
    rare = "shop--test--rare--all--mme-m5-large"
    assert update_and_look_at_the_flip(shop, tiers={"rare": second}).calls == {rare: {"t2/1.tar.gz", "t8/1.tar.gz"}}

    at_the_flip = update_and_look_at_the_flip(shop, tiers={"rare": {**second, "tenants": ["t8", "t9"]}})
    assert at_the_flip.calls == {TAIL: {"t2/1.tar.gz"}, rare: {"t9/1.tar.gz"}}
    assert shop.live_endpoints() == {TAIL, rare, whale("w1")}


def test_another_guardrail_alone_is_another_configuration_of_the_same_whale(shop: Fleet) -> None:
    """An endpoint is updated by a new configuration only (docs/architecture.md)."""
    shop.create()
    sagemaker = shop.account.client("sagemaker")
    before = sagemaker.describe_endpoint(EndpointName=whale("w1"))["EndpointConfigName"]
    seen = len(shop.account.log())
    assert shop.update(tiers={"whale": {"guardrail": {"termination_wait_in_seconds": 600}}}) == "UPDATE_COMPLETE"
    log = shop.account.log()[seen:]
    assert_order(log, ("EndpointUpdating", whale("w1")), ("EndpointInService", whale("w1")))
    after = sagemaker.describe_endpoint(EndpointName=whale("w1"))
    assert after["EndpointConfigName"] != before
    policy = after["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TerminationWaitInSeconds"] == 600
    assert shop.live_endpoints() == {TAIL, whale("w1")}


def test_whale_retype_replaces_the_endpoint_around_the_flip(shop: Fleet) -> None:
    shop.create()
    seen = len(shop.account.log())
    assert shop.update(tiers={"whale": {"instance_type": "ml.m5.xlarge"}}) == "UPDATE_COMPLETE"
    new = whale("w1", "m5-xlarge")
    log = assert_flip_after(shop, seen, ("EndpointInService", new))
    assert_order(log, ("ConfigurationComplete", shop.last_deployment()), ("EndpointDeleted", whale("w1")))
    assert shop.live_endpoints() == {TAIL, new}


def test_a_new_whale_version_rolls_behind_its_guardrail_before_the_routes_name_it(shop: Fleet) -> None:
    shop.create()
    shop.publish("w1/2")
    seen = len(shop.account.log())
    before = shop.served_routes()
    assert shop.update(tiers={"whale": {"tenants": {"w1": {"model": "w1/2.tar.gz"}}}}) == "UPDATE_COMPLETE"
    log = assert_flip_after(shop, seen, ("EndpointInService", whale("w1")))
    assert_order(log, ("EndpointUpdating", whale("w1")), ("EndpointInService", whale("w1")))
    before["tenants"]["w1"]["model_version"] = "2"
    assert shop.served_routes() == before
    assert shop.live_endpoints() == {TAIL, whale("w1")}


def test_a_second_multi_model_endpoint_comes_and_goes_around_the_flip(shop: Fleet) -> None:
    shop.create()
    second = {**shop.config.model_dump(mode="json")["tiers"]["tail"], "default": False, "tenants": ["t9"]}
    second |= {"instance_type": "ml.m5.large", "warm_up": {**second["warm_up"], "tenants": ["t9"], "concurrency": None}}
    shop.publish("t9/1")
    seen = len(shop.account.log())
    assert shop.update(tiers={"rare": second}) == "UPDATE_COMPLETE", shop.reasons()
    rare = "shop--test--rare--all--mme-m5-large"
    log = assert_flip_after(shop, seen, ("EndpointInService", rare))
    (gate,) = [entry for entry in log if entry[0] == "ResourceCreated" and entry[1].startswith("TiersrareGate")]
    assert_flip_after(shop, seen, ("EndpointInService", rare), gate)
    assert "t9/1.tar.gz" in shop.warmed(rare)
    assert shop.served_routes()["tenants"]["t9"]["endpoint"] == rare

    seen = len(shop.account.log())
    assert shop.update() == "UPDATE_COMPLETE"
    log = assert_flip_after(shop, seen)
    assert_order(log, ("ConfigurationComplete", shop.last_deployment()), ("EndpointDeleted", rare))
    assert shop.live_endpoints() == {TAIL, whale("w1")}


def test_a_whale_that_never_gets_healthy_leaves_routes_and_endpoints_as_they_were(shop: Fleet) -> None:
    shop.create()
    before = shop.served_routes()
    change = promoted("t2") | {}
    change["tiers"]["tail"] = {"instance_type": "ml.r5.xlarge"}
    shop.account.cloud.admin("faults", {"unhealthy_model_data": ["t2/1.tar.gz"]})

    assert shop.update(**change) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
    failure = assembly.first_failure(shop.account.client("cloudformation"), FLEET)
    assert str(failure).startswith("Endpoint8024A810 (AWS::SageMaker::Endpoint) failed: "), failure
    assert shop.served_routes() == before
    assert shop.live_endpoints() == {TAIL, whale("w1")}
    assert shop.routes_name_live_endpoints()
    assert len(shop.account.log("ConfigurationDeploying")) == 1

    shop.account.cloud.admin("faults", {})
    assert shop.update(**change) == "UPDATE_COMPLETE", shop.reasons()
    assert shop.routes_name_live_endpoints()


def test_route_errors_during_the_bake_take_routes_and_stack_back(shop: Fleet) -> None:
    shop.create()
    before = shop.served_routes()
    shop.account.stop_clock()
    shop.start(**promoted("t2"))
    while len(shop.account.log("ConfigurationDeploying")) < 2:
        shop.account.advance(60)
        time.sleep(0.02)
    assert shop.served_routes()["tenants"].keys() == {"t2", "w1"}

    (alarm,) = [
        at_the_flip["AlarmName"]
        for at_the_flip in shop.account.client("cloudwatch").describe_alarms()["MetricAlarms"]
        if at_the_flip.get("MetricName") == "RouteErrors"
    ]
    shop.account.put_metric("tierfleet", "RouteErrors", 50, Fleet="shop", Environment="test")
    shop.account.wait_for(lambda: shop.account.alarm_state(alarm) == "ALARM")
    shop.account.cloud.admin("clock", {"mode": "skip"})

    assert shop.account.settle(FLEET) == "UPDATE_ROLLBACK_COMPLETE"
    assert shop.served_routes() == before
    assert shop.routes_name_live_endpoints()
    assert shop.live_endpoints() == {TAIL, whale("w1")}

    shop.account.advance(600)
    assert shop.update(**promoted("t2")) == "UPDATE_COMPLETE", shop.reasons()
    assert shop.routes_name_live_endpoints()


@pytest.mark.parametrize("cloudformation_notices", [False, True])
def test_a_slow_whale_version_is_taken_back_and_stack_and_sagemaker_agree(
    shop: Fleet, cloudformation_notices: bool
) -> None:
    shop.create()
    shop.publish("w1/2")
    sagemaker = shop.account.client("sagemaker")
    before = sagemaker.describe_endpoint(EndpointName=whale("w1"))["EndpointConfigName"]
    shop.account.cloud.admin("faults", {"guardrail_rollback_fails_the_resource": cloudformation_notices})
    shop.account.stop_clock()
    change = {"tiers": {"whale": {"tenants": {"w1": {"model": "w1/2.tar.gz"}}}}}
    shop.start(**change)
    shop.account.wait_for(lambda: ("EndpointUpdating", whale("w1")) in shop.account.log())
    shop.account.advance(181)
    rolling_back = ("EndpointRollingBack", whale("w1"))
    while rolling_back not in shop.account.log():
        shop.account.client("cloudwatch").put_metric_data(
            Namespace="AWS/SageMaker",
            MetricData=[
                {
                    "MetricName": "ModelLatency",
                    "Dimensions": [
                        {"Name": "EndpointName", "Value": whale("w1")},
                        {"Name": "VariantName", "Value": "AllTraffic"},
                    ],
                    "Values": [90_000],
                    "Counts": [500],  # the alarm ignores a p99 of fewer than 1,000 samples
                }
            ],
        )
        shop.account.advance(30)
        time.sleep(0.02)
        assert shop.account.status(FLEET).endswith("IN_PROGRESS"), shop.reasons()
    while shop.account.status(FLEET).endswith("IN_PROGRESS"):
        shop.account.advance(60)
        time.sleep(0.02)

    assert shop.account.status(FLEET) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
    after = sagemaker.describe_endpoint(EndpointName=whale("w1"))
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", before)
    sagemaker.describe_endpoint_config(EndpointConfigName=before)
    assert shop.routes_name_live_endpoints()

    shop.account.cloud.admin("clock", {"mode": "skip"})
    shop.account.advance(1200)
    assert shop.update(**change) == "UPDATE_COMPLETE", shop.reasons()


def test_destroying_the_fleet_leaves_the_models(shop: Fleet) -> None:
    shop.create(**promoted("t2"))
    shop.account.destroy(FLEET)
    assert shop.live_endpoints() == set()
    targets = shop.account.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    assert targets["ScalableTargets"] == []
    bucket = names.models_bucket("shop", "test", shop.account.id, "eu-west-1")
    at_the_flip = shop.account.client("s3").list_objects_v2(Bucket=bucket, Prefix=names.MODELS_PREFIX)
    assert at_the_flip["KeyCount"] == 4
