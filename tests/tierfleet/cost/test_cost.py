"""The monthly bill: what it adds up to, what moves it, and what it does not hide."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.testing.fleets import CONFIG, DELETE, fleet
from tierfleet.config import FleetConfig, load
from tierfleet.cost.diff import cost_diff
from tierfleet.cost.monthly_cost import FleetCost, monthly_cost, tenant_costs
from tierfleet.cost.price import UnknownPriceError
from tierfleet.cost.prices import load_prices
from tierfleet.cost.usage import Traffic, Usage
from tierfleet.errors import InputError

PRICES = load_prices()
NETWORK = {
    "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
    "security_group_ids": ["sg-0000000000000000c"],
}


def cost(config: FleetConfig, **usage: Any) -> FleetCost:
    return monthly_cost(config, PRICES, Usage(**usage))


def amounts(found: FleetCost) -> dict[tuple[str | None, str | None, str], float]:
    return {(line.tier, line.tenant, line.item): line.usd for line in found.lines}


def flat(**calls_per_day: float) -> Traffic:
    return Traffic({tenant: (calls / 24,) * 24 for tenant, calls in calls_per_day.items()})


def test_the_bill_of_a_small_fleet_line_by_line() -> None:
    usd = amounts(cost(fleet(), artefact_megabytes=2**30 / 1e6, tail_tenants=10, callers=0))
    # 2 instances each, 730 hours, the table's prices of eu-west-1.
    assert usd["tail", None, "instances"] == pytest.approx(2 * 730 * 0.257)
    assert usd["whale", "w1", "instances"] == pytest.approx(2 * 730 * 0.128)
    # 10 alarms with 14 metrics, AlarmHigh, one composite; 6 alarms with 8 metrics, AlarmHigh and AlarmLow.
    assert usd["tail", None, "alarms"] == pytest.approx(15 * 0.1 + 0.5)
    assert usd["whale", "w1", "alarms"] == pytest.approx(10 * 0.1)
    assert usd["tail", None, "model storage"] == pytest.approx(10 * 0.023)
    assert usd["whale", "w1", "model storage"] == pytest.approx(0.023)
    assert usd[None, None, "alarms"] == pytest.approx(8 * 0.1)
    assert usd[None, None, "dashboard"] == 3
    assert usd[None, None, "S3 request metrics"] == pytest.approx(9 * 0.3)
    assert usd[None, None, "route polling"] == 0
    # 261 runs a year of 780 s with half a GB; 3 pointers and 3 models a run.
    runs = 261 / 12
    function = runs * (780 * 0.5 * 0.0000133334 + 0.0000002 + 0.000001 + 0.0000002 + 0.0008 + 6 * 0.0000004)
    assert usd["tail", None, "warm-up"] == pytest.approx(function)
    assert usd["tail", None, "warm-up metrics"] == pytest.approx(7 * 0.3 * runs / 730)


def test_volumes_are_billed_for_each_instance() -> None:
    bill = cost(fleet(tiers={"tail": {"volume_size_in_gb": 100}}))
    line = next(line for line in bill.lines if line.item == "volumes")
    assert (line.usd_at_min, line.usd, line.usd_at_max) == pytest.approx((30.8, 30.8, 92.4))
    assert any("volumes of whale: SageMaker chooses their size" in item for item in bill.left_out)
    assert not any("volumes of" in item and "tail" in item for item in bill.left_out)


def test_route_polling_follows_callers_and_their_ttl() -> None:
    usd = amounts(cost(fleet(), callers=100, restarts_per_month=10))
    assert usd[None, None, "route polling"] == pytest.approx(100 * (730 * 60 * 2e-7 + 10 * 0.0008))
    faster = amounts(cost(fleet(routes={"ttl_seconds": 15}), callers=100, restarts_per_month=10))
    assert faster[None, None, "route polling"] == pytest.approx(100 * (730 * 240 * 2e-7 + 10 * 0.0008))


def test_traffic_moves_instances_requests_and_logs() -> None:
    traffic = flat(a=86_400, b=8_640, w1=24 * 3600 * 120)
    usd = amounts(cost(fleet(), traffic=traffic, cold_share=0.5, callers=1, log_bytes_per_call=2**30 / 1e6))
    # 120 calls a second against a target of 50 a second and instance: three instances.
    assert usd["whale", "w1", "instances"] == pytest.approx(3 * 730 * 0.128)
    month = 730 / 24
    # One process reads a pointer once a minute at most: a is called once a second, b every ten seconds.
    pointers = 730 * 60 * 2
    models = 0.5 * (86_400 + 8_640) * month
    assert usd["tail", None, "S3 requests"] == pytest.approx((pointers + models) * 0.0000004)
    assert usd["tail", None, "endpoint logs"] == pytest.approx((86_400 + 8_640) * month / 1e6 * 0.57)


def test_an_endpoint_whose_calls_outgrow_its_bounds_is_named() -> None:
    enough, more = (cost(fleet(), traffic=flat(w1=86_400.0 * calls)) for calls in (40, 40_000))
    assert not any("not priced" in note for note in enough.notes)
    assert "w1 would need more than its upper bound 100 % of the time; those instances are not priced" in more.notes


def test_without_a_model_cache_every_call_fetches_its_model() -> None:
    cached, uncached = (
        amounts(cost(fleet(tiers={"tail": {"model_cache": setting}}), traffic=flat(a=1000), cold_share=0.25, callers=0))
        for setting in ("Enabled", "Disabled")
    )
    place = ("tail", None, "S3 requests")
    assert uncached[place] == pytest.approx(4 * cached[place]) == pytest.approx(1000 * 730 / 24 * 0.0000004)


def test_a_nat_gateway_costs_hours_and_every_model_that_goes_through_it() -> None:
    config = fleet(network=NETWORK)
    usage = {"traffic": flat(a=1000), "cold_share": 1.0, "artefact_megabytes": 2**30 / 1e6}
    usd = amounts(cost(config, nat_gateways=2, **usage))
    assert usd[None, None, "NAT gateways"] == pytest.approx(2 * 730 * 0.048)
    assert usd["tail", None, "NAT data"] == pytest.approx(1000 * 730 / 24 * 0.048)
    assert any("give --nat-gateways" in item for item in cost(config).left_out)
    assert not any(
        "--nat-gateways" in item for item in (*cost(config, nat_gateways=1).left_out, *cost(fleet()).left_out)
    )
    with pytest.raises(InputError, match=r"no \[network\]"):
        cost(fleet(), nat_gateways=1)


def test_client_metrics_are_capped_as_the_client_caps_them() -> None:
    many = flat(**{f"t{number}": 1.0 for number in range(50)})
    usd = amounts(cost(fleet(), traffic=many, client_metrics=True))
    assert usd[None, None, "client metrics"] == pytest.approx(3 * (20 + 2) * 0.3)
    few = amounts(cost(fleet(), traffic=flat(a=1, b=1), client_metrics=True))
    assert few[None, None, "client metrics"] == pytest.approx(3 * (3 + 2) * 0.3)


def test_what_is_not_known_is_named_instead_of_guessed() -> None:
    left_out = " ".join(cost(fleet()).left_out)
    for option in ("--traffic", "--cold-share", "--artefact-megabytes", "--log-bytes-per-call", "--client-metrics"):
        assert option in left_out
    assert "--traffic" not in " ".join(cost(fleet(), traffic=flat(a=1)).left_out)


def test_every_unknown_price_is_named_at_once() -> None:
    config = fleet(tiers={"tail": {"instance_type": "ml.c8g.large"}, "whale": {"instance_type": "ml.t2.large"}})
    priced = {name: price for name, price in PRICES.hosting["eu-west-1"].items() if name.startswith("ml.m5.")}
    with pytest.raises(UnknownPriceError) as error:
        monthly_cost(config, replace(PRICES, hosting={"eu-west-1": priced}))
    assert "no price of ml.c8g.large in eu-west-1" in str(error.value)
    assert "no price of ml.t2.large in eu-west-1" in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_usage_out_of_range_is_named_field_by_field() -> None:
    with pytest.raises(InputError, match=r"versions_kept is 0, allowed: 1 .*; cold_share is 1.5, allowed: 0 to 1"):
        Usage(versions_kept=0, cold_share=1.5)


def test_prices_of_another_region_are_marked() -> None:
    bill = monthly_cost(fleet(), PRICES, region="us-east-1")
    assert bill.usd < cost(fleet()).usd
    assert "priced as in us-east-1, although the fleet is in eu-west-1" in bill.notes


def test_the_churn_fleet_costs_a_twelfth_of_its_budget_because_its_models_are_forests() -> None:
    config = load(CONFIG / "churn-prod.toml")
    usd = amounts(cost(config))
    assert usd["tail", None, "instances"] == pytest.approx(2 * 730 * 0.151)
    assert usd["tail", None, "volumes"] == pytest.approx(2 * 64 * 0.14)
    assert cost(config).usd == pytest.approx(247.32, abs=0.01)


def test_tenants_of_a_shared_tier_pay_by_their_calls() -> None:
    usage = Usage(traffic=flat(a=300, b=100, w1=50))
    bill = monthly_cost(fleet(), PRICES, usage)
    tenants = tenant_costs(bill, fleet(), usage)
    assert tenants["a"] == pytest.approx(3 * tenants["b"])
    assert tenants["a"] + tenants["b"] == pytest.approx(bill.by_place()["tail", None])
    assert tenants["w1"] == pytest.approx(bill.by_place()["whale", "w1"])


OCCASIONAL = {
    "hosting": "multi-model",
    "instance_type": "ml.m5.large",
    "instances": {"min": 1, "max": 2, "initial": 1},
    "scaling": {"max_requests_per_second": 20},
    "alarms": {"min_cache_hit_ratio": 0.5},
    "tenants": ["o1", "o2"],
}

TIERS = st.fixed_dictionaries(
    {
        "tail": st.builds(
            lambda low, more, volume: {
                "instances": {"min": low, "max": low + more, "initial": low},
                "volume_size_in_gb": volume or DELETE,
            },
            st.integers(2, 8),
            st.integers(0, 6),
            st.sampled_from([0, 50, 512]),
        ),
        "whale": st.builds(
            lambda low, more, names: {
                "instances": {"min": low, "max": low + more, "initial": low},
                "tenants": {name: {"model": f"{name}/1.tar.gz"} for name in ("w1", *names)},
            },
            st.integers(2, 4),
            st.integers(0, 6),
            st.sets(st.sampled_from(["w2", "w3", "t1"]), max_size=3),
        ),
    }
)
RATES = st.dictionaries(st.sampled_from(["w1", "w2", "t1", "t2", "a", "b"]), st.floats(0, 1e7), min_size=1)


@settings(max_examples=40)
@given(TIERS, RATES)
def test_the_total_is_the_sum_of_its_places_and_lies_between_its_bounds(tiers: Any, rates: Any) -> None:
    bill = cost(fleet(tiers=tiers), traffic=flat(**rates), artefact_megabytes=10)
    assert sum(bill.by_place().values()) == pytest.approx(bill.usd)
    assert bill.usd_at_min <= bill.usd + 1e-9
    assert bill.usd <= bill.usd_at_max + 1e-9


@settings(max_examples=40)
@given(TIERS, RATES, st.sampled_from(["tail", "whale"]), st.integers(1, 4))
def test_more_instances_never_cost_less(tiers: Any, rates: Any, name: str, more: int) -> None:
    before = cost(fleet(tiers=tiers), traffic=flat(**rates))
    instances = {key: count + more for key, count in tiers[name]["instances"].items()}
    after = cost(fleet(tiers={**tiers, name: {**tiers[name], "instances": instances}}), traffic=flat(**rates))
    assert after.usd >= before.usd - 1e-9
    assert after.usd_at_min > before.usd_at_min
    assert after.usd_at_max > before.usd_at_max


@settings(max_examples=40)
@given(TIERS, RATES)
def test_a_further_tier_adds_its_own_cost_and_changes_no_other(tiers: Any, rates: Any) -> None:
    before = cost(fleet(tiers=tiers), traffic=flat(**rates))
    after = cost(fleet(tiers={**tiers, "occasional": OCCASIONAL}), traffic=flat(**rates))
    places = after.by_place()
    added = places.pop(("occasional", None))
    assert added > 0
    assert places == pytest.approx(before.by_place())
    assert after.usd == pytest.approx(before.usd + added)


@settings(max_examples=40)
@given(TIERS, TIERS, RATES)
def test_a_difference_is_what_it_costs_after_less_what_it_cost_before(one: Any, other: Any, rates: Any) -> None:
    a, b = fleet(tiers=one), fleet(tiers=other)
    before, after = cost(a, traffic=flat(**rates)), cost(b, traffic=flat(**rates))
    forth = cost_diff((a, before), (b, after), every_place=True)
    back = cost_diff((b, after), (a, before), every_place=True)
    assert forth.usd == pytest.approx(after.usd - before.usd)
    assert sum(change.usd for change in forth.changes) == pytest.approx(forth.usd)
    assert back.usd == pytest.approx(-forth.usd)
    same = cost_diff((a, before), (a, before))
    assert same.changes == ()


def reasons(old: FleetConfig, new: FleetConfig) -> dict[tuple[str | None, str | None], tuple[str, ...]]:
    changes = cost_diff((old, cost(old)), (new, cost(new))).changes
    return {(change.tier, change.tenant): change.reasons for change in changes}


def test_the_difference_says_why() -> None:
    promoted = fleet(tiers={"whale": {"tenants": {"t2": {"model": "t2/1.tar.gz"}}}})
    assert reasons(fleet(), promoted) == {("whale", "t2"): ("comes from tail",)}
    assert reasons(promoted, fleet()) == {("whale", "t2"): ("goes to tail",)}
    resized = fleet(tiers={"tail": {"instances": {"min": 3, "initial": 3}, "instance_type": "ml.m5.large"}})
    assert reasons(fleet(), resized)["tail", None] == (
        "instance_type ml.m5.xlarge -> ml.m5.large",
        "instances.initial 2 -> 3",
        "instances.min 2 -> 3",
    )
    unwarmed = fleet(tiers={"tail": {"warm_up": DELETE}})
    assert reasons(fleet(), unwarmed)["tail", None] == ("warm_up set -> none",)
    assert "warm-up metrics: 7 metrics, 21.8 hours a month -> none" in reasons(fleet(), unwarmed)[None, None]
    further = fleet(tiers={"occasional": OCCASIONAL})
    assert reasons(fleet(), further)["occasional", None] == ("new tier",)
    assert reasons(further, fleet())["occasional", None] == ("tier removed",)


def test_an_edit_that_costs_nothing_is_no_change() -> None:
    quiet = fleet(tiers={"tail": {"alarms": {"min_cache_hit_ratio": 0.5}}, "whale": {"instances": {"max": 9}}})
    assert reasons(fleet(), quiet) == {}
