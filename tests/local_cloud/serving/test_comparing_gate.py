"""The gate that compares the old and the new endpoint of a tenant that moves."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moving_fleet import on
from real_fleet import Fleet
from served_fleet import Callers, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account

_accounts = itertools.count(720000000001)
TENANTS = ("t1", "t2", "w1")
HOSTINGS = ("multi-model", "dedicated", "serverless")
RARE = "shop--test--rare--t2--serverless"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("moves"), serving="models", serverless_idle_seconds=1.0) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    shop = served_fleet(Account(serving, str(next(_accounts))), synth)
    shop.create(**on("multi-model", HOSTINGS))
    return shop


def test_a_new_serverless_endpoint_that_does_not_answer_never_gets_the_routes(shop: Fleet) -> None:
    before, live = shop.served_routes(), shop.live_endpoints()
    shop.account.cloud.admin("faults", {"failing_model_server": [{"endpoint": RARE}]})
    with Callers(shop.account, TENANTS) as callers:
        assert shop.update(**on("serverless", HOSTINGS)) == "UPDATE_ROLLBACK_COMPLETE"
        callers.more(20)
    shop.account.cloud.admin("faults", {})
    assert f"the new endpoint {RARE} gave no score" in shop.reasons()
    assert callers.failed() == []
    assert shop.served_routes()["tenants"] == before["tenants"]
    assert shop.live_endpoints() == live
