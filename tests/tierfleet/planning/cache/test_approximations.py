"""Che's approximation, sessions and bounds, held against exact answers."""

import itertools

import numpy as np
import pytest
from brute_force import requests_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tierfleet.planning.cache.bounds import belady, resource_bound, static_optimum
from tierfleet.planning.cache.che import che, che_per_instance
from tierfleet.planning.cache.lru import instance_by_hash
from tierfleet.planning.cache.miss_ratio_curve import miss_ratio_curve
from tierfleet.planning.traffic.rates import rates_of, steady_rates
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.shapes import varied, zipf_shape
from tierfleet.planning.traffic.synthesize import synthesize

SHAPE = zipf_shape(1000, 100_000, 0.8)
BURSTS = Sessions(calls=3, mean_gap_seconds=120)


@pytest.fixture(scope="module")
def traces():
    return {sessions: synthesize(SHAPE, days=6, seed=5, sessions=sessions) for sessions in (INDEPENDENT, BURSTS)}


@pytest.mark.parametrize("sessions", [INDEPENDENT, BURSTS])
@pytest.mark.parametrize("unequal", [False, True])
def test_che_agrees_with_simulated_traffic(traces, sessions, unequal):
    requests = traces[sessions]
    sizes = np.random.default_rng(1).uniform(50, 400, 1000) if unequal else np.full(1000, 100.0)
    curve = miss_ratio_curve(requests, sizes, counted_from_seconds=requests.seconds[0] + 86400)
    rates = steady_rates(SHAPE.tenants, SHAPE.requests_per_day * SHAPE.tenant_shares(), sessions=sessions)
    for share in (0.05, 0.2, 0.5, 0.9):
        capacity = float(sizes.sum()) * share
        assert che(rates, sizes, capacity).hit_ratio == pytest.approx(curve.hit_ratio(capacity), abs=0.01)


def test_che_per_instance_agrees_with_the_curve_per_instance(traces):
    requests = traces[BURSTS]
    instance_of = instance_by_hash(requests.tenants, 3)
    curve = miss_ratio_curve(requests, np.ones(1000), instance_of=instance_of)
    rates = steady_rates(SHAPE.tenants, SHAPE.requests_per_day * SHAPE.tenant_shares(), sessions=BURSTS)
    assert che_per_instance(rates, np.ones(1000), 100, instance_of) == pytest.approx(curve.hit_ratio(100), abs=0.01)


def test_che_knows_that_a_model_may_fit_no_cache_and_that_all_may_fit():
    rates = steady_rates(("a", "b", "c"), np.array([100.0, 100.0, 0.0]))
    small = che(rates, np.array([10.0, 1.0, 1.0]), 5)
    assert small.tenant_hit_ratios.tolist() == [0, 1, 0]
    assert small.hit_ratio == 0.5
    assert che(rates, np.ones(3), 3).loads_per_hour == 0


@pytest.mark.parametrize("sessions", [INDEPENDENT, BURSTS])
def test_sessions_are_found_in_a_trace(traces, sessions):
    estimated = rates_of(traces[sessions]).sessions
    assert estimated.calls == pytest.approx(sessions.calls, rel=0.1)
    if sessions.calls > 1:
        assert estimated.mean_gap_seconds == pytest.approx(sessions.mean_gap_seconds, rel=0.1)


def test_business_hours_do_not_pass_for_bursts():
    requests = synthesize(varied("fraud", requests_per_day=20_000), days=21, seed=2)
    rates = rates_of(requests)
    assert rates.sessions.calls < 1.3
    curve = miss_ratio_curve(requests, np.ones(70))
    for models in (12, 20, 40):
        assert che(rates, np.ones(70), models).hit_ratio == pytest.approx(curve.hit_ratio(models), abs=0.015)


@given(st.floats(1, 50), st.floats(1, 5000), st.floats(1e-6, 1), st.floats(0.1, 1e6))
def test_the_hit_probability_is_the_slope_of_the_occupancy(calls, gap, rate, seconds):
    sessions, per_second = Sessions(calls, gap), np.array([rate])
    step = seconds * 1e-4
    risen = sessions.occupancy(per_second, seconds + step) - sessions.occupancy(per_second, seconds - step)
    slope = rate * (1 - sessions.gap_within(per_second, seconds))
    assert risen / (2 * step) == pytest.approx(slope, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(("calls", "gap"), [(0.5, 1), (2, 0), (float("nan"), 1), (2, -1), (2, float("inf"))])
def test_sessions_must_make_sense(calls, gap):
    with pytest.raises(ValueError, match=r"give (at least 1|a number)|need a mean gap"):
        Sessions(calls, gap)


def _best_by_trying_everything(tenants, capacity):
    """The most hits of any sequence of evictions."""
    caches = {frozenset(): 0}
    for tenant in tenants:
        following = {}
        for held, hits in caches.items():
            if tenant in held:
                choices = [(held, hits + 1)]
            elif len(held) < capacity:
                choices = [(held | {tenant}, hits)]
            else:
                choices = [((held - {evicted}) | {tenant}, hits) for evicted in held]
            for new, score in choices:
                following[new] = max(following.get(new, 0), score)
        caches = following
    return max(caches.values())


@settings(max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 4))
def test_belady_is_the_best_there_is_and_the_resource_bound_is_above_it(tenants, capacity):
    requests = requests_of(tenants, count=7)
    best = _best_by_trying_everything(tenants, capacity) / len(tenants)
    assert belady(requests, capacity) == pytest.approx(best)
    assert resource_bound(requests, np.ones(7), np.array([float(capacity)]))[0] >= best - 1e-12
    assert miss_ratio_curve(requests, np.ones(7)).hit_ratio(capacity) <= best + 1e-12


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=8), st.integers(1, 100))
def test_the_static_optimum_misses_the_best_set_by_one_model_at_most(models, capacity):
    counts, sizes = np.array([c for c, _ in models], float) + 1, np.array([s for _, s in models], float)
    best = max(
        counts[list(chosen)].sum()
        for count in range(len(models) + 1)
        for chosen in itertools.combinations(range(len(models)), count)
        if sizes[list(chosen)].sum() <= capacity
    )
    bound = static_optimum(counts, sizes, capacity) * counts.sum()
    assert best - counts.max() - 1e-9 <= bound <= best + 1e-9
    if len(set(sizes)) == 1:
        assert bound == pytest.approx(best)
