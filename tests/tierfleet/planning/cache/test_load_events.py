"""Loads call by call, held against a simulation in plain Python; bursts, and what they do to a plan."""

from dataclasses import replace

import numpy as np
import pytest
from brute_force import MIB, PlainCache, requests_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from workloads import PRICES, model, tiering

from local_cloud.testing.fleets import fleet
from tierfleet.instance_types import describe
from tierfleet.planning.cache.load_events import CallShares, LoadSteps, simulate_loads
from tierfleet.planning.cache.lru import CacheFleet, instance_by_hash
from tierfleet.planning.profiles.latency import Network, latency_of_events, load_steps
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.search.alternatives import sensitivity
from tierfleet.planning.search.call_times import loads_percentile
from tierfleet.planning.search.candidates import candidate_types
from tierfleet.planning.search.search import Bounds, search
from tierfleet.planning.search.service_levels import latencies
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import workload_from_trace

CANDIDATES = candidate_types(fleet(region="us-east-1"), PRICES)[0]
_HALF_A_BIN = 2 ** (1 / 64)


def _steps(load: list[float], places: int, *, from_disk: float = 0.0, fetch: float = 0.0) -> LoadSteps:
    count = len(load)
    return LoadSteps(
        load=np.array(load),
        from_disk=np.full(count, from_disk),
        fetch=np.full(count, fetch),
        extract=np.full(count, 0.5),
        loads_at_once=places,
        first_byte=np.array([0.25]),
        slowdown=np.array([2.0]),
    )


def _plainly(
    requests: Requests, sizes: list[int], fleet: CacheFleet, steps: LoadSteps, owners: NDArray[np.int16]
) -> dict[str, list[float]]:
    """The wait of each call by class, in order."""
    memory = [PlainCache(int(fleet.memory_mib * MIB)) for _ in range(fleet.instances)]
    disk = [PlainCache(int(fleet.disk_mib * MIB)) for _ in range(fleet.instances)]
    free = [[0.0] * steps.loads_at_once for _ in range(fleet.instances)]
    ready: dict[int, float] = {}
    waits: dict[str, list[float]] = {"warm": [], "waiting": [], "disk": [], "cold": []}
    for who, now in zip(requests.tenant.tolist(), requests.seconds.tolist(), strict=True):
        on, size = int(owners[who]), sizes[who] * MIB
        was_in_memory = who in memory[on].held
        on_disk = (who in disk[on].held) if was_in_memory else disk[on].request(who, size)
        if was_in_memory and on_disk:
            disk[on].request(who, size)
        memory[on].request(who, size)
        if was_in_memory:
            wait = ready[who] - now
            waits["waiting" if wait > 0 else "warm"].append(max(wait, 0.0))
            continue
        fetched = 0.25 + 2.0 * float(steps.fetch[who]) + 0.5
        begin = now + (float(steps.from_disk[who]) if on_disk else max(fetched, float(steps.from_disk[who])))
        place = min(range(len(free[on])), key=lambda number: free[on][number])
        ready[who] = free[on][place] = max(begin, free[on][place]) + float(steps.load[who])
        waits["disk" if on_disk else "cold"].append(ready[who] - now)
    return waits


