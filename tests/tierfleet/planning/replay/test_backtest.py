"""Plans of a first part, held against the rest."""

from dataclasses import replace

import numpy as np
import pytest
from brute_force import requests_of
from workloads import PRICES, PROFILES

from local_cloud.testing.fleets import fleet
from tierfleet.errors import InputError
from tierfleet.planning.replay.backtest import Backtest, Plans, backtest, first_part, split_seconds
from tierfleet.planning.replay.backtest_text import backtest_text
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.traffic.requests import Requests

_MONDAY = 1_793_577_600.0


def _trace(tenants_later: int) -> Requests:
    """Sixty tenants for a week; then as many more as said."""
    random = np.random.default_rng(9)
    first = random.integers(0, 60, 6_000)
    later = random.integers(0, 60 + tenants_later, 6_000 * (60 + tenants_later) // 60)
    week = 7 * 86_400
    times = [np.sort(week * random.random(len(first))), week + np.sort(week * random.random(len(later)))]
    return requests_of(
        [*first.tolist(), *later.tolist()], (_MONDAY + np.concatenate(times)).tolist(), count=60 + tenants_later
    )


def _backtested(requests: Requests) -> Backtest:
    plans = Plans(
        config=fleet(region="us-east-1"),
        source="a test",
        requirements=Requirements(min_hit_ratio=0.9, cold_p95_seconds=6.0),
        prices=PRICES,
        profiles={"stock": PROFILES["stock"]},
        profile="stock",
    )
    return backtest(plans, requests, np.full(len(requests.tenants), 40.0), "0.5")


def test_a_steady_fleet_does_what_the_plan_says() -> None:
    outcome = _backtested(_trace(0))
    assert outcome.meets_by_plan
    assert outcome.failures == ()
    assert outcome.new_tenants == 0
    by_name = {one.what: one for one in outcome.comparisons}
    in_memory = by_name["shared tier: in memory"]
    assert in_memory.planned == pytest.approx(in_memory.happened, abs=0.01)
    assert by_name["calls a day, all tiers"].happened == pytest.approx(6_000 / 7, rel=0.02)


def test_a_fleet_that_grows_outgrows_its_plan_and_the_text_says_so() -> None:
    outcome = _backtested(_trace(600))
    assert [text for text in outcome.failures if text.startswith("hit ratio")]
    assert outcome.new_tenants == pytest.approx(600, abs=5)
    text = backtest_text(outcome, 80)
    assert "not kept: hit ratio" in text
    assert f"{outcome.new_tenants} tenants call in the rest only" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_first_part_has_the_tenants_that_call_in_it() -> None:
    requests = replace(requests_of([2, 0, 2, 1], [0.0, 1.0, 2.0, 3.0]), model_bytes=np.array([1.0, 2.0, 3.0]))
    part, sizes = first_part(requests, np.array([10.0, 20.0, 30.0]), 3.0)
    assert part.tenants == ("t0000", "t0002")
    assert part.tenant.tolist() == [1, 0, 1]
    assert sizes.tolist() == [10.0, 30.0]
    assert part.model_bytes.tolist() == [1.0, 3.0]


def test_a_split_is_a_share_or_a_moment() -> None:
    requests = requests_of([0, 0], [_MONDAY, _MONDAY + 14 * 86_400])
    assert split_seconds(requests, "0.5") == _MONDAY + 7 * 86_400
    assert split_seconds(requests, "2026-11-05") == _MONDAY + 3 * 86_400
    assert split_seconds(requests, "2026-11-05T01:00:00+01:00") == _MONDAY + 3 * 86_400


@pytest.mark.parametrize("split", ["half", "0.01", "1.5", "nan", "2025-01-01", "", "inf"])
def test_a_split_that_leaves_too_little_is_refused(split: str) -> None:
    requests = requests_of([0, 0], [_MONDAY, _MONDAY + 14 * 86_400])
    with pytest.raises(InputError, match="--split"):
        split_seconds(requests, split)
