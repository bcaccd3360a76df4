"""The search finds what looking at everything finds, and its answers hold together."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from workloads import PRICES, PRICES_FEW, model, steady, tiering, zipf

from local_cloud.testing.fleets import fleet
from tierfleet.instance_types import describe
from tierfleet.planning.search.alternatives import sensitivity, why_not_chosen
from tierfleet.planning.search.candidates import candidate_types
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.search import Bounds, _cheapest, pareto_front, search
from tierfleet.planning.search.service_levels import latencies
from tierfleet.planning.traffic.sessions import Sessions

CONFIG = fleet(region="us-east-1")
TYPES = candidate_types(CONFIG, PRICES)[0]
BOUNDS = Bounds(types=TYPES, min_instances=2, max_instances=6)
WORKLOAD = steady(zipf(1000, 100_000))


def test_only_types_with_a_price_that_the_image_runs_on_are_candidates() -> None:
    with_price, without = candidate_types(CONFIG, PRICES)
    assert describe("ml.m7i.xlarge") in with_price
    assert not without
    assert not any(candidate.graviton or candidate.burstable for candidate in with_price)
    with_price, without = candidate_types(fleet(region="eu-west-1"), PRICES_FEW)
    assert set(with_price) == {describe("ml.m5.large"), describe("ml.m5.xlarge")}
    assert describe("ml.c5d.xlarge") in without
    assert not any(candidate.graviton or candidate.burstable for candidate in (*with_price, *without))


@pytest.mark.parametrize("profile", ["stock", "booster"])
@pytest.mark.parametrize("hit_ratio", [0.5, 0.9])
def test_the_pruned_search_finds_what_looking_at_everything_finds(profile: str, hit_ratio: float) -> None:
    fleet_model = model(WORKLOAD, profile, min_hit_ratio=hit_ratio, cold_p95_seconds=4.0, usd=3000.0)
    result = search(fleet_model, tiering(WORKLOAD), BOUNDS)
    none: frozenset[str] = frozenset()
    everything = [
        fleet_model.evaluate(fleet_model.option(instance_type, count, none))
        for instance_type in TYPES
        if fleet_model.fits(instance_type, none)
        for count in range(2, 7)
        if fleet_model.prices.usd(instance_type, count, none, 0) <= 3000
        and fleet_model.option(instance_type, count, none).hit_ratio >= hit_ratio
    ]
    cheapest = min((option.usd for option in everything if option.meets), default=None)
    assert (result.best.usd if result.best else None) == pytest.approx(cheapest)
    assert len(result.options) < result.possible


def test_no_option_beats_one_on_the_front_in_both() -> None:
    result = search(model(WORKLOAD, min_hit_ratio=0.5, usd=3000.0), tiering(WORKLOAD), BOUNDS)
    assert result.best in result.front or any(result.best.name == option.name for option in result.front)
    assert all(a.usd <= b.usd and a.hit_ratio < b.hit_ratio for a, b in pairwise(result.front))
    for option in result.options:
        assert any(front.usd <= option.usd and front.hit_ratio >= option.hit_ratio - 1e-9 for front in result.front)
    assert pareto_front(result.front) == result.front


def test_of_fleets_that_cost_hardly_more_the_one_with_the_better_service_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FleetModel, "in_every_placement", lambda _, option: option)  # it prices an option again
    small = steady(zipf(400, 40_000), model_mb=10.0)
    options = [
        replace(
            model(small).option(describe(name), count, frozenset()),
            usd=usd,
            hit_ratio=ratio,
            disk_share=0.0,
            cold_share=1 - ratio,
        )
        for name, count, usd, ratio in (
            ("ml.r5.xlarge", 10, 1000.0, 0.935),
            ("ml.r5.4xlarge", 3, 1003.0, 1.0),
            ("ml.r5.2xlarge", 2, 1004.0, 1.0),
            ("ml.m5.xlarge", 9, 1019.0, 0.95),
            ("ml.m5.12xlarge", 1, 1021.0, 1.0),
        )
    ]
    best, runner_up, _ = _cheapest(model(small), options)
    assert best.name == "2 x ml.r5.2xlarge"
    assert runner_up.name == "10 x ml.r5.xlarge"
    assert (
        why_not_chosen(best, runner_up)
        == "$4.00 a month less, hit ratio 6.5 points lower, cold p95 2.56 s, 8 instances more"
    )


def test_the_runner_up_costs_more_and_says_what_for() -> None:
    result = search(model(WORKLOAD, min_hit_ratio=0.5), tiering(WORKLOAD), BOUNDS)
    assert result.best.usd < result.runner_up.usd
    assert result.runner_up.meets
    assert why_not_chosen(result.best, result.runner_up).startswith(
        f"${result.runner_up.usd - result.best.usd:,.0f} a month more"
    )
    assert result.cheaper.usd < result.best.usd
    assert any("hit ratio" in failure for failure in result.cheaper.failures)


def test_where_nothing_meets_all_the_nearest_says_what_it_misses() -> None:
    # The stock container takes 2.9 s to load, whatever is bought.
    result = search(model(WORKLOAD, cold_p95_seconds=1.0, min_hit_ratio=0.5, usd=1000.0), tiering(WORKLOAD), BOUNDS)
    assert result.best is None
    assert result.nearest.usd <= 1000
    assert any(failure.startswith("cold p95") for failure in result.nearest.failures)
    # With every model in memory no call waits.
    rich = search(model(WORKLOAD, cold_p95_seconds=1.0), tiering(WORKLOAD), replace(BOUNDS, max_instances=40))
    assert rich.best.hit_ratio == pytest.approx(1.0)
    assert rich.best.cold_p95_seconds is None


def test_the_busiest_hour_sets_the_fewest_instances() -> None:
    # 200 calls/s; an ml.m5.xlarge is meant for 25.
    busy = steady(zipf(20, 200 * 86400.0))
    result = search(model(busy), tiering(busy), replace(BOUNDS, types=(describe("ml.m5.xlarge"),), max_instances=20))
    assert result.best.instances == 8


def test_a_required_p99_buys_an_endpoint_or_a_bigger_cache_whichever_is_cheaper() -> None:
    calls = zipf(400, 20_000) | {"vip": 10.0}
    workload = steady(calls)
    result = search(model(workload, tenant_p99_seconds={"vip": 0.05}), tiering(workload), BOUNDS)
    # Two endpoints' worth of ml.m5.large against a cache that holds all 401 models.
    assert result.best.dedicated == ("vip",)
    assert result.best.meets
    everything = [option for option in result.options if option.dedicated == ()]
    assert all(option.usd > result.best.usd for option in everything)
    assert all(option.hit_ratio > 0.9 for option in everything)


def test_more_memory_never_hits_less_and_more_traffic_of_the_same_kind_hits_the_same() -> None:
    result = search(model(WORKLOAD), tiering(WORKLOAD), replace(BOUNDS, types=(describe("ml.r5.xlarge"),)))
    ratios = [option.hit_ratio for option in sorted(result.options, key=lambda option: option.instances)]
    assert ratios == sorted(ratios)
    cases = {case.what: case for case in sensitivity(model(WORKLOAD, min_hit_ratio=0.3), result.options[0])}
    assert cases["traffic x 2"].change == pytest.approx(0, abs=1e-6)
    assert cases["models x 1.5"].change < 0
    assert cases["one instance lost"].change < 0
    assert cases["sessions of 3 calls"].change > 0


def test_half_as_many_models_again_join_the_shared_ones_and_not_the_whales() -> None:
    calls = zipf(60, 20_000) | {"w1": 400_000.0, "w2": 380_000.0, "w3": 360_000.0}
    workload = steady(calls)
    planned = model(workload, config=fleet(region="us-east-1"))
    whales = frozenset({"w1", "w2", "w3"})
    option = planned.option(describe("ml.m5.large"), 2, whales)
    cases = {case.what: case for case in sensitivity(planned, option)}
    assert cases["models x 1.5"].hit_ratio < cases["as planned"].hit_ratio
    # The same 60 tenants and every second of them again, without anybody else.
    order = sorted(zipf(60, 20_000).items(), key=lambda item: -item[1])
    alone = steady(dict(order) | {f"{name}+": rate for name, rate in order[1::2]})
    expected = model(alone).option(describe("ml.m5.large"), 2, frozenset())
    assert cases["models x 1.5"].hit_ratio == pytest.approx(expected.hit_ratio)


def test_twice_the_traffic_fails_where_the_file_allows_too_few_instances() -> None:
    tight = fleet(region="us-east-1", tiers={"tail": {"instances": {"min": 2, "max": 2, "initial": 2}}})
    busy = steady(zipf(20, 40 * 86400.0))
    planned = model(busy, config=tight)
    cases = {case.what: case for case in sensitivity(planned, planned.option(describe("ml.m5.xlarge"), 2, frozenset()))}
    assert cases["as planned"].meets
    assert not cases["traffic x 2"].meets
    assert cases["traffic x 2"].failures == ("tail needs 4 x ml.m5.xlarge in its busiest hour, and may have 2",)


def test_the_share_outside_the_sla_is_that_of_the_classes_that_break_it() -> None:
    fleet_model = model(WORKLOAD, cold_p95_seconds=1.0, warm_p95_seconds=0.3)
    option = fleet_model.option(describe("ml.m5.xlarge"), 2, frozenset())
    [times] = latencies(fleet_model, option, "whale")
    # A load of the stock container takes longer than a second, and no warm call takes 300 ms.
    assert times.outside_share == pytest.approx(1 - option.hit_ratio)
    assert latencies(model(WORKLOAD), option, "whale")[0].outside_share is None


def test_big_models_that_are_called_rarely_make_the_cold_calls() -> None:
    calls = {f"hot{n}": 50_000.0 for n in range(10)} | {f"rare{n}": 20.0 for n in range(200)}
    sizes = np.array([5.0] * 10 + [45.0] * 200)
    workload = replace(steady(calls), model_mb=sizes)
    planned = model(workload)
    option = planned.evaluate(planned.option(describe("ml.m5.xlarge"), 2, frozenset()))
    assert 0.99 < option.hit_ratio < 1
    # Of the stock container: 2.9 s for 45 MB, 2.1 s for 5 MB, and the fetch on top.
    assert option.cold_p95_seconds > 3.5
    assert option.warm_p95_seconds < 0.05


def test_a_required_p99_counts_for_a_tenant_that_may_not_leave_the_shared_tier() -> None:
    calls = zipf(400, 20_000) | {"vip": 10.0}
    workload = steady(calls)
    fleet_model = model(workload, tenant_p99_seconds={"vip": 0.05})
    kept = replace(tiering(workload), keep=frozenset({"vip"}))
    result = search(fleet_model, kept, replace(BOUNDS, types=(describe("ml.m5.xlarge"),), max_instances=3))
    assert result.best is None
    assert any(
        text.startswith("vip p99 2.9") and "on the shared tier, required 50 ms" in text
        for text in result.nearest.failures
    )


def test_bursts_turn_into_independent_calls_in_the_sensitivity() -> None:
    bursty = steady(zipf(500, 50_000), sessions=Sessions(5.0, 300.0))
    option = model(bursty).option(describe("ml.m5.xlarge"), 2, frozenset())
    cases = {case.what: case.change for case in sensitivity(model(bursty), option)}
    assert cases["independent calls"] < 0 < cases["sessions of 10 calls"]


def test_shares_of_an_option_make_one_and_the_disk_takes_what_memory_lost() -> None:
    config = fleet(region="us-east-1", tiers={"tail": {"volume_size_in_gb": 500}})
    with_disk: FleetOption = model(WORKLOAD, config=config).option(describe("ml.m5.xlarge"), 2, frozenset())
    without = model(WORKLOAD).option(describe("ml.m5.xlarge"), 2, frozenset())
    for option in (with_disk, without):
        assert option.hit_ratio + option.disk_share + option.cold_share == pytest.approx(1)
    assert with_disk.hit_ratio == without.hit_ratio
    assert with_disk.cold_share == pytest.approx(0, abs=1e-9)
    assert without.disk_share == 0