@settings(max_examples=150, deadline=None)
@given(
    loads=st.lists(st.floats(0.01, 20), min_size=1, max_size=10),
    calls=st.lists(st.tuples(st.integers(0, 9), st.floats(0, 3)), min_size=1, max_size=80),
    places=st.integers(1, 3),
    instances=st.integers(1, 3),
    memory_mib=st.integers(1, 30),
    disk_mib=st.integers(0, 60),
    data=st.data(),
)
def test_every_call_waits_as_long_as_in_a_plain_simulation(
    loads: list[float],
    calls: list[tuple[int, float]],
    places: int,
    instances: int,
    memory_mib: int,
    disk_mib: int,
    data: st.DataObject,
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=len(loads), max_size=len(loads)))
    tenants = [who % len(loads) for who, _ in calls]
    requests = requests_of(tenants, np.cumsum([gap for _, gap in calls]).tolist(), count=len(loads))
    fleet = CacheFleet(memory_mib=memory_mib, disk_mib=disk_mib, instances=instances)
    steps = _steps(loads, places, from_disk=0.75, fetch=0.125)
    owners = instance_by_hash(requests.tenants, instances)
    found = simulate_loads(requests, np.array(sizes, float), fleet, steps)
    expected = _plainly(requests, sizes, fleet, steps, owners)
    shares = CallShares(**{name: len(waits) / len(calls) for name, waits in expected.items()})
    assert _as_tuple(found.shares) == pytest.approx(_as_tuple(shares))
    for name in ("waiting", "disk", "cold"):
        waits = np.sort(expected[name])
        if len(waits):
            middle_of_each = (np.arange(len(waits)) + 0.5) / len(waits)
            answers = getattr(found, name)(middle_of_each)
            clear = waits > 1e-4  # below that all waits are in one bin
            assert answers[clear] == pytest.approx(waits[clear], rel=1.001 * (_HALF_A_BIN - 1))


def _as_tuple(shares: CallShares) -> tuple[float, ...]:
    return (shares.warm, shares.waiting, shares.disk, shares.cold)


def nightly(tenants: int, days: int, within_seconds: float) -> Requests:
    """Every tenant once a night, from 02:00 on, in another order each night."""
    random = np.random.default_rng(5)
    who = [random.permutation(tenants) for _ in range(days)]
    at = [86_400 * day + 7_200 + np.sort(within_seconds * random.random(tenants)) for day in range(days)]
    return requests_of(np.concatenate(who).tolist(), np.concatenate(at).tolist(), count=tenants)


@pytest.mark.parametrize(
    ("instance_type", "instances", "cold_p95_seconds"), [("ml.m5.large", 2, 787.0), ("ml.r5.xlarge", 10, 10.3)]
)
def test_a_nightly_burst_waits_for_minutes(instance_type: str, instances: int, cold_p95_seconds: float) -> None:
    requests, model_mb, network = nightly(1200, 8, 20.0), np.full(1200, 40.0), Network()
    profile, machine = load_profiles()["stock"], describe(instance_type)
    fleet = CacheFleet(memory_mib=profile.model_memory_mib(machine.memory_gib), disk_mib=27_000, instances=instances)
    steps = load_steps(profile, model_mb, vcpus=machine.vcpus, network=network)
    resident = np.full(1200, profile.resident_mib(40.0))
    events = simulate_loads(requests, resident, fleet, steps, counted_from_seconds=86_400.0)
    times = latency_of_events(profile, model_mb, events, network=network)
    # Figures of an independent event simulation of the same profile.
    assert loads_percentile(times, 95) == pytest.approx(cold_p95_seconds, rel=0.05)


def test_calls_that_come_in_a_burst_to_one_model_wait_for_its_load_and_are_no_hits() -> None:
    requests = requests_of([0] * 10 + [1], [0.1 * number for number in range(10)] + [100.0], count=2)
    found = simulate_loads(requests, np.ones(2), CacheFleet(memory_mib=10), _steps([3.0, 3.0], 1))
    assert _as_tuple(found.shares) == pytest.approx((0, 9 / 11, 0, 2 / 11))
    [shortest, longest] = found.waiting(np.array([0.0, 1.0]))
    assert shortest == pytest.approx(3.75 - 0.9, rel=0.02)
    assert longest == pytest.approx(3.75 - 0.1, rel=0.02)


