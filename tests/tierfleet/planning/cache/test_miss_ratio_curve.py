"""The one-pass curve is an LRU cache, at every capacity."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from brute_force import MIB, PlainCache, requests_of, sized_traces
from hypothesis import given, settings
from hypothesis import strategies as st

from tierfleet.planning.cache.miss_ratio_curve import miss_ratio_curve
from tierfleet.planning.traffic.shapes import zipf_shape
from tierfleet.planning.traffic.synthesize import synthesize


@settings(max_examples=200)
@given(sized_traces, st.integers(0, 119))
def test_equals_brute_force_lru_at_every_capacity(trace, first):
    sizes, tenants = trace
    first = min(first, len(tenants) - 1)
    requests = requests_of(tenants, count=len(sizes))
    curve = miss_ratio_curve(requests, np.array(sizes) / MIB, counted_from_seconds=float(first))
    step = curve.granule_bytes
    for capacity in range(step, sum(sizes) + 2 * step, step):
        cache = PlainCache(capacity)
        hits = evictions = 0
        for index, tenant in enumerate(tenants):
            before = len(cache.evicted)
            hit = cache.request(tenant, sizes[tenant])
            hits += hit and index >= first
            evictions += (len(cache.evicted) - before) * (index >= first)
        assert curve.hit_ratio(capacity / MIB) * curve.counted == pytest.approx(hits)
        hours = (len(tenants) - 1 - first) / 3600
        if hours:
            assert curve.evictions_per_hour(capacity / MIB) * hours == pytest.approx(evictions)
    assert curve.cold_misses == len(set(tenants[first:]) - set(tenants[:first]))


@settings(max_examples=25)
@given(sized_traces, st.integers(1, 3))
def test_instances_are_caches_of_their_own(trace, instances):
    sizes, tenants = trace
    requests = requests_of(tenants, count=len(sizes))
    instance_of = (np.arange(len(sizes)) % instances).astype(np.int16)
    curve = miss_ratio_curve(requests, np.array(sizes) / MIB, instance_of=instance_of)
    for capacity in range(max(sizes), sum(sizes) + 1, curve.granule_bytes):
        capacity -= capacity % curve.granule_bytes
        caches = [PlainCache(capacity) for _ in range(instances)]
        hits = sum(caches[instance_of[tenant]].request(tenant, sizes[tenant]) for tenant in tenants)
        if capacity >= max(sizes):
            assert curve.hit_ratio(capacity / MIB) * len(tenants) == pytest.approx(hits)


def _zipf(tenants: int, count: int, seed: int) -> list[int]:
    weights = np.arange(1, tenants + 1) ** -0.8
    return np.random.default_rng(seed).choice(tenants, count, p=weights / weights.sum()).tolist()


@pytest.mark.parametrize("largest", [1, 1000])
def test_stays_exact_when_the_stack_is_moved_together_many_times(largest):
    # 1,500 tenants have 8,192 slots: 60,000 requests use them up about nine times.
    tenants = _zipf(1500, 60_000, seed=1)
    sizes = np.random.default_rng(2).integers(1, largest + 1, 1500)
    curve = miss_ratio_curve(requests_of(tenants, count=1500), sizes / MIB)
    capacity = int(sizes.sum()) // 5
    held, used, hits = {}, 0, 0
    for tenant in tenants:
        if tenant in held:
            hits += 1
            del held[tenant]
        else:
            used += int(sizes[tenant])
            while used > capacity:
                oldest = next(iter(held))
                used -= int(sizes[oldest])
                del held[oldest]
        held[tenant] = None
    assert curve.hit_ratio(capacity / MIB) == hits / len(tenants)


def test_one_size_counts_models_and_agrees_with_the_sized_curve():
    tenants = _zipf(300, 20_000, seed=3)
    requests = requests_of(tenants, count=300)
    same = miss_ratio_curve(requests, np.full(300, 247.0))
    almost = np.full(300, 247.0)
    almost[0] += 1 / MIB
    sized = miss_ratio_curve(requests, almost)
    assert same.granule_bytes == 247 * MIB
    for models in (1, 7, 100, 299):
        # Room for the one byte more, and for rounding down to a granule.
        assert sized.hit_ratio(models * 247.0 + 0.1) == pytest.approx(same.hit_ratio(models * 247.0), abs=1e-12)


def test_a_model_bigger_than_the_cache_is_never_admitted_and_evicts_nothing():
    # The big model 0 comes between every two requests for 1; in a cache of 5 bytes, 1 stays.
    requests = requests_of([1, 0] * 50)
    curve = miss_ratio_curve(requests, np.array([10, 3]) / MIB)
    assert curve.hit_ratio(5 / MIB) == 49 / 100
    # Admitting it makes the bigger cache worse: each pushes the other out.
    assert curve.hit_ratio(10 / MIB) == 0
    assert curve.hit_ratio(13 / MIB) == 98 / 100


def test_large_sizes_are_exact_at_granules_and_rounded_down_between():
    tenants = _zipf(50, 3000, seed=5)
    sizes = np.random.default_rng(6).integers(10 * MIB, 900 * MIB, 50)
    curve = miss_ratio_curve(requests_of(tenants, count=50), sizes / MIB)
    assert curve.granule_bytes > 1
    assert int(sizes.sum()) / curve.granule_bytes <= 2**22
    capacity = int(5e9) // curve.granule_bytes * curve.granule_bytes
    cache = PlainCache(capacity)
    hits = sum(cache.request(tenant, int(sizes[tenant])) for tenant in tenants)
    assert curve.hit_ratio(capacity / MIB) == hits / 3000
    assert curve.hit_ratio((capacity + curve.granule_bytes - 1) / MIB) == hits / 3000


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_a_resident_size_that_is_none(size):
    with pytest.raises(ValueError, match=r"resident size of tenant 1 is .*; give a number above 0"):
        miss_ratio_curve(requests_of([0, 1]), np.array([1.0, size]))


def test_refuses_to_count_nothing():
    with pytest.raises(ValueError, match="no request is left to count"):
        miss_ratio_curve(requests_of([0, 1]), np.ones(2), counted_from_seconds=99.0)


# In a process of its own: libCacheSim brings an XGBoost library, which must not meet the one under test.
_LIBCACHESIM = """
import json, sys
import libcachesim
file, capacities = sys.argv[1], json.loads(sys.argv[2])
settings = libcachesim.ReaderInitParam(ignore_obj_size=True)
ratios = []
for capacity in capacities:
    reader = libcachesim.TraceReader(file, libcachesim.TraceType.ORACLE_GENERAL_TRACE, settings)
    ratios.append(libcachesim.LRU(capacity).process_trace(reader)[0])
print(json.dumps(ratios))
"""


@pytest.mark.skipif(
    find_spec("libcachesim") is None,
    reason="libcachesim has no wheel here; brute force runs",
)
def test_equals_libcachesim_on_equal_sizes(tmp_path):
    requests = synthesize(zipf_shape(2000, 50_000, 0.81), days=2, seed=7)
    trace = np.zeros(len(requests), [("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
    trace["id"], trace["size"], trace["next"] = requests.tenant + 1, 1, -2
    trace.tofile(tmp_path / "trace.oracleGeneral")
    capacities = [1, 2, 10, 100, 500, 1000, 1999, 2000]
    argument = json.dumps(capacities)
    answer = subprocess.run(
        [sys.executable, "-c", _LIBCACHESIM, tmp_path / "trace.oracleGeneral", argument],
        check=True,
        capture_output=True,
        text=True,
    )
    curve = miss_ratio_curve(requests, np.ones(2000))
    ours = [1 - curve.hit_ratio(capacity) for capacity in capacities]
    assert ours == pytest.approx(json.loads(answer.stdout.splitlines()[-1]), abs=1e-9)
