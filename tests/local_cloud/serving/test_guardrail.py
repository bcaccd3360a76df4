"""A bad version of a whale, really served, is taken back while its callers are answered by the old one."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_fleet import FLEET, TAIL, Fleet, whale
from served_fleet import DAMAGED, Callers, score_of, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from tierfleet.config.guardrail_time import BAKE_SECONDS, METRIC_DELAY_SECONDS

W1, OLD, SLOW = whale("w1"), "w1/2027-01-01", "w1/2"
NEVER_HEALTHY = "w1/damaged"
# Of the latency alarm that takes updates back. A good version takes 5 ms, on a busy machine many times that.
LIMIT_MILLISECONDS, TOO_SLOW_MILLISECONDS = 120, 160
OUT_OF_REACH_MILLISECONDS = 60_000  # where a test is not about it


@pytest.fixture(scope="module")
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    early_start = request.config.getoption("--early-start")
    with start(tmp_path_factory.mktemp("guardrail"), serving="models", early_start=early_start) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    """One shared instance, and a whale of two, which is the fewest that a canary needs."""
    shop = served_fleet(Account(serving, "700000000001"), synth, {NEVER_HEALTHY: DAMAGED})
    shop.create(**pinned(OLD))
    shop.publish(NEVER_HEALTHY, SLOW)
    return shop


@pytest.fixture(autouse=True)
def no_fault(serving: LocalCloud) -> Iterator[None]:
    yield
    serving.admin("faults", {})
    serving.admin("clock", {"mode": "skip"})


def pinned(item: str, latency_milliseconds: int = OUT_OF_REACH_MILLISECONDS, **guardrail: Any) -> dict[str, Any]:
    tail = {"instances": {"min": 1, "initial": 1}, "warm_up": {"tenants": ["t1", "t2"]}}
    dedicated = {
        "tenants": {"w1": {"model": f"{item}.tar.gz"}},
        "alarms": {"max_model_latency_p99_milliseconds": latency_milliseconds},
        "guardrail": guardrail,
    }
    return {"probe": {"body": "0.5,0.5"}, "tiers": {"tail": tail, "whale": dedicated}}


def running_config(shop: Fleet) -> str:
    return str(shop.account.client("sagemaker").describe_endpoint(EndpointName=W1)["EndpointConfigName"])


def assert_stack_and_sagemaker_agree(shop: Fleet, config: str) -> None:
    """The whale runs that configuration, the stack says so too, and it exists; the routes name what lives."""
    sagemaker, cloudformation = shop.account.client("sagemaker"), shop.account.client("cloudformation")
    described = sagemaker.describe_endpoint(EndpointName=W1)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
    sagemaker.describe_endpoint_config(EndpointConfigName=config)

    def of(stack: str, kind: str) -> list[str]:
        resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        return [resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == kind]

    (nested,) = of(FLEET, "AWS::CloudFormation::Stack")
    (known,) = of(nested, "AWS::SageMaker::EndpointConfig")
    assert known.rpartition("/")[2] == config.lower()  # ARNs of SageMaker are lower case
    assert shop.routes_name_live_endpoints()
    assert shop.live_endpoints() == {TAIL, W1}


def test_a_version_that_never_gets_healthy_is_taken_back_and_the_old_one_serves_throughout(shop: Fleet) -> None:
    routes, config = shop.served_routes(), running_config(shop)

    with Callers(shop.account, ["w1", "t1"]) as callers:
        callers.more(20)
        assert shop.update(**pinned(NEVER_HEALTHY)) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
        callers.more(20)

    events = shop.account.cloud.admin(f"events?account={shop.account.id}")
    (reason,) = [event["reason"] for event in events if event["action"] == "EndpointRollingBack"]
    assert "did not pass the ping health check" in reason
    assert callers.failed() == []
    assert callers.scores() == {"w1": {score_of(OLD)}, "t1": {score_of("t1/1")}}
    assert shop.served_routes() == routes
    assert_stack_and_sagemaker_agree(shop, config)


def test_a_slow_version_is_taken_back_by_the_alarm_and_the_old_one_serves_throughout(shop: Fleet) -> None:
    account = shop.account
    routes, config = shop.served_routes(), running_config(shop)
    old, new = score_of(OLD), score_of(SLOW)
    already, began = len(account.log("EndpointRollingBack")), len(account.log("EndpointUpdating"))
    account.stop_clock()
    account.advance(600)  # past the minutes in which the alarm still sees earlier calls

    with Callers(account, ["w1"]) as callers:
        shop.start(**pinned(SLOW, latency_milliseconds=LIMIT_MILLISECONDS))
        account.wait_for(lambda: len(account.log("EndpointUpdating")) > began)
        summary = account.client("sagemaker").describe_endpoint(EndpointName=W1)["PendingDeploymentSummary"]
        slow = {"endpoint": W1, "config": summary["EndpointConfigName"], "milliseconds": TOO_SLOW_MILLISECONDS}
        account.cloud.admin("faults", {"slow_model_server": [slow]})
        account.advance(181)
        account.wait_for(lambda: new in callers.scores().get("w1", set()))
        assert account.alarm_state(f"{W1}--model-latency") == "OK"
        while len(account.log("EndpointRollingBack")) == already:
            callers.more(20)
            account.advance(30)
            assert account.status(FLEET).endswith("IN_PROGRESS"), shop.reasons()
        assert account.alarm_state(f"{W1}--model-latency") == "ALARM"
        taken_back = time.monotonic()
        while account.status(FLEET).endswith("IN_PROGRESS"):
            account.advance(60)
            time.sleep(0.02)
        callers.more(20)

    assert account.status(FLEET) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
    assert callers.failed() == []
    assert callers.scores() == {"w1": {old, new}}
    assert callers.scores(since=taken_back) == {"w1": {old}}
    assert shop.served_routes() == routes
    assert_stack_and_sagemaker_agree(shop, config)


def rolled_out(shop: Fleet, callers: Callers, change: dict[str, Any], faults: dict[str, Any], alarm: str) -> float:
    """Begin the update with these faults of the new version, to the end of its rollback; seconds of traffic it got.

    Alarms see SageMaker's metrics as late as on AWS, and look once a minute.
    """
    account = shop.account
    already, began = len(account.log("EndpointRollingBack")), len(account.log("EndpointUpdating"))
    shop.start(**change)
    account.wait_for(lambda: len(account.log("EndpointUpdating")) > began)
    summary = account.client("sagemaker").describe_endpoint(EndpointName=W1)["PendingDeploymentSummary"]
    on_new = {"endpoint": W1, "config": summary["EndpointConfigName"]}
    account.cloud.admin(
        "faults",
        {
            "metric_delay_seconds": METRIC_DELAY_SECONDS,
            **{name: [{**on_new, **fault}] for name, fault in faults.items()},
        },
    )
    account.advance(181)
    old = account.client("sagemaker").describe_endpoint(EndpointName=W1)["EndpointConfigName"]
    account.wait_for(lambda: any(row["config"] != old and row["counters"]["requests"] for row in of_w1(account)))
    moved_at = account.cloud.admin("clock")["now"]
    while len(account.log("EndpointRollingBack")) == already:
        callers.more(20)
        account.advance(30)
        assert account.status(FLEET).endswith("IN_PROGRESS"), shop.reasons()
    assert account.alarm_state(f"{W1}--{alarm}") == "ALARM"
    seconds = float(account.cloud.admin("clock")["now"]) - moved_at
    while account.status(FLEET).endswith("IN_PROGRESS"):
        account.advance(60)
        time.sleep(0.02)
    assert account.status(FLEET) == "UPDATE_ROLLBACK_COMPLETE", shop.reasons()
    return seconds


def of_w1(account: Account) -> list[dict[str, Any]]:
    return [row for row in account.cloud.admin("instances") if row["endpoint"] == W1]


@pytest.mark.parametrize("guardrail", [{"type": "CANARY"}, {"type": "LINEAR", "linear_step_percent": 30}], ids=str)
@pytest.mark.parametrize(
    ("faults", "alarm"),
    [
        ({"failing_model_server": {}}, "server-errors"),
        ({"slow_model_server": {"milliseconds": TOO_SLOW_MILLISECONDS}}, "model-latency"),
    ],
    ids=["fails every call", "slow"],
)
def test_a_bad_version_never_has_all_traffic_though_metrics_come_late(
    shop: Fleet, guardrail: dict[str, Any], faults: dict[str, Any], alarm: str
) -> None:
    account = shop.account
    routes, config = shop.served_routes(), running_config(shop)
    account.stop_clock()
    account.advance(1200)  # past the minutes in which the alarm still sees earlier calls
    change = pinned(SLOW, LIMIT_MILLISECONDS if alarm == "model-latency" else OUT_OF_REACH_MILLISECONDS, **guardrail)

    with Callers(account, ["w1"]) as callers:
        seconds = rolled_out(shop, callers, change, faults, alarm)
        taken_back = time.monotonic()
        callers.more(20)

    assert seconds <= BAKE_SECONDS, "the first step's bake was over"
    assert [seen for seen in callers.seen if seen.began >= taken_back and seen.error] == []
    assert callers.scores(since=taken_back) == {"w1": {score_of(OLD)}}
    assert shop.served_routes() == routes
    assert_stack_and_sagemaker_agree(shop, config)
