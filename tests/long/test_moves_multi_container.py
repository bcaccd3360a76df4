"""A tenant moves to and from a multi-container endpoint under calls, and the gate that asks its primary container."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_fleet import Fleet
from served_fleet import Callers, score_of, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import ROW, artefact
from tierfleet.runtime.client.errors import RequestInvalidError
from tierfleet.runtime.hosting.multi_container import PRIMARY
from tierfleet.runtime.names import models_bucket

_accounts = itertools.count(740000000001)
TENANTS = ("t1", "t2", "w1")
FIRST = {"t1": "t1/1", "t2": "t2/1", "w1": "w1/2027-01-01"}
TRIO = "shop--test--trio--t2--mce-m5-large"
ONE = {"instances": {"min": 1, "initial": 1}}
GUARDRAIL = {"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("moves"), serving="models") as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    shop = served_fleet(Account(serving, str(next(_accounts))), synth)
    shop.create(**change())
    # A further container's model, which no pointer names.
    bucket = models_bucket("shop", "test", shop.account.id, "eu-west-1")
    shop.account.client("s3").put_object(Bucket=bucket, Key="models/t2/further.tar.gz", Body=artefact(9))
    return shop


def change(trio: str | None = None) -> dict[str, Any]:
    """The small fleet; trio: the hostname of t2's primary container, None where t2 is on the default tier."""
    image = {"image": "sagemaker-xgboost", "version": "1.7-1"}
    containers = [
        {"hostname": "main", "model": "t2/1.tar.gz", **image},
        {"hostname": "further", "model": "t2/further.tar.gz", **image},
    ]
    return {
        "probe": {"body": "0.5,0.5"},
        "routes": {"ttl_seconds": 15},
        "tiers": {
            "tail": {**ONE, "warm_up": {"tenants": ["t1"]}},
            "whale": {**ONE, "guardrail": GUARDRAIL, "tenants": {"w1": {"model": "w1/2027-01-01.tar.gz"}}},
            "trio": {
                "hosting": "multi-container",
                "instance_type": "ml.m5.large",
                "instances": {"min": 1, "max": 2, "initial": 1},
                "scaling": {"max_requests_per_second": 50},
                "alarms": {"max_model_latency_p99_milliseconds": 500},
                "guardrail": GUARDRAIL,
                "tenants": {"t2": {"primary": trio, "containers": containers}} if trio else {},
            },
        },
    }


def until_called(callers: Callers, endpoint: str) -> None:
    """Wait until the client has the new routes."""
    give_up = time.monotonic() + 60
    while callers.client.invoke("t2", ROW, container="primary").endpoint != endpoint:
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_tenant_moves_to_and_from_a_multi_container_endpoint_and_no_call_is_lost(shop: Fleet) -> None:
    """From the multi-model endpoint and back. tests/long/test_all_moves.py has the moves between all shapes."""
    with Callers(shop.account, TENANTS, container=PRIMARY) as callers:
        callers.more(20)
        for trio, endpoint in (("main", TRIO), (None, None)):
            assert shop.update(**change(trio)) == "UPDATE_COMPLETE", shop.reasons()
            assert shop.served_routes()["tenants"].get("t2", {}).get("endpoint") == endpoint
            callers.more(20)
            if trio:
                until_called(callers, TRIO)
                (score,) = callers.client.invoke("t2", ROW, container="further").predictions
                assert round(score, 5) == score_of("t2/2")
                with pytest.raises(RequestInvalidError, match="the call names none, allowed: further, main"):
                    callers.client.invoke("t2", ROW)
    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    assert TRIO not in shop.live_endpoints()


def test_a_primary_container_that_answers_nothing_never_gets_the_routes(shop: Fleet) -> None:
    before, live = shop.served_routes(), shop.live_endpoints()
    shop.account.cloud.admin("faults", {"failing_model_server": [{"endpoint": TRIO}]})
    with Callers(shop.account, TENANTS, container=PRIMARY) as callers:
        assert shop.update(**change("main")) == "UPDATE_ROLLBACK_COMPLETE"
        callers.more(20)
    shop.account.cloud.admin("faults", {})
    assert f"the new endpoint {TRIO} gave no score" in shop.reasons()
    assert callers.failed() == []
    assert shop.served_routes()["tenants"] == before["tenants"]
    assert shop.live_endpoints() == live
