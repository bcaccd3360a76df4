"""The simulator: two levels, several instances, spill, warm-ups."""

import numpy as np
import pytest
from brute_force import MIB, PlainCache, requests_of, sized_traces
from hypothesis import given, settings
from hypothesis import strategies as st

from tierfleet.planning.cache.lru import CacheFleet, WarmUp, instance_by_hash, simulate


@settings(max_examples=100)
@given(sized_traces, st.integers(1, 80), st.integers(0, 200), st.integers(1, 3))
def test_equals_brute_force_with_disk_and_instances(trace, memory, disk, instances):
    sizes, tenants = trace
    requests = requests_of(tenants, count=len(sizes))
    artefacts = [3 * size for size in sizes]
    fleet = CacheFleet(memory_mib=memory / MIB, disk_mib=disk / MIB, instances=instances)
    owner = instance_by_hash(requests.tenants, instances)
    outcome = simulate(
        requests, np.array(sizes) / MIB, fleet, artefact_mib=np.array(artefacts) / MIB, instance_of=owner
    )
    memories = [PlainCache(memory) for _ in range(instances)]
    disks = [PlainCache(disk) for _ in range(instances)]
    expected = np.zeros((len(sizes), 3), int)
    ages, last = [], {}
    for now, tenant in enumerate(tenants):
        in_memory, on_disk = memories[owner[tenant]], disks[owner[tenant]]
        before = len(in_memory.evicted)
        hit = in_memory.request(tenant, sizes[tenant])
        # What is in memory is not fetched again only because its file is gone.
        was_on_disk = tenant in on_disk.held if hit else on_disk.request(tenant, artefacts[tenant])
        if hit and was_on_disk:
            on_disk.request(tenant, artefacts[tenant])
        expected[tenant, 0 if hit else 1 if was_on_disk else 2] += 1
        ages += [now - last[evicted] for evicted in in_memory.evicted[before:]]
        last[tenant] = now
    assert (outcome.per_tenant == expected).all()
    assert outcome.evictions == len(ages)
    if ages:
        assert outcome.mean_age_at_eviction_seconds == pytest.approx(np.mean(ages))
        assert outcome.least_age_at_eviction_seconds == min(ages)
    held = sum(sum(cache.held.values()) for cache in memories)
    assert outcome.resident_mib * MIB == pytest.approx(held)


def test_random_routing_fills_every_instance_with_the_same_models():
    tenants = np.random.default_rng(0).integers(0, 40, 20_000).tolist()
    sizes = np.ones(40)
    affine = CacheFleet(memory_mib=20, instances=2)
    random = CacheFleet(memory_mib=20, instances=2, routing="random")
    requests = requests_of(tenants, count=40)
    half = (np.arange(40) % 2).astype(np.int16)
    together = simulate(requests, sizes, affine, instance_of=half)
    apart = simulate(requests, sizes, random)
    assert together.hit_ratio > 0.99
    assert apart.hit_ratio == pytest.approx(0.5, abs=0.02)
    assert (apart.per_tenant == simulate(requests, sizes, random).per_tenant).all()
    assert (apart.per_tenant != simulate(requests, sizes, random, seed=1).per_tenant).any()


def test_spill_loads_a_second_copy():
    requests = requests_of([0] * 1000, count=1)
    none = simulate(requests, np.ones(1), CacheFleet(memory_mib=2, instances=2))
    some = simulate(requests, np.ones(1), CacheFleet(memory_mib=2, instances=2, spill_share=0.25))
    assert none.per_tenant.tolist() == [[999, 0, 1]]
    assert some.per_tenant.tolist() == [[998, 0, 2]]
    assert 200 < some.spilled < 300
    assert some.resident_mib == 2


def test_a_busy_instance_passes_requests_on():
    # Four calls at once, of 5 s each, on three instances with one place each: one finds all of them busy.
    requests = requests_of([0, 0, 0, 0, 0], seconds=[0, 0, 0, 0, 100])
    fleet = CacheFleet(memory_mib=1, instances=3, most_in_flight=1, warm_seconds=5, s3_seconds=5)
    outcome = simulate(requests, np.ones(1), fleet)
    assert outcome.per_tenant.tolist() == [[2, 0, 3]]
    assert outcome.spilled == 2
    assert outcome.all_busy == 1


def test_one_busy_instance_keeps_its_requests():
    requests = requests_of([0, 0, 0], seconds=[0, 0, 0])
    outcome = simulate(requests, np.ones(1), CacheFleet(memory_mib=1, most_in_flight=1, s3_seconds=9, warm_seconds=9))
    assert outcome.hit_ratio == pytest.approx(2 / 3)
    assert outcome.all_busy == 2


def test_a_warm_up_loads_at_its_time_and_is_not_counted():
    requests = requests_of([0, 1, 2, 0], seconds=[100, 101, 102, 103])
    warm_up = WarmUp(np.array([50.0, 101.5]), np.array([0, 2], np.int32))
    outcome = simulate(requests, np.ones(3), CacheFleet(memory_mib=3), warm_up=warm_up)
    assert outcome.per_tenant.tolist() == [[2, 0, 0], [0, 0, 1], [1, 0, 0]]
    # After the last request nothing is looked at any more.
    late = WarmUp(np.array([102.5]), np.array([2], np.int32))
    assert simulate(requests, np.ones(3), CacheFleet(memory_mib=3), warm_up=late).hit_ratio == 0.25


def test_hours_are_counted_apart():
    requests = requests_of([0, 0, 1, 0], seconds=[7200, 7300, 7400, 3 * 3600 + 1])
    outcome = simulate(requests, np.ones(2), CacheFleet(memory_mib=1))
    assert outcome.first_hour == 2
    assert outcome.per_hour.tolist() == [[1, 0, 2, 1], [0, 0, 1, 1]]
    assert outcome.hourly_hit_ratios == pytest.approx([1 / 3, 0])
    assert outcome.tenant_hit_ratios == pytest.approx([1 / 3, 0])
    assert outcome.evictions_per_hour == pytest.approx(2 / (3601 / 3600))


def test_what_comes_before_the_counted_part_only_fills_the_cache():
    requests = requests_of([0, 1, 2, 0, 1, 2])
    outcome = simulate(requests, np.ones(3), CacheFleet(memory_mib=2), counted_from_seconds=3)
    assert outcome.counted == 3
    assert outcome.evictions == 3
    assert outcome.hit_ratio == 0
    assert simulate(requests, np.ones(3), CacheFleet(memory_mib=3), counted_from_seconds=3).hit_ratio == 1


def test_says_everything_that_is_wrong_with_a_fleet_at_once():
    with pytest.raises(ValueError, match=r"memory_mib is 0; .*instances is 0; .*spill_share is 2"):
        CacheFleet(memory_mib=0, instances=0, spill_share=2)


def test_refuses_an_instance_that_does_not_exist():
    with pytest.raises(ValueError, match="one of 2 instances for each tenant"):
        simulate(
            requests_of([0, 1]),
            np.ones(2),
            CacheFleet(memory_mib=1, instances=2),
            instance_of=np.array([0, 2], np.int16),
        )
