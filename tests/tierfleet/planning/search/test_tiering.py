"""Who is a whale, and why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workloads import zipf

from tierfleet.planning.search.tiering import TailShare, TenantTier, TieringRules, assign_tiers, promoted_for_p99
from tierfleet.planning.traffic.shapes import SHAPES

WHALES = {"m01", "m04", "m12", "m18", "m29"}


def assigned(
    calls_per_day: dict[str, float],
    peaks: dict[str, float] | None = None,
    rules: TieringRules | None = None,
    **more: set[str],
) -> dict[str, TenantTier]:
    calls = np.array(list(calls_per_day.values()))
    peak = calls / 86400 * 2 if peaks is None else np.array([peaks[name] for name in calls_per_day])
    tiers = assign_tiers(tuple(calls_per_day), calls, peak, rules or TieringRules(), **more)
    return {tier.tenant: tier for tier in tiers}


def dedicated(tiers: dict[str, TenantTier]) -> set[str]:
    return {name for name, tier in tiers.items() if tier.dedicated}


def fraud() -> tuple[dict[str, float], dict[str, float]]:
    shape = SHAPES["fraud"]
    calls = dict(zip(shape.tenants, (shape.tenant_shares() * shape.requests_per_day).tolist(), strict=True))
    peak = {
        name: calls[name] * 7 * float(group.hours.max() / group.hours.sum()) / 3600
        for group in shape.groups
        for name in group.tenants
    }
    return calls, peak


def test_the_five_whales_of_the_fraud_fleet_are_found_with_their_reasons() -> None:
    tiers = assigned(*fraud(), promised_p99_seconds=0.05)
    assert dedicated(tiers) == WHALES
    assert sum(not tier.dedicated for tier in tiers.values()) == 65
    assert tiers["m04"].reason.startswith("18 % of calls, 47 % of the tier it would join")
    assert "p99 SLA 50 ms" in tiers["m04"].reason


def test_a_rate_is_written_out_in_a_reason() -> None:
    tiers = assigned({"giant": 150.0 * 86_400} | {f"t{n}": 1000.0 for n in range(20)})
    assert "300 calls/s at peak" in tiers["giant"].reason
    assert tiers["t0"].reason.endswith("0.023 calls/s at peak")


def test_the_five_are_found_far_around_the_default_limits() -> None:
    calls, peak = fraud()
    for share in (0.1, 0.2, 0.3, 0.35):
        assert dedicated(assigned(calls, peak, TieringRules(dominant_share=share))) == WHALES


def test_no_tenant_of_the_churn_fleet_is_worth_an_endpoint() -> None:
    assert not dedicated(assigned(zipf(4000, 80_000, 0.81)))


def test_tenants_of_one_size_do_not_dominate_each_other() -> None:
    assert not dedicated(assigned(dict.fromkeys("abcdefghij", 1e6)))


def test_two_giants_do_not_hide_each_other() -> None:
    small = {f"s{n}": 1000.0 for n in range(40)}
    assert dedicated(assigned(small | {"g1": 9e5, "g2": 1e6})) == {"g1", "g2"}


def test_a_giant_of_a_sleepy_fleet_is_left_where_it_is() -> None:
    # 95 % of the calls, but one a minute disturbs no other tenant.
    small = {f"s{n}": 1.0 for n in range(40)}
    assert not dedicated(assigned(small | {"g": 1440.0}))


def test_a_tenant_that_fills_a_dedicated_endpoint_gets_one() -> None:
    calls = dict.fromkeys("abcdefghij", 1e7)
    tiers = assigned(calls, rules=TieringRules(filling_per_second=200))
    assert dedicated(tiers) == set(calls)
    assert "fills a dedicated endpoint" in tiers["a"].reason


def test_between_the_limits_everybody_stays_where_it_is() -> None:
    small = {f"s{n}": 10_000.0 for n in range(40)}
    calls = small | {"w": 100_000.0}
    # 20 % of the tier it would join: below 25 %, above 25 % less the band of 30 %.
    assert not assigned(calls)["w"].dedicated
    stays = assigned(calls, dedicated_today={"w"})["w"]
    assert stays.dedicated
    assert "within the band of 30 %" in stays.reason
    assert not assigned(small | {"w": 80_000.0}, dedicated_today={"w"})["w"].dedicated


def test_a_kept_tenant_stays_on_either_tier() -> None:
    small = {f"s{n}": 1000.0 for n in range(40)}
    calls = small | {"w": 1e6}
    assert not assigned(calls, keep={"w"})["w"].dedicated
    kept = assigned(calls, keep={"s1"}, dedicated_today={"s1"})["s1"]
    assert kept.dedicated
    assert "kept where it is" in kept.reason


ON_TAIL = TailShare(load_share=0.03, warm_p99_seconds=0.02, load_seconds=2.9)


def test_a_tenant_whose_p99_the_tail_breaks_is_promoted_with_both_figures() -> None:
    before = tuple(assigned({f"s{n}": 1000.0 for n in range(40)}).values())
    after = promoted_for_p99(before, {"s3": 0.05}, {"s3": ON_TAIL}, band=0.3)
    assert [tier.tenant for tier in after if tier.dedicated] == ["s3"]
    reason = after[3].reason
    assert "p99 SLA 50 ms" in reason
    assert "3 % of its calls wait for a load" in reason
    assert not promoted_for_p99(before, {"s3": 0.05}, {"s3": ON_TAIL}, band=0.3, keep={"s3"})[3].dedicated


@pytest.mark.parametrize(("load_share", "p99"), [(0.0101, 2.9), (0.0099, 0.02)])
def test_one_call_in_a_hundred_decides_about_a_p99(load_share: float, p99: float) -> None:
    assert TailShare(load_share, 0.02, 2.9).p99_seconds == p99


traffic = st.dictionaries(
    st.text("abcdefghij", min_size=1, max_size=4), st.floats(0, 1e7, allow_nan=False), min_size=1, max_size=30
).filter(lambda calls: sum(calls.values()) > 0)


@given(traffic, st.randoms(use_true_random=False), st.floats(0.05, 0.6), st.floats(0, 0.8))
def test_a_second_plan_changes_nothing_and_the_order_does_not_matter(calls, random, share, band) -> None:
    rules = TieringRules(dominant_share=share, band=band)
    first = dedicated(assigned(calls, rules=rules))
    assert dedicated(assigned(calls, rules=rules, dedicated_today=first)) == first
    if len(set(calls.values())) == len(calls):
        items = list(calls.items())
        random.shuffle(items)
        assert dedicated(assigned(dict(items), rules=rules)) == first


@given(traffic, st.data())
def test_kept_tenants_never_move(calls, data) -> None:
    keep = data.draw(st.sets(st.sampled_from(sorted(calls))))
    now = data.draw(st.sets(st.sampled_from(sorted(calls))))
    tiers = dedicated(assigned(calls, dedicated_today=now, keep=keep))
    assert tiers & keep == now & keep
