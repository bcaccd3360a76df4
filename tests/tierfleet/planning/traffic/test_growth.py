"""Growth and launches: seen, said, and planned for."""

import numpy as np
import pytest
from brute_force import requests_of
from workloads import model, tiering

from tierfleet.errors import InputError
from tierfleet.instance_types import describe
from tierfleet.planning.horizon import horizon_days, workload_at_horizon
from tierfleet.planning.search.alternatives import sensitivity
from tierfleet.planning.traffic.growth import Growth, growth_notices, growth_of
from tierfleet.planning.traffic.projection import projected
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import workload_from_trace

_WEEK = 7 * 86_400.0
_MONDAY = 1_793_577_600.0


def _weeks(calls: list[list[int]], seed: int = 1) -> Requests:
    """calls: [tenant][week], at random times of the week; the last call ends the last week."""
    random = np.random.default_rng(seed)
    tenants, seconds = [], []
    for tenant, weekly in enumerate(calls):
        for week, count in enumerate(weekly):
            tenants.append(np.full(count, tenant))
            seconds.append(_MONDAY + _WEEK * (week + random.random(count)))
    who, at = np.concatenate(tenants), np.concatenate(seconds)
    at[at.argmin()], at[at.argmax()] = _MONDAY, _MONDAY + _WEEK * len(calls[0])
    order = np.argsort(at)
    return requests_of(who[order].tolist(), at[order].tolist(), count=len(calls))


def _growth(requests: Requests) -> Growth:
    growth = growth_of(requests)
    assert growth is not None
    return growth


def test_a_line_goes_on() -> None:
    requests = _weeks([[1000 + 200 * week for week in range(6)] for _ in range(5)])
    growth = _growth(requests)
    assert growth.factor == pytest.approx(2.0, rel=0.01)
    forecast = growth.forecast(28)
    # Four weeks after a week of 2,000 calls each.
    assert forecast.weekly_calls == pytest.approx(np.full(5, 2800), rel=0.03)
    assert forecast.factor == pytest.approx(1.4, rel=0.03)
    assert forecast.low < forecast.factor < forecast.high
    assert growth.forecast(90).high - growth.forecast(90).low > forecast.high - forecast.low
    assert forecast.new_tenants == 0
    [text] = growth_notices(growth)
    assert "the last week is 2 x the first, of 6" in text


def test_a_steady_fleet_of_tenants_that_call_rarely_does_not_grow() -> None:
    random = np.random.default_rng(2)
    weekly = random.poisson(np.tile(random.lognormal(0, 1.5, (800, 1)), (1, 8))).tolist()
    growth = _growth(_weeks(weekly))
    forecast = growth.forecast(90)
    assert forecast.low < 1 < forecast.high
    assert abs(growth.net_new_per_week) < 4
    assert not [text for text in growth_notices(growth) if "last week" in text]


def test_a_tenant_that_grows_among_steady_ones_is_drawn_only_a_little_towards_them() -> None:
    weekly = [[500] * 8 for _ in range(40)] + [[500 * week for week in range(1, 9)]]
    forecast = _growth(_weeks(weekly)).forecast(28)
    assert forecast.weekly_calls[:40] == pytest.approx(np.full(40, 500), rel=0.1)
    assert forecast.weekly_calls[40] == pytest.approx(500 * 12, rel=0.15)


def test_a_launch_counts_from_its_first_whole_week_and_is_named() -> None:
    requests = _weeks([[1000] * 6 for _ in range(5)] + [[0, 0, 0, 1200, 4000, 4000]])
    growth = _growth(requests)
    assert growth.joined.tolist() == [0, 0, 0, 0, 0, 4]
    assert growth.forecast(7).weekly_calls[5] == pytest.approx(4000, rel=0.05)
    assert any(
        "t0005 makes 44 % of the calls of the last week, and 17 % of those before" in t for t in growth_notices(growth)
    )


def test_less_than_two_weeks_show_no_growth() -> None:
    requests = _weeks([[50]])
    assert growth_of(requests) is None
    with pytest.raises(InputError, match=r"--horizon needs two weeks of calls or more, and x\.csv has 7 days"):
        workload_at_horizon(requests, np.ones(1), 90, source="x.csv")


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-3d", "1.5w", "9999w", "ninety days"])
def test_a_horizon_is_days_or_weeks(text: str) -> None:
    with pytest.raises(InputError, match="--horizon"):
        horizon_days(text)
    assert (horizon_days("90d"), horizon_days("12w")) == (90, 84)


