"""Traffic as the planner sees it: rates by hour, peaks, and subsets of tenants."""

from dataclasses import replace

import numpy as np
import pytest
from brute_force import requests_of
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.errors import InputError
from tierfleet.planning.cache.curve_table import _resident
from tierfleet.planning.traffic.requests import Requests, busiest_stretch
from tierfleet.planning.traffic.shapes import SHAPES
from tierfleet.planning.traffic.synthesize import synthesize
from tierfleet.planning.traffic.workload import HOURS_OF_WEEK, model_megabytes, workload_from_trace

MONDAY = 1_767_571_200.0  # 2026-01-05 00:00 UTC


def trace(*calls: tuple[float, str]) -> Requests:
    names = tuple(sorted({name for _, name in calls}))
    times = sorted(calls)
    tenant = np.array([names.index(name) for _, name in times], np.int32)
    return Requests(names, tenant, np.array([MONDAY + at for at, _ in times]), np.full(len(names), 5e6))


def test_calls_fall_into_their_hour_of_the_week() -> None:
    # Two weeks; b calls 60 times in the hour from Tuesday 10:00, each week.
    hour = (24 + 10) * 3600
    b = [(week * 604_800 + hour + n * 60.0, "b") for week in range(2) for n in range(60)]
    workload = workload_from_trace(trace((0.0, "a"), *b, (1_209_599.0, "a")), np.ones(2), skip_days=0)
    assert workload.calls_by_hour[1, 34] == pytest.approx(60)
    assert workload.calls_by_hour[1].sum() == pytest.approx(60)
    assert workload.peak_per_second[1] == pytest.approx(60 / 3600)
    assert workload.calls_per_day[1] == pytest.approx(120 / 14, rel=1e-3)


def test_a_sliver_of_an_hour_makes_no_peak() -> None:
    # The trace ends with a call on the very start of an hour.
    calls = [(n * 60.0, "a") for n in range(121)]
    workload = workload_from_trace(trace(*calls), np.ones(1), skip_days=0)
    assert workload.peak_per_second[0] == pytest.approx(1 / 60, rel=0.02)


def test_hours_that_a_short_trace_lacks_are_like_those_of_other_days() -> None:
    requests = synthesize(SHAPES["fraud"], days=1, seed=4)
    workload = workload_from_trace(requests, requests.model_bytes / 1e6, skip_days=0)
    days = workload.calls_by_hour.sum(axis=0).reshape(7, 24)
    assert days == pytest.approx(np.tile(days[0], (7, 1)))
    assert days[0].sum() == pytest.approx(len(requests), rel=0.01)


def test_some_of_the_tenants_keep_their_own_calls() -> None:
    requests = synthesize(SHAPES["fraud"], days=0.2, seed=4)
    whole = workload_from_trace(requests, requests.model_bytes / 1e6, skip_days=0)
    chosen = np.arange(len(whole.tenants)) % 3 == 0
    part = whole.only(chosen)
    rest = whole.only(~chosen)
    assert len(part.requests) + len(rest.requests) == len(requests)
    assert part.tenants == tuple(np.array(whole.tenants)[chosen])
    assert part.requests.requests_per_tenant().tolist() == requests.requests_per_tenant()[chosen].tolist()
    traffic = part.traffic().calls_per_hour
    assert sum(traffic[part.tenants[0]]) == pytest.approx(part.calls_by_hour[0].sum() / 7)
    assert part.calls_by_hour.shape == (len(part.tenants), HOURS_OF_WEEK)


