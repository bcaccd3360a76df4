"""What callers see of a fault below them, with real model servers. docs/reliability.md has the table."""

import datetime
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.exceptions import EndpointConnectionError
from process_state import stop
from real_fleet import TAIL, Fleet, whale
from served_fleet import DAMAGED, Callers, ManualClock, calling, score_of, served_fleet, warm_up

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import artefact

W1 = whale("w1")
FIRST = {"t1": "t1/1", "t2": "t2/1", "t3": "t3/1", "w1": "w1/2027-01-01"}
RIGHT = {tenant: {score_of(item)} for tenant, item in FIRST.items()}
# One multi-model endpoint of two instances, and a whale of one.
CHANGES: dict[str, Any] = {
    "probe": {"body": "0.5,0.5"},
    "tiers": {
        "tail": {"warm_up": {"tenants": ["t1", "t2", "t3"]}},
        "whale": {"instances": {"min": 1, "initial": 1}, "guardrail": {"type": "ALL_AT_ONCE"}},
    },
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Shared instances with 1 MiB for models."""
    with start(tmp_path_factory.mktemp("faults"), serving="models", scale=0.0001) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    shop = served_fleet(
        Account(serving, "720000000001"), synth, {"t5/1": DAMAGED, "t8/1": DAMAGED, "t6/1": artefact(1000)}
    )
    shop.create(**CHANGES)
    shop.publish("t4/1", "t5/1", "t6/1", "t7/1", "t8/1")
    return shop


@pytest.fixture(autouse=True)
def no_fault(serving: LocalCloud) -> Iterator[None]:
    yield
    serving.admin("faults", {})


def fault(shop: Fleet, **faults: Any) -> Any:
    return shop.account.cloud.admin("faults", faults)


def instances(shop: Fleet, endpoint: str) -> list[dict[str, Any]]:
    return [row for row in shop.account.cloud.admin("instances") if row["endpoint"] == endpoint]


def restarts(shop: Fleet, endpoint: str) -> int:
    """How often its containers were started again, all in all."""
    return sum(int(row["counters"]["restarts"]) for row in instances(shop, endpoint))


def back(shop: Fleet, endpoint: str, before: int) -> bool:
    """Whether a container was started again since there were so many restarts, and all instances are in service."""
    return restarts(shop, endpoint) == before + 1 and {row["status"] for row in instances(shop, endpoint)} == {
        "InService"
    }


def kinds(callers: Callers, *tenants: str) -> set[str]:
    return {type(seen.error).__name__ for seen in callers.failed(*tenants)}


def unreachable(client: Any) -> Callable[[], None]:
    """No request of this client reaches its service any more; what it returns ends that."""

    def refuse(request: Any, **_: object) -> None:
        raise EndpointConnectionError(endpoint_url=request.url)

    client.meta.events.register("before-send", refuse)
    return lambda: client.meta.events.unregister("before-send", refuse)


def test_an_instance_killed_under_load_costs_no_call_where_there_are_two(shop: Fleet) -> None:
    with Callers(shop.account, ["t1", "t2", "t3"], threads=6) as callers:
        callers.more(60)
        for victim in [row["instance"] for row in instances(shop, TAIL)]:
            before = restarts(shop, TAIL)
            fault(shop, kill_instance={"endpoint": TAIL, "instance": victim})
            callers.more(60)
            shop.account.wait_for(lambda before=before: back(shop, TAIL, before))
        callers.more(60)

    assert callers.failed() == []
    assert callers.scores() == {tenant: RIGHT[tenant] for tenant in ("t1", "t2", "t3")}


def test_the_only_instance_killed_fails_its_calls_until_its_container_is_back(shop: Fleet) -> None:
    with Callers(shop.account, ["w1", "t1"]) as callers:
        callers.more(20)
        before = restarts(shop, W1)
        fault(shop, kill_instance={"endpoint": W1})
        shop.account.wait_for(lambda: back(shop, W1, before))
        healed = time.monotonic()
        callers.more(20)

    assert kinds(callers, "w1") <= {"ServiceFailedError"}
    assert callers.failed("t1") == []
    assert [seen for seen in callers.failed() if seen.began > healed] == []
    assert callers.scores(since=healed) == {"w1": RIGHT["w1"], "t1": RIGHT["t1"]}


def test_s3_failing_for_ten_seconds_fails_cold_models_only(shop: Fleet) -> None:
    aws = calling(shop.account)
    with Callers(shop.account, ["t1", "t2", "w1"], aws=aws, pointer_ttl_seconds=1) as callers:
        callers.more(30)
        reachable_again = unreachable(aws.s3)
        fault(shop, s3_failing=True)
        cold = [callers.call("t4")]  # no pointer, and an archive that no instance has
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            callers.more(10)
        # Its pointer is known elsewhere: there the instance cannot fetch the archive.
        with Callers(shop.account, [], threads=0) as others:
            cold.append(others.call("t4"))
        reachable_again()
        fault(shop)
        healed = callers.call("t4")

    assert callers.failed("t1", "t2", "w1") == []
    assert callers.scores(since=cold[0].began)["t1"] == RIGHT["t1"]
    assert [type(seen.error).__name__ for seen in cold] == ["CatalogUnavailableError", "ServiceFailedError"]
    assert max(seen.paused_seconds for seen in cold) < 1
    assert (healed.score, healed.error) == (score_of("t4/1"), None)


def test_appconfig_unavailable_costs_no_call_of_a_caller_that_has_routes(shop: Fleet) -> None:
    aws, clock = calling(shop.account), ManualClock()
    with Callers(shop.account, ["t1", "w1"], aws=aws, clock=clock, deadline_seconds=1000) as callers:
        callers.more(20)
        reachable_again = unreachable(aws.appconfigdata)
        for _ in range(4):
            clock.skip(60)  # a poll is due each time, and in the end nothing was confirmed for four TTLs
            callers.more(20)
        fresh = calling(shop.account)
        unreachable(fresh.appconfigdata)
        with Callers(shop.account, [], threads=0, aws=fresh) as newcomer:
            turned_away = newcomer.call("t1")
        reachable_again()
        clock.skip(60)
        callers.more(20)

    assert callers.failed() == []
    assert callers.scores() == {tenant: RIGHT[tenant] for tenant in ("t1", "w1")}
    assert type(turned_away.error).__name__ == "RoutesUnavailableError"


def test_a_full_disk_fails_cold_models_only(shop: Fleet) -> None:
    with Callers(shop.account, ["t1", "t2", "w1"]) as callers:
        callers.more(30)
        fault(shop, disk_full=[TAIL])
        cold = callers.call("t7")
        callers.more(60)
        fault(shop)
        healed = callers.call("t7")

    assert callers.failed("t1", "t2", "w1") == []
    assert type(cold.error).__name__ == "ServiceFailedError"
    assert cold.paused_seconds < 1
    assert (healed.score, healed.error) == (score_of("t7/1"), None)


@pytest.mark.parametrize(("tenant", "what"), [("t5", "a damaged archive"), ("t6", "larger than the memory")])
def test_a_poison_model_fails_its_own_calls_only(shop: Fleet, tenant: str, what: str) -> None:
    before = [row["counters"]["restarts"] for row in instances(shop, TAIL)]
    with Callers(shop.account, ["t1", "t2", "t3", tenant, "w1"], threads=5) as callers:
        callers.more(200)
        shop.account.wait_for(lambda: len(callers.failed(tenant)) > 5)

    assert [row["counters"]["restarts"] for row in instances(shop, TAIL)] == before
    assert all(seen.error for seen in callers.seen if seen.tenant == tenant), what
    assert callers.failed("t1", "t2", "t3", "w1") == []
    assert callers.scores() == RIGHT


def test_a_sound_version_heals_a_poisoned_tenant_within_the_pointers_time(shop: Fleet) -> None:
    with Callers(shop.account, ["t5"], threads=1, pointer_ttl_seconds=1) as callers:
        callers.more(3)
        assert callers.scores() == {}
        shop.publish("t5/2")
        shop.account.wait_for(lambda: callers.scores() != {})
        healed = time.monotonic()
        callers.more(5)

    assert callers.scores() == {"t5": {score_of("t5/2")}}
    assert [seen for seen in callers.failed() if seen.began > healed] == []


@pytest.mark.parametrize("hours", [26, -26])
def test_a_jump_of_every_clock_costs_no_call(shop: Fleet, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """The local emulator's clock and the callers' wall clock, both ways."""
    wall, moment = time.time, botocore.auth.get_current_datetime
    with Callers(shop.account, ["t1", "t2", "w1"], pointer_ttl_seconds=1) as callers:
        callers.more(30)
        monkeypatch.setattr(time, "time", lambda: wall() + hours * 3600)
        monkeypatch.setattr(
            botocore.auth, "get_current_datetime", lambda *given: moment(*given) + datetime.timedelta(hours=hours)
        )
        shop.account.advance(hours * 3600)
        callers.more(60)
        monkeypatch.undo()
        shop.account.advance(-hours * 3600)
        callers.more(60)

    assert callers.failed() == []
    assert callers.scores() == {tenant: RIGHT[tenant] for tenant in ("t1", "t2", "w1")}
    assert [len(instances(shop, endpoint)) for endpoint in (TAIL, W1)] == [2, 1]
    assert shop.routes_name_live_endpoints()


def test_a_warm_up_of_a_throttled_endpoint_reaches_everyone_by_retries(shop: Fleet) -> None:
    fault(shop, throttled=[{"endpoint": TAIL, "refused_of_ten": 5}])
    report = warm_up(shop, "t1", "t2", "t3")

    assert outcome(report) == {"warmed": ["t1", "t2", "t3"]}


def test_a_warm_up_of_an_endpoint_that_takes_nothing_fails_everyone_and_ends(shop: Fleet) -> None:
    fault(shop, throttled=[{"endpoint": TAIL, "refused_of_ten": 10}])
    report = warm_up(shop, "t1", "t2")

    assert list(outcome(report)) == ["failed"]
    assert report["failed"].keys() == {"t1", "t2"}
    assert all("throttl" in reason.lower() for reason in report["failed"].values()), report


def test_a_warm_up_tells_missing_poisoned_and_moved_tenants_apart(shop: Fleet) -> None:
    report = warm_up(shop, "t1", "t8", "t9", "w1", "t3")

    assert report["warmed"] == ["t1", "t3"]
    assert report["missing"] == ["t9"]
    assert report["failed"].keys() == {"t8"}
    assert report["skipped"].keys() == {"w1"}
    assert (report["left"], report["stopped"]) == ([], None)


def test_a_warm_up_with_half_the_fleet_down_warms_everyone_on_the_other_half(shop: Fleet) -> None:
    victim, survivor = (row["instance"] for row in instances(shop, TAIL))
    stopped = stopped_while_it_starts(shop, victim)
    try:
        report = warm_up(shop, "t1", "t2", "t3", "t4")
        held = {row["instance"]: row["loaded_models"] for row in instances(shop, TAIL)}
    finally:
        os.kill(stopped, signal.SIGCONT)

    assert outcome(report) == {"warmed": ["t1", "t2", "t3", "t4"]}
    assert {"t1/1.tar.gz", "t2/1.tar.gz", "t3/1.tar.gz", "t4/1.tar.gz"} <= set(held[survivor])
    assert held[victim] == []


def stopped_while_it_starts(shop: Fleet, instance: str) -> int:
    """Kill an instance's container and stop its successor before it is healthy; the stopped process.

    The instance is out of service for the minute that a container has to become healthy.
    """

    def row() -> dict[str, Any]:
        return next(row for row in instances(shop, TAIL) if row["instance"] == instance)

    while True:
        before = row()["pid"]
        fault(shop, kill_instance={"endpoint": TAIL, "instance": instance})
        shop.account.wait_for(lambda before=before: row()["pid"] not in (None, before))
        process = int(row()["pid"])
        stop(process)
        row()  # an answer from before the stop is noticed now, and seen by the next look
        if row()["status"] != "InService":
            return process


def outcome(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says that is not empty; its time is left out."""
    return {name: value for name, value in report.items() if value and name != "seconds"}
