"""What a serverless endpoint costs."""

from dataclasses import replace
from typing import Any

import pytest

from local_cloud.testing.fleets import CONFIG
from tierfleet.config import load
from tierfleet.cost.monthly_cost import FleetCost, monthly_cost
from tierfleet.cost.price import Price, UnknownPriceError
from tierfleet.cost.prices import load_prices
from tierfleet.cost.usage import Traffic, Usage
from tierfleet.errors import InputError

PRICES, SHOWCASE = load_prices(), load(CONFIG / "showcase-dev.toml")
SECOND = 0.00006  # 3 GB in us-east-1


def cost(calls_per_day: float | None = None, tier: dict[str, Any] | None = None, **usage: Any) -> FleetCost:
    traffic = None if calls_per_day is None else Traffic({"m07": (calls_per_day / 24,) * 24})
    config, prices = SHOWCASE, PRICES
    if tier:
        rare = SHOWCASE.tiers["rare"].model_copy(update=tier)
        config = SHOWCASE.model_copy(update={"tiers": {**SHOWCASE.tiers, "rare": rare}})
        region = PRICES.units["us-east-1"]
        of = region["serverless_3gb_second"]
        made = {name: Price(name, "us-east-1", usd, of.source) for name, usd in PROVISIONED.items()}
        prices = replace(PRICES, units={**PRICES.units, "us-east-1": {**region, **made}})
    return monthly_cost(config, prices, Usage(traffic=traffic, **usage))


PROVISIONED = {"serverless_provisioned_3gb_second": 0.00001, "serverless_provisioned_usage_3gb_second": 0.00005}


def lines(found: FleetCost) -> dict[str, tuple[float, float, float]]:
    return {line.item: (line.usd_at_min, line.usd, line.usd_at_max) for line in found.lines if line.tenant == "m07"}


def test_a_call_costs_its_seconds_times_the_price_of_its_memory() -> None:
    items = lines(cost(1000, milliseconds_per_call=200))
    month = 1000 * 730 / 24
    assert items["calls"] == pytest.approx((0, month * 0.2 * SECOND, 2 * 730 * 3600 * SECOND))
    assert items["alarms"][1] == pytest.approx(9 * 0.1)


def test_without_a_duration_the_alarms_limit_is_assumed_and_said() -> None:
    bill = cost(1000)
    assert lines(bill)["calls"][1] == pytest.approx(1000 * 730 / 24 * 0.5 * SECOND)
    assert any("runs as long as its tier's max_model_latency_p99_milliseconds" in note for note in bill.notes)
    assert any("the start of serverless containers" in item for item in bill.left_out)


def test_without_traffic_nothing_is_made_up() -> None:
    bill = cost()
    assert lines(bill)["calls"][1] == 0
    assert "calls to serverless endpoints: give --traffic" in bill.left_out


def test_more_calls_than_the_concurrency_can_run_are_not_priced() -> None:
    low, expected, high = lines(cost(1e9))["calls"]
    assert low < expected == high


def test_provisioned_concurrency_is_paid_all_month_and_its_calls_cost_another_price() -> None:
    items = lines(cost(1000, {"provisioned_concurrency": 2}, milliseconds_per_call=200))
    assert items["provisioned concurrency"][1] == pytest.approx(2 * 730 * 3600 * 0.00001)
    assert items["calls"][1] == pytest.approx(1000 * 730 / 24 * 0.2 * 0.00005)


def test_every_memory_size_has_a_price_in_proportion_and_warm_containers_have_none() -> None:
    for region in PRICES.regions:
        each = [PRICES.unit_price(f"serverless_{size}gb_second", region).usd / size for size in range(1, 7)]
        assert each == pytest.approx([each[0]] * 6), region
        assert 0.00002 <= each[0] < 0.00003
    rare = SHOWCASE.tiers["rare"].model_copy(update={"memory_size_in_mb": 1024, "provisioned_concurrency": 1})
    config = SHOWCASE.model_copy(update={"tiers": {**SHOWCASE.tiers, "rare": rare}})
    with pytest.raises(UnknownPriceError, match="add the line serverless_provisioned_usage_1gb_second ="):
        monthly_cost(config, PRICES)


def test_a_region_without_a_serverless_price_says_what_is_assumed() -> None:
    # AWS's price list of September 2026 has no serverless price in Spain.
    notes = monthly_cost(SHOWCASE, PRICES, region="eu-south-2").notes
    assert (
        sum("no serverless price in eu-south-2" in note and "us-east-1's price is used" in note for note in notes) == 1
    )
    assert not any("no serverless price" in note for note in monthly_cost(SHOWCASE, PRICES).notes)


def test_a_duration_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"milliseconds_per_call is 60001, allowed: 0\.001 to 60000"):
        Usage(milliseconds_per_call=60_001)
