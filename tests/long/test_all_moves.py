"""A tenant moves between each two hostings, in both directions, under calls: none is lost, none is wrong."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_fleet import Fleet
from served_fleet import Callers, score_of, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from tierfleet.runtime.hosting import SHAPES

_accounts = itertools.count(730000000001)
FIRST = {"t1": "t1/1", "t2": "t2/1", "w1": "w1/2027-01-01"}
ONE = {"instances": {"min": 1, "initial": 1}}
TIERS = {"multi-model": None, "dedicated": "whale", "serverless": "rare"}
# Each ordered pair once, each move beginning where the one before it ended.
PATH = ("multi-model", "dedicated", "multi-model", "serverless", "dedicated", "serverless", "multi-model")


@pytest.fixture(scope="module", params=["off", "always"])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """With CloudFormation's early start, and without."""
    options: dict[str, Any] = {"serverless_idle_seconds": 1.0, "early_start": request.param}
    with start(tmp_path_factory.mktemp("moves"), serving="models", **options) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    shop = served_fleet(Account(serving, str(next(_accounts))), synth)
    shop.create(**change(None))
    return shop


def change(tier: str | None) -> dict[str, Any]:
    """t2 on this tier; None: on the default one."""
    guardrail = {"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}
    pin = {"t2": {"model": "t2/1.tar.gz"}}
    return {
        "network_isolation": False,
        "probe": {"body": "0.5,0.5"},
        "routes": {"ttl_seconds": 15},
        "tiers": {
            "tail": {**ONE, "warm_up": {"tenants": ["t1"]}},
            "whale": {
                **ONE,
                "guardrail": guardrail,
                "tenants": {"w1": {"model": "w1/2027-01-01.tar.gz"}, **(pin if tier == "whale" else {})},
            },
            "rare": {
                "hosting": "serverless",
                "memory_size_in_mb": 1024,
                "max_concurrency": 8,
                "alarms": {"max_model_latency_p99_milliseconds": 500},
                "tenants": pin if tier == "rare" else {},
            },
        },
    }


def test_the_path_has_every_ordered_pair() -> None:
    assert set(itertools.pairwise(PATH)) == set(itertools.permutations(SHAPES, 2))
    assert len(PATH) == len(set(itertools.pairwise(PATH))) + 1


def test_no_move_loses_a_call_or_answers_with_another_model(shop: Fleet) -> None:
    with Callers(shop.account, tuple(FIRST)) as callers:
        for _, new in itertools.pairwise(PATH):
            callers.more(20)
            assert shop.update(**change(TIERS[new])) == "UPDATE_COMPLETE", shop.reasons()
            placed = shop.served_routes()["tenants"].get("t2", {"tier": None})["tier"]
            assert placed == TIERS[new]
        callers.more(40)
    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
