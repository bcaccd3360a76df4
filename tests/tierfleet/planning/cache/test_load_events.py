"""Loads call by call, held against a simulation in plain Python; bursts, and what they do to a plan."""

from dataclasses import replace

import numpy as np
import pytest
from brute_force import MIB, requests_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from workloads import PRICES, model, tiering

from benchmarks.planner_truth.simulation import Call, Machine, simulate
from local_cloud.testing.fleets import fleet
from tierfleet.instance_types import describe
from tierfleet.planning.cache.load_events import CallShares, LoadSteps, simulate_loads
from tierfleet.planning.cache.lru import CacheFleet, instance_by_hash
from tierfleet.planning.profiles.latency import Network, latency_of_events, load_steps
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.report.text import cold_p95_text
from tierfleet.planning.search.alternatives import sensitivity
from tierfleet.planning.search.call_times import loads_percentile
from tierfleet.planning.search.candidates import candidate_types
from tierfleet.planning.search.fleet_option import cold_p95_depends
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
) -> list[Call]:
    """The same in plain Python."""
    in_bytes = [size * MIB for size in sizes]
    machine = Machine(
        memory_bytes=int(fleet.memory_mib * MIB),
        disk_bytes=int(fleet.disk_mib * MIB),
        places=steps.loads_at_once,
        load=lambda who: float(steps.load[who]),
        from_disk=lambda who: float(steps.from_disk[who]),
        from_s3=lambda who: max(0.25 + 2.0 * float(steps.fetch[who]) + 0.5, float(steps.from_disk[who])),
    )
    calls = zip(requests.tenant.tolist(), requests.seconds.tolist(), strict=True)
    return simulate(calls, owners.tolist(), machine, in_bytes, in_bytes)


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
    events = simulate_loads(requests, np.array(sizes, float), fleet, steps)
    plain = _plainly(requests, sizes, fleet, steps, owners)
    outcomes = [call.outcome for call in plain]
    shares = [outcomes.count(name) / len(calls) for name in ("warm", "waiting", "disk", "s3")]
    assert _as_tuple(events.shares) == pytest.approx(shares)
    beside = [sum(call.outcome == "warm" and call.loads_beside == n for call in plain) for n in range(places + 1)]
    assert shares[0] == 0 or events.beside == pytest.approx(np.array(beside) / sum(beside))
    for who in range(len(loads)):
        of_tenant = [call for call in plain if call.tenant == who]
        counts = [sum(call.outcome == name for call in of_tenant) for name in ("warm", "waiting", "disk", "s3")]
        assert events.by_tenant[who, :4].tolist() == counts
        waits = [call.wait_seconds for call in of_tenant]
        assert events.waited_by_tenant[who] == pytest.approx([sum(waits), max(waits, default=0.0)])
    for name, outcome in (("waiting", "waiting"), ("disk", "disk"), ("cold", "s3")):
        waits = np.sort([call.wait_seconds for call in plain if call.outcome == outcome])
        if len(waits):
            middle_of_each = (np.arange(len(waits)) + 0.5) / len(waits)
            answers = getattr(events, name)(middle_of_each)
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


def test_a_nightly_burst_waits_for_minutes() -> None:
    requests, model_mb, network = nightly(1200, 8, 20.0), np.full(1200, 40.0), Network()
    profile, machine = load_profiles()["stock"], describe("ml.m5.large")
    fleet = CacheFleet(memory_mib=profile.model_memory_mib(machine.memory_gib), disk_mib=27_000, instances=2)
    steps = load_steps(profile, model_mb, vcpus=machine.vcpus, network=network)
    resident = np.full(1200, profile.resident_mib(40.0))
    events = simulate_loads(requests, resident, fleet, steps, counted_from_seconds=86_400.0)
    times = latency_of_events(profile, model_mb, events, vcpus=machine.vcpus, network=network)
    # The figure of another event simulation of the same profile.
    assert loads_percentile(times, 95) == pytest.approx(787.0, rel=0.05)


def test_a_running_load_slows_the_warm_calls_next_to_it() -> None:
    profile, network = load_profiles()["stock"], Network()
    # One model is called all the time; the other 20 come in turn and always load.
    tenants = [who for number in range(200) for who in (0, 1 + number % 20)]
    requests = requests_of(tenants, [0.5 * number for number in range(400)], count=21)
    model_mb = np.full(21, 40.0)
    steps = load_steps(profile, model_mb, vcpus=2, network=network)
    resident = np.full(21, profile.resident_mib(40.0))
    events = simulate_loads(requests, resident, CacheFleet(memory_mib=10 * resident[0]), steps)
    assert events.beside[2] > 0.5
    two, many = (
        latency_of_events(profile, model_mb, events, vcpus=vcpus, network=network, weights=np.eye(21)[0])
        for vcpus in (2, 64)
    )
    assert np.percentile(two.warm, 95) > 1.2 * np.percentile(many.warm, 95)


