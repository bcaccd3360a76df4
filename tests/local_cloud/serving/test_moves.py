"""Tier moves of a small fleet of real models under calls: none fails, none is answered by another model.

The local emulator's clock skips each bake, so an old endpoint goes while every caller still holds the routes that name
it: harder than any deployment, and it leaves all to the client's healing. benchmarks/tier_move is the big one.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_fleet import FLEET, TAIL, Fleet, whale
from served_fleet import Callers, score_of, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from tierfleet.config import routes

_accounts = itertools.count(710000000001)
TENANTS = ("t1", "t2", "t3", "w1")
FIRST = {"t1": "t1/1", "t2": "t2/1", "t3": "t3/1", "w1": "w1/2027-01-01"}
ONE = {"instances": {"min": 1, "initial": 1}}


@pytest.fixture(scope="module", params=["off", "always"])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """With CloudFormation's early start, and without."""
    with start(tmp_path_factory.mktemp("moves"), serving="models", early_start=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    """One instance an endpoint."""
    shop = served_fleet(Account(serving, str(next(_accounts))), synth)
    shop.create(**change())
    return shop


def change(tail: str = "ml.m5.xlarge", whales: dict[str, str] | None = None) -> dict[str, Any]:
    pins = {tenant: {"model": f"{item}.tar.gz"} for tenant, item in (whales or {"w1": FIRST["w1"]}).items()}
    guardrail = {"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}
    return {
        "probe": {"body": "0.5,0.5"},
        "routes": {"ttl_seconds": 15},
        "tiers": {
            "tail": {**ONE, "instance_type": tail, "warm_up": {"tenants": ["t1"]}},
            "whale": {**ONE, "guardrail": guardrail, "tenants": pins},
        },
    }


def test_promote_retype_and_demote_lose_no_call(shop: Fleet) -> None:
    with Callers(shop.account, TENANTS) as callers:
        callers.more(40)
        assert shop.update(**change(whales={"w1": FIRST["w1"], "t2": "t2/1"})) == "UPDATE_COMPLETE", shop.reasons()
        callers.more(20)
        assert shop.update(**change(tail="ml.r5.xlarge")) == "UPDATE_COMPLETE", shop.reasons()
        callers.more(20)

    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    assert shop.live_endpoints() == {TAIL.replace("m5", "r5"), whale("w1")}


def test_a_new_image_that_answers_no_probe_never_gets_the_routes(shop: Fleet) -> None:
    """No guardrail watches the flip to a new multi-model endpoint: the warm gate fails where no probe was answered."""
    before, live = shop.served_routes(), shop.live_endpoints()
    other = {**change(tail="ml.r5.xlarge"), "container": {"version": "3.0-5"}}
    new = routes.endpoint_name(shop.changed(**other), "tail")
    shop.account.cloud.admin("faults", {"throttled": [{"endpoint": new, "refused_of_ten": 10}]})
    with Callers(shop.account, TENANTS) as callers:
        assert shop.update(**other) == "UPDATE_ROLLBACK_COMPLETE"
        callers.more(20)
    shop.account.cloud.admin("faults", {})

    assert f"endpoint {new} does not serve" in shop.reasons()
    assert callers.failed() == []
    assert shop.served_routes() == before
    assert shop.live_endpoints() == live


@pytest.mark.parametrize("bad_before", [False, True], ids=["the image fails it", "the model is bad"])
def test_a_new_image_that_fails_one_tenant_never_gets_the_routes_unless_the_model_is_bad(
    shop: Fleet, bad_before: bool
) -> None:
    before, live = shop.served_routes(), shop.live_endpoints()
    other = {**change(tail="ml.r5.xlarge"), "container": {"version": "3.0-5"}}
    other["tiers"]["tail"]["warm_up"] = {"tenants": ["t1", "t2", "t3"]}
    new, old = routes.endpoint_name(shop.changed(**other), "tail"), before["tiers"]["tail"]["endpoint"]
    failing = [{"endpoint": endpoint, "models": ["t2/1.tar.gz"]} for endpoint in (new, *([old] * bad_before))]
    shop.account.cloud.admin("faults", {"failing_model_server": failing})
    with Callers(shop.account, ("t1", "t3", "w1")) as callers:
        status = shop.update(**other)
        callers.more(20)
    shop.account.cloud.admin("faults", {})

    assert callers.failed() == []
    if bad_before:
        assert status == "UPDATE_COMPLETE", shop.reasons()
        assert shop.served_routes()["tiers"]["tail"]["endpoint"] == new
        assert shop.update(**change(tail="ml.r5.xlarge")) == "UPDATE_COMPLETE", shop.reasons()
    else:
        assert status == "UPDATE_ROLLBACK_COMPLETE"
        assert f"{new} fails tenants that {old} serves: 1 of 3 probes failed" in shop.reasons()
        assert shop.served_routes() == before
        assert shop.live_endpoints() == live


def test_a_new_image_is_warm_before_its_callers_come_with_the_instances_of_before(shop: Fleet) -> None:
    account = shop.account
    old = shop.served_routes()["tiers"]["tail"]["endpoint"]
    account.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=old, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    account.client("sagemaker").describe_endpoint(EndpointName=old)  # waits until it is in service
    with Callers(account, TENANTS) as callers:
        callers.more(20)
        other = {**change(tail="ml.r5.xlarge"), "container": {"environment": {"OMP_NUM_THREADS": "2"}}}
        assert shop.update(**other) == "UPDATE_COMPLETE", shop.reasons()
        callers.more(20)

    new = shop.served_routes()["tiers"]["tail"]["endpoint"]
    assert new != old
    (variant,) = account.client("sagemaker").describe_endpoint(EndpointName=new)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 2
    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    assert shop.update(**change(tail="ml.r5.xlarge")) == "UPDATE_COMPLETE", shop.reasons()


def test_a_deployment_taken_back_while_callers_hold_its_routes_loses_no_call(shop: Fleet) -> None:
    account = shop.account
    before = shop.served_routes()
    with Callers(account, TENANTS) as callers:
        callers.more(40)
        account.stop_clock()
        deployments = len(account.log("ConfigurationDeploying"))
        shop.start(**change(tail="ml.r5.xlarge", whales={"w1": FIRST["w1"], "t3": "t3/1"}))
        while len(account.log("ConfigurationDeploying")) == deployments:
            account.advance(60)
            callers.more(2)
    with Callers(account, TENANTS) as callers:  # of the new routes from their first call on
        callers.more(20)
        assert callers.client.invoke("t3", b"0.5,0.5").endpoint == whale("t3")
        account.put_metric("tierfleet", "RouteErrors", 50, Fleet="shop", Environment="test")
        account.cloud.admin("clock", {"mode": "skip"})
        assert account.settle(FLEET) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
        assert whale("t3") not in shop.live_endpoints()
        callers.more(40)

    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    assert shop.served_routes() == before


@pytest.mark.parametrize("waits", [False, True], ids=["CloudFormation leaves the Deployment", "it waits for the end"])
def test_an_update_cancelled_while_callers_hold_its_routes_loses_no_call(shop: Fleet, waits: bool) -> None:
    account = shop.account
    before = shop.served_routes()
    account.cloud.admin("cloudformation", {"cancel_waits_for_the_resource": waits})
    account.stop_clock()
    with Callers(account, TENANTS) as callers:
        callers.more(40)
        deployments = len(account.log("ConfigurationDeploying"))
        shop.start(**change(tail="ml.c5.xlarge", whales={"w1": FIRST["w1"], "t3": "t3/1"}))
        while len(account.log("ConfigurationDeploying")) == deployments:
            account.advance(60)
            callers.more(2)
        # Of the new routes from their first call on: the endpoints that they name are the ones that go.
        with Callers(account, TENANTS) as moved:
            moved.more(20)
            assert moved.client.invoke("t3", b"0.5,0.5").endpoint == whale("t3")
            account.client("cloudformation").cancel_update_stack(StackName=FLEET)
            while account.status(FLEET).endswith("IN_PROGRESS"):
                account.advance(30)
                moved.more(2)
            assert account.status(FLEET) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
            assert whale("t3") not in shop.live_endpoints()
            moved.more(40)
        callers.more(20)
    account.cloud.admin("clock", {"mode": "skip"})

    for who in (callers, moved):
        assert who.failed() == []
        assert who.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    assert shop.served_routes() == before


def test_what_moves_a_fleet_yields_the_processor_to_what_serves(shop: Fleet) -> None:
    cloud = shop.account.cloud
    servers = [os.getpriority(os.PRIO_PROCESS, row["pid"]) for row in cloud.admin("instances")]

    assert servers
    assert max(servers) < os.getpriority(os.PRIO_PROCESS, cloud.pid)