@pytest.mark.parametrize(
    ("requests", "skip_days", "message"),
    [
        (requests_of([0, 1, 0]), 30.0, "the first 30 are skipped; skip fewer"),
        (trace((5.0, "a")), 0.0, "all requests have the same time"),
    ],
)
def test_a_trace_with_nothing_to_count_is_refused(requests: Requests, skip_days: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        workload_from_trace(requests, np.ones(len(requests.tenants)), skip_days=skip_days)


def test_sizes_are_model_files_unless_they_are_said_to_be_packed() -> None:
    given = np.array([50e6, np.nan])
    assert model_megabytes(("a", "b"), given, 30.0).tolist() == [50.0, 30.0]
    assert model_megabytes(("a", "b"), given, 30.0, 0.5).tolist() == [100.0, 60.0]
    with pytest.raises(InputError, match="the size of 1 of 2 models is not known, such as b's"):
        model_megabytes(("a", "b"), given, None)


_CALLS = st.lists(st.tuples(st.floats(0, 40 * 3600.0), st.integers(0, 6)), min_size=2, max_size=60)


def _from(calls: list[tuple[float, int]]) -> Requests:
    calls = sorted(calls)
    return requests_of([who for _, who in calls], [MONDAY + at for at, _ in calls], count=7)


@given(_CALLS, st.floats(0, 1), st.integers(1, 70))
def test_a_stretch_has_the_counted_hour_in_which_the_most_tenants_call(
    calls: list[tuple[float, int]], skipped: float, most: int
) -> None:
    requests = _from(calls)
    first, last = float(requests.seconds[0]), float(requests.seconds[-1])
    counted_from = min(first + skipped * (last - first), last)
    part, counts_from = busiest_stretch(requests, counted_from, most)
    assert len(part) == min(most, len(requests))
    assert np.shares_memory(part.seconds, requests.seconds)
    assert counts_from >= counted_from
    assert part.seconds[-1] >= counts_from
    tenants: dict[float, set[int]] = {}
    for at, who in zip(requests.seconds.tolist(), requests.tenant.tolist(), strict=True):
        if at >= counted_from:
            tenants.setdefault(at // 3600, set()).add(who)
    greatest = max(map(len, tenants.values()))
    begins = [
        min(at for at in requests.seconds.tolist() if at >= counted_from and at // 3600 == hour)
        for hour, callers in tenants.items()
        if len(callers) == greatest
    ]
    assert any(counts_from <= begin <= part.seconds[-1] for begin in begins)


def test_the_calls_before_the_busiest_hour_of_a_stretch_fill_the_caches() -> None:
    # Seven tenants call in the 50th hour, one in the others.
    calls = [(3600.0 * hour + second, 0) for hour in range(100) for second in range(10)]
    requests = _from([*calls, *((49 * 3600.0 + 20 + who, who) for who in range(7))])
    part, counts_from = busiest_stretch(requests, MONDAY, 90)
    assert counts_from == MONDAY + 49 * 3600
    assert requests.index_at(counts_from) - requests.index_at(float(part.seconds[0])) == 30


# Whole seconds and powers of two: no call moves to another hour by rounding.
@given(st.lists(st.tuples(st.integers(0, 144_000), st.integers(0, 6)), max_size=60), st.sampled_from([0.5, 2.0, 4.0]))
def test_busier_traffic_is_the_same_calls_in_a_shorter_time(calls: list[tuple[int, int]], factor: float) -> None:
    requests = _from([(0, 0), *calls, (144_000, 6)])
    workload = workload_from_trace(requests, np.ones(7), skip_days=0.1)
    busier = workload.busier(factor)
    assert busier.requests is requests
    first = float(requests.seconds[0])
    faster = workload_from_trace(
        replace(requests, seconds=first + (requests.seconds - first) / factor), np.ones(7), skip_days=0.1 / factor
    )
    assert busier.calls_per_day.tolist() == (factor * workload.calls_per_day).tolist()
    assert busier.peak_per_second == pytest.approx(faster.peak_per_second)
    assert busier.peak_together_per_second == pytest.approx(faster.peak_together_per_second)
    part, counts_from = busier.followed
    assert part.seconds == pytest.approx(faster.requests.seconds, abs=1e-5)
    assert counts_from == pytest.approx(faster.counted_from_seconds, abs=1e-5)


def test_a_size_above_a_terabyte_is_an_error_that_names_it() -> None:
    words = r"1 of 2 models is above 1,000,000 MB, such as b's of 1e\+294 MB"
    with pytest.raises(InputError, match=words):
        model_megabytes(("a", "b"), np.array([5e6, 1e300]), None)
    with pytest.raises(InputError, match=words):
        _resident(("a", "b"), np.array([5e6, 1e300]), None)
    with pytest.raises(InputError, match="2 of 2 models"):
        _resident(("a", "b"), np.ones(2), 1e300)