def test_calls_that_come_in_a_burst_to_one_model_wait_for_its_load_and_are_no_hits() -> None:
    requests = requests_of([0] * 10 + [1], [0.1 * number for number in range(10)] + [100.0], count=2)
    outcome = simulate_loads(requests, np.ones(2), CacheFleet(memory_mib=10), _steps([3.0, 3.0], 1))
    assert _as_tuple(outcome.shares) == pytest.approx((0, 9 / 11, 0, 2 / 11))
    [shortest, longest] = outcome.waiting(np.array([0.0, 1.0]))
    assert shortest == pytest.approx(3.75 - 0.9, rel=0.02)
    assert longest == pytest.approx(3.75 - 0.1, rel=0.02)


def test_a_plan_from_a_trace_sees_the_burst_that_an_hours_mean_hides() -> None:
    requests = nightly(1200, 8, 20.0)
    workload = workload_from_trace(requests, np.full(1200, 40.0), skip_days=1)
    fleet_model = model(workload, cold_p95_seconds=15.0)
    few = fleet_model.evaluate(fleet_model.option(describe("ml.m5.large"), 2, frozenset()))
    assert few.cold_p95_seconds > 700
    assert not few.meets
    [times] = latencies(fleet_model, few, "whale")
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
    three = planned.in_every_placement(planned.evaluate(planned.option(describe("ml.m5.large"), 3, frozenset())))
    two = planned.in_every_placement(planned.evaluate(option))
    [lost] = [case for case in sensitivity(planned, three) if case.what == "one instance lost"]
    assert two.hit_ratio_range is not None
    assert lost.hit_ratio == two.hit_ratio == pytest.approx(two.hit_ratio_range[0], abs=1e-3)
    assert lost.change == pytest.approx(two.hit_ratio - three.hit_ratio)
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
        place = search(
            model(workload, cold_p95_seconds=30.0),
            tiering(workload),
            Bounds(types=CANDIDATES, min_instances=2, max_instances=8),
        )
        answers.add((place.best.name, place.best.hit_ratio_range is not None))
    assert len(answers) == 1


def test_what_meets_everything_meets_it_in_every_placement() -> None:
    random = np.random.default_rng(4)
    popularity = np.arange(1, 41) ** -1.5
    tenants = random.choice(40, 20_000, p=popularity / popularity.sum())
    requests = requests_of(tenants.tolist(), np.sort(86_400 * random.random(20_000)).tolist(), count=40)
    fleet_model = model(workload_from_trace(requests, np.full(40, 40.0), skip_days=0.1))
    option = fleet_model.evaluate(fleet_model.option(describe("ml.m5.large"), 2, frozenset()))
    worst = fleet_model.in_every_placement(option)
    low, high = worst.hit_ratio_range
    assert low == worst.hit_ratio <= option.hit_ratio <= high
    assert low < high
    [times] = latencies(fleet_model, worst, "whale")
    assert times.warm.share == pytest.approx(worst.hit_ratio, abs=0.01)
    one = fleet_model.evaluate(fleet_model.option(describe("ml.m5.large"), 1, frozenset()))
    assert fleet_model.in_every_placement(one) is one


def test_a_burst_has_a_range_of_cold_p95_by_placement_and_the_plan_says_why() -> None:
    """1,200 models fill ten instances: where chance gives one a few more than it holds, its calls wait much longer."""
    requests = nightly(1200, 8, 20.0)
    workload = workload_from_trace(requests, np.full(1200, 40.0), skip_days=1)
    fleet_model = model(workload, cold_p95_seconds=15.0)
    first = fleet_model.evaluate(fleet_model.option(describe("ml.r5.xlarge"), 10, frozenset()))
    assert first.meets
    assert first.cold_p95_seconds == pytest.approx(9.8, abs=0.5)
    worst = fleet_model.in_every_placement(first)
    low, high = worst.cold_p95_range
    assert low < 6
    assert high > 15
    assert worst.failures == (f"cold p95 {high:.3g} s, required 15 s",)
    assert cold_p95_depends(worst)
    assert cold_p95_text(worst, high) == f"{high:.3g} s ({low:.3g} s to {high:.3g} s by placement)"
    assert cold_p95_text(replace(worst, cold_p95_range=(high, high)), high) == f"{high:.3g} s"