def test_a_projection_has_the_calls_that_are_forecast_at_the_hours_they_come() -> None:
    random = np.random.default_rng(3)
    tenants, weeks = 60, 5
    who, at = [], []
    for week in range(weeks):
        for day in range(7):
            calls = random.permutation(tenants)[: 20 + 8 * week]
            who.append(calls)
            at.append(_MONDAY + _WEEK * week + 86_400 * day + 7_200 + 20 * np.sort(random.random(len(calls))))
    who.append(np.array([0]))
    at.append(np.array([_MONDAY + _WEEK * weeks]))
    requests = requests_of(np.concatenate(who).tolist(), np.concatenate(at).tolist(), count=tenants)
    growth = _growth(requests)
    forecast = growth.forecast(28)
    calls, sizes = projected(requests, np.full(tenants, 40.0), growth, forecast, forecast.factor)
    last = growth.weekly[:, -1].sum()
    assert len(calls) / 4 == pytest.approx(forecast.factor * last, rel=0.05)
    assert (np.diff(calls.seconds) >= 0).all()
    assert len(sizes) == len(calls.tenants) == tenants + forecast.new_tenants
    # The nightly burst stays one.
    of_day = (calls.seconds - 7_200) % 86_400
    assert np.mean((of_day < 60) | (of_day > 86_340)) > 0.97
    again, _ = projected(requests, np.full(tenants, 40.0), growth, forecast, forecast.factor)
    assert (again.seconds == calls.seconds).all()


def test_a_launched_tenant_calls_in_every_week_of_the_projection() -> None:
    requests = _weeks([[1000] * 6 for _ in range(3)] + [[0, 0, 0, 0, 800, 2000]])
    growth = _growth(requests)
    forecast = growth.forecast(7)
    calls, _ = projected(requests, np.full(4, 40.0), growth, forecast, forecast.factor)
    week = ((calls.seconds - calls.seconds[0]) // _WEEK).clip(0, 3)
    each = np.bincount(week[calls.tenant == 3].astype(int), minlength=4)
    assert each == pytest.approx(np.full(4, forecast.weekly_calls[3]), rel=0.1)


def test_tenants_that_join_are_expected_to_go_on_joining() -> None:
    weekly = [[30] * 8 for _ in range(40)] + [
        [0] * start + [30] * (8 - start) for start in range(1, 8) for _ in range(5)
    ]
    growth = _growth(_weeks(weekly))
    assert growth.net_new_per_week == pytest.approx(5, abs=0.1)
    forecast = growth.forecast(56)
    assert forecast.new_tenants == 40
    calls, sizes = projected(_weeks(weekly), np.full(75, 40.0), growth, forecast, forecast.factor)
    assert len(sizes) == len(calls.tenants) == 115
    assert np.unique(calls.tenant).size == 115


def test_a_plan_for_a_horizon_shows_the_upper_end_too() -> None:
    requests = _weeks([[300 + 60 * week for week in range(6)] for _ in range(60)])
    workload, notice = workload_at_horizon(requests, np.full(60, 40.0), 90, source="x.csv")
    assert "planned for 90 days after the trace" in notice
    assert workload.upper is not None
    assert workload.upper.calls_per_day.sum() > 1.05 * workload.calls_per_day.sum()
    planned = model(workload, min_hit_ratio=0.3)
    option = planned.evaluate(planned.option(describe("ml.m5.large"), 2, frozenset()))
    names = [case.what for case in sensitivity(planned, option)]
    assert names[:2] == ["as planned", "upper end of the forecast"]
    assert workload.without(frozenset({"t0001"})).upper.tenants.count("t0001") == 0


def test_the_busiest_hour_is_an_hour_of_the_trace_so_that_a_launched_whale_gets_an_endpoint() -> None:
    random = np.random.default_rng(4)
    weeks = 5
    others = [[8_000] * weeks for _ in range(60)]
    requests = _weeks([*others, [0] * weeks], seed=4)
    # In the last two days it makes 2.76 calls a second: of all five weeks, 17 % of the calls.
    end = _MONDAY + _WEEK * weeks
    launch = np.sort(end - 2 * 86_400 * random.random(int(2.76 * 2 * 86_400)))
    who = np.concatenate([requests.tenant, np.full(len(launch), 60)])
    at = np.concatenate([requests.seconds, launch])
    order = np.argsort(at, kind="stable")
    grown = requests_of(who[order].tolist(), at[order].tolist(), count=61)
    workload = workload_from_trace(grown, np.full(61, 40.0), skip_days=10)
    assert workload.peak_per_second[60] == pytest.approx(2.76, rel=0.08)
    # The mean of that hour of the week says a fifth of it.
    assert workload.calls_by_hour[60].max() / 3600 < 0.7
    [whale] = [tier for tier in tiering(workload).assigned if tier.dedicated]
    assert whale.tenant == "t0060"


def test_tenants_that_stopped_are_named_and_rare_ones_are_not() -> None:
    # a calls all the time, b stops after three of four weeks, c calls once a fortnight.
    hour = 3600.0
    calls = [(hour * n, 0) for n in range(28 * 24)] + [(hour * n + 1, 1) for n in range(0, 20 * 24)]
    calls += [(14 * 86_400.0 * n, 2) for n in range(2)]
    calls.sort()
    requests = requests_of([who for _, who in calls], [at for at, _ in calls], count=3)
    notices = list(growth_notices(growth_of(requests)))
    [stopped] = [notice for notice in notices if "made none in the last week" in notice]
    assert stopped.startswith(f"1 tenant with 42 % of all calls, such as {requests.tenants[1]}")


def test_a_first_week_without_calls_is_not_a_factor() -> None:
    growth = Growth(tenants=("a",), weekly=np.array([[0, 0, 70]]), joined=np.array([0]), net_new_per_week=0.0)
    [first, *_] = growth_notices(growth)
    assert first.startswith("the first of 3 weeks has no call")
