"""Moves of a tenant to and from a serverless endpoint under calls, and the gate that compares old and new."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_fleet import Fleet, whale
from served_fleet import Callers, score_of, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account

_accounts = itertools.count(720000000001)
TENANTS = ("t1", "t2", "w1")
FIRST = {"t1": "t1/1", "t2": "t2/1", "w1": "w1/2027-01-01"}
RARE = "shop--test--rare--t2--serverless"
ONE = {"instances": {"min": 1, "initial": 1}}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("moves"), serving="models", serverless_idle_seconds=1.0) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    shop = served_fleet(Account(serving, str(next(_accounts))), synth)
    shop.create(**change())
    return shop


def change(whales: tuple[str, ...] = (), rare: tuple[str, ...] = ()) -> dict[str, Any]:
    """The small fleet with these tenants on the dedicated and the serverless tier, with w1 and no others."""
    guardrail = {"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}
    pins = {tenant: {"model": f"{FIRST[tenant]}.tar.gz"} for tenant in ("w1", *whales)}
    return {
        "network_isolation": False,
        "probe": {"body": "0.5,0.5"},
        "routes": {"ttl_seconds": 15},
        "tiers": {
            "tail": {**ONE, "warm_up": {"tenants": ["t1"]}},
            "whale": {**ONE, "guardrail": guardrail, "tenants": pins},
            "rare": {
                "hosting": "serverless",
                "memory_size_in_mb": 1024,
                "max_concurrency": 8,
                "alarms": {"max_model_latency_p99_milliseconds": 500},
                "tenants": {tenant: {"model": f"{FIRST[tenant]}.tar.gz"} for tenant in rare},
            },
        },
    }


def test_a_new_serverless_endpoint_that_does_not_answer_never_gets_the_routes(shop: Fleet) -> None:
    before, live = shop.served_routes(), shop.live_endpoints()
    shop.account.cloud.admin("faults", {"failing_model_server": [{"endpoint": RARE}]})
    with Callers(shop.account, TENANTS) as callers:
        assert shop.update(**change(rare=("t2",))) == "UPDATE_ROLLBACK_COMPLETE"
        callers.more(20)
    shop.account.cloud.admin("faults", {})
    assert f"the new endpoint {RARE} gave no score" in shop.reasons()
    assert callers.failed() == []
    assert shop.served_routes()["tenants"] == before["tenants"]
    assert shop.live_endpoints() == live


def test_a_tenant_moves_to_and_from_a_serverless_endpoint_and_no_call_is_lost(shop: Fleet) -> None:
    """shared -> serverless -> dedicated -> serverless -> shared; the moves without serverless are in test_moves.py."""
    with Callers(shop.account, TENANTS) as callers:
        callers.more(20)
        for whales, rare, endpoint in (
            ((), ("t2",), RARE),
            (("t2",), (), whale("t2")),
            ((), ("t2",), RARE),
            ((), (), None),
        ):
            assert shop.update(**change(whales, rare)) == "UPDATE_COMPLETE", shop.reasons()
            assert shop.served_routes()["tenants"].get("t2", {}).get("endpoint") == endpoint
            callers.more(20)
    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    assert RARE not in shop.live_endpoints()
