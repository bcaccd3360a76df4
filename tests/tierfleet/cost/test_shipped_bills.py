"""The bills of the shipped fleets, computed again by hand: every number below is written out, none is read."""

import pytest

from local_cloud.testing.fleets import CONFIG
from tierfleet.config import load
from tierfleet.cost.monthly_cost import FleetCost, monthly_cost
from tierfleet.cost.prices import load_prices

# 2027 has 365 days, 261 of them from Monday to Friday.
DAILY_RUNS = 365 / 12
WORKDAY_RUNS = 261 / 12


def bill(fleet: str) -> tuple[FleetCost, dict[tuple[str | None, str | None, str], tuple[float, float]]]:
    cost = monthly_cost(load(CONFIG / f"{fleet}.toml"), load_prices())
    return cost, {(line.tier, line.tenant, line.item): (line.usd, line.usd_at_max) for line in cost.lines}


def warm_up(runs: float, seconds: int, tenants: int) -> float:
    """Lambda requests, schedules, 512 MB for `seconds`, a poll and a document of AppConfig, two reads a tenant."""
    once = 0.0000002 + 0.000001 + seconds * 0.5 * 0.0000133334 + 0.0000002 + 0.0008 + 2 * tenants * 0.0000004
    return runs * once


def flat(usd: float) -> tuple[float, float]:
    return (usd, usd)


def whole_fleet(runs: float, ttl_seconds: int) -> dict[tuple[str | None, str | None, str], tuple[float, float]]:
    """8 alarm metrics, a dashboard, 9 request metrics, 7 warm-up metrics in the hours of a run, polls of one caller."""
    polls = 730 * 3600 / ttl_seconds
    return {
        (None, None, "alarms"): flat(8 * 0.10),
        (None, None, "dashboard"): flat(3.00),
        (None, None, "S3 request metrics"): flat(9 * 0.30),
        (None, None, "warm-up metrics"): flat(7 * runs / 730 * 0.30),
        (None, None, "route polling"): flat(polls * 0.0000002 + 30 * 0.0008),
    }


def tail(runs: float, tenants: int) -> dict[tuple[str | None, str | None, str], tuple[float, float]]:
    """15 alarm metrics and a composite alarm, and the warm-up."""
    return {
        ("tail", None, "alarms"): flat(15 * 0.10 + 0.50),
        ("tail", None, "warm-up"): flat(warm_up(runs, 780, tenants)),
        ("tail", None, "warm-up metrics"): flat(7 * runs / 730 * 0.30),
    }


def test_churn_in_north_virginia() -> None:
    cost, lines = bill("churn-prod")
    by_hand = {
        # 2 to 4 x ml.r5.large at $0.151 an hour, 64 GB each at $0.14 a month.
        ("tail", None, "instances"): (2 * 0.151 * 730, 4 * 0.151 * 730),
        ("tail", None, "volumes"): (2 * 64 * 0.14, 4 * 64 * 0.14),
        **tail(DAILY_RUNS, 2000),
        **whole_fleet(DAILY_RUNS, 60),
    }
    assert lines.keys() == by_hand.keys()
    for place, usd in by_hand.items():
        assert lines[place] == pytest.approx(usd, abs=1e-9), place
    assert (round(cost.usd, 2), round(cost.usd_at_max, 2)) == (247.32, 485.70)


@pytest.mark.parametrize(
    ("fleet", "tail_hour", "tail_bounds", "listed", "ttl_seconds", "whales", "whale_bounds", "totals"),
    [
        ("fraud-prod", 0.257, (2, 6), 50, 60, ["m01", "m04", "m12", "m18", "m29"], (2, 8), (1323.41, 4877.05)),
        ("fraud-dev", 0.128, (1, 2), 8, 15, ["m01", "m04"], (1, 2), (291.13, 571.45)),
    ],
)
def test_fraud_in_ireland(
    fleet: str,
    tail_hour: float,
    tail_bounds: tuple[int, int],
    listed: int,
    ttl_seconds: int,
    whales: list[str],
    whale_bounds: tuple[int, int],
    totals: tuple[float, float],
) -> None:
    cost, lines = bill(fleet)
    by_hand = {
        ("tail", None, "instances"): (tail_bounds[0] * tail_hour * 730, tail_bounds[1] * tail_hour * 730),
        **tail(WORKDAY_RUNS, listed),
        **whole_fleet(WORKDAY_RUNS, ttl_seconds),
    }
    for whale in whales:
        # ml.m5.large at $0.128 an hour, 10 alarm metrics.
        by_hand["whale", whale, "instances"] = (whale_bounds[0] * 0.128 * 730, whale_bounds[1] * 0.128 * 730)
        by_hand["whale", whale, "alarms"] = flat(10 * 0.10)
    assert lines.keys() == by_hand.keys()
    for place, usd in by_hand.items():
        assert lines[place] == pytest.approx(usd, abs=1e-9), place
    assert (round(cost.usd, 2), round(cost.usd_at_max, 2)) == totals