def test_a_plan_from_a_trace_sees_the_burst_that_an_hours_mean_hides() -> None:
    requests = nightly(1200, 8, 20.0)
    workload = workload_from_trace(requests, np.full(1200, 40.0), skip_days=1)
    judge = model(workload, cold_p95_seconds=15.0)
    few = judge.evaluate(judge.option(describe("ml.m5.large"), 2, frozenset()))
    assert few.cold_p95_seconds > 700
    assert not few.meets
    [times] = latencies(judge, few, "whale")
    assert times.outside_share == pytest.approx(0.98, abs=0.02)
    by_rates = model(replace(workload, requests=None), cold_p95_seconds=15.0)
    hidden = by_rates.evaluate(by_rates.option(describe("ml.m5.large"), 2, frozenset()))
    assert hidden.cold_p95_seconds < 15


def test_circumstances_of_a_trace_come_from_passes_over_it() -> None:
    random = np.random.default_rng(3)
    popularity = np.arange(1, 301) ** -0.8
    tenants = random.choice(300, 20_000, p=popularity / popularity.sum())
    requests = requests_of(tenants.tolist(), np.sort(86_400 * random.random(20_000)).tolist(), count=300)
    workload = workload_from_trace(requests, np.full(300, 40.0), skip_days=0.1)
    planned = model(workload, min_hit_ratio=0.3)
    option = planned.option(describe("ml.m5.large"), 2, frozenset())
    cases = {case.what: case for case in sensitivity(planned, option)}
    assert cases["as planned"].hit_ratio == option.hit_ratio
    assert cases["as planned"].change == 0
    assert cases["one instance lost"].hit_ratio == planned.option(describe("ml.m5.large"), 1, frozenset()).hit_ratio
    assert cases["traffic x 2"].hit_ratio == pytest.approx(option.hit_ratio, abs=1e-9)
    assert cases["models x 1.5"].hit_ratio < option.hit_ratio
    assert {what for what, case in cases.items() if not case.exact} == {
        what for what in cases if what.startswith(("sessions", "independent"))
    }


@pytest.mark.parametrize("wrong", [{"loads_at_once": 0}, {"load": np.ones(2)}])
def test_steps_that_do_not_fit_the_trace_are_refused(wrong: dict[str, object]) -> None:
    steps = replace(_steps([1.0], 1), **wrong)
    with pytest.raises(ValueError, match=r"loads_at_once is 0|2 values of load for 1 tenants"):
        simulate_loads(requests_of([0]), np.ones(1), CacheFleet(memory_mib=10), steps)


def test_renamed_tenants_get_the_same_plan() -> None:
    requests = nightly(150, 6, 7_200.0)
    answers = set()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(150)
        names = tuple(sorted(f"{seed}-{number:03}" for number in range(150)))
        renamed = replace(requests, tenants=names, tenant=order[requests.tenant].astype(np.int32))
        workload = workload_from_trace(renamed, np.full(150, 40.0), skip_days=1)
        found = search(
            model(workload, cold_p95_seconds=30.0),
            tiering(workload),
            Bounds(types=CANDIDATES, min_instances=2, max_instances=8),
        )
        answers.add((found.best.name, found.best.hit_ratio_range is not None))
    assert len(answers) == 1


def test_what_meets_everything_meets_it_in_every_placement() -> None:
    random = np.random.default_rng(4)
    popularity = np.arange(1, 41) ** -1.5
    tenants = random.choice(40, 20_000, p=popularity / popularity.sum())
    requests = requests_of(tenants.tolist(), np.sort(86_400 * random.random(20_000)).tolist(), count=40)
    judge = model(workload_from_trace(requests, np.full(40, 40.0), skip_days=0.1))
    option = judge.evaluate(judge.option(describe("ml.m5.large"), 2, frozenset()))
    worst = judge.in_every_placement(option)
    low, high = worst.hit_ratio_range
    assert low == worst.hit_ratio <= option.hit_ratio <= high
    assert low < high
    [times] = latencies(judge, worst, "whale")
    assert times.warm.share == pytest.approx(worst.hit_ratio, abs=0.01)
    one = judge.evaluate(judge.option(describe("ml.m5.large"), 1, frozenset()))
    assert judge.in_every_placement(one) is one
