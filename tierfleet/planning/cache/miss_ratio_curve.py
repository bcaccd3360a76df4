"""The miss-ratio curve of an LRU cache of models: every capacity at once, exact, from one pass over a trace.

What is exact. The cache holds whole models. A request for a model that is not in it loads it: the least recently used
models are evicted, one after the other, until it fits. A model that is bigger than the whole cache is never admitted
and evicts nothing. For capacities that hold the biggest model this is a stack algorithm, also with unequal sizes: the
cache holds exactly those models for which they and all more recently used ones fit into it together. (A model enters
at the top. What lies above another model only grows until that one is requested again, and the eviction takes from
the bottom until the rest fits, so both sides keep the same models.) So a request hits if, and only if, its stack
distance in bytes is at most the capacity, and one histogram of distances holds all capacities.

Below the biggest model the curve of one pass does not hold, and such a cache can hit less with more memory: once a big
model is admitted, it evicts many. `MissRatioCurve` answers there too, with one simulation per capacity.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.lru import CacheFleet, Simulation, simulate
from tierfleet.planning.cache.stack_distance import Stack, byte_pass, byte_stack, distances_now, unit_pass, unit_stack
from tierfleet.planning.traffic.requests import Progress, Requests, whole_bytes

# A histogram of distances has at most this many bins: 32 MiB.
_MOST_BINS = 1 << 22
_CHUNK = 1 << 20


@dataclass(frozen=True)
class MissRatioCurve:
    """Hit ratio and evictions of LRU caches at any capacity in MiB per instance, over the counted part of a trace.

    counted_from: the index of the first request that counts; earlier ones fill the cache.
    instance_of: the instance of each tenant; all 0 for one cache.
    granule_bytes: capacities are rounded down to multiples of it, and exact there. It is one model where all have one
        size, else the smallest power of two that makes all models together at most 4 million granules.
    hits: int64, hits[n] of the counted requests hit in caches of n granules.
    cold_misses: counted requests for a tenant that was never requested before; no capacity avoids them.
    distances_before, distances_after: bytes that each seen model needs to be cached, ascending; at both ends of the
        counted part.
    """

    requests: Requests
    resident_mib: NDArray[np.float64]
    counted_from: int
    instance_of: NDArray[np.int16]
    granule_bytes: int
    hits: NDArray[np.int64]
    cold_misses: int
    distances_before: NDArray[np.int64]
    distances_after: NDArray[np.int64]

    @property
    def counted(self) -> int:
        """How many requests the curve is about."""
        return len(self.requests) - self.counted_from

    @property
    def largest_model_mib(self) -> float:
        return float(whole_bytes(self.resident_mib).max()) / 2**20

    def hit_ratio(self, capacity_mib: float) -> float:
        """The share of the counted requests that find their model in memory; 0 to 1."""
        if capacity_mib < self.largest_model_mib:
            return self._below_the_largest(capacity_mib).hit_ratio if capacity_mib > 0 else 0.0
        return float(self.hits[self._granules(capacity_mib)]) / self.counted

    def evictions_per_hour(self, capacity_mib: float) -> float:
        """Unloads per hour of the counted part, over all instances. NaN if that part is a single instant."""
        hours = float(self.requests.seconds[-1] - self.requests.seconds[self.counted_from]) / 3600
        if hours == 0:
            return float("nan")
        if capacity_mib < self.largest_model_mib:
            return self._below_the_largest(capacity_mib).evictions / hours if capacity_mib > 0 else 0.0
        granules = self._granules(capacity_mib)
        ends = (self.distances_after, self.distances_before)
        after, before = (int(np.searchsorted(end, granules * self.granule_bytes, "right")) for end in ends)
        entered = self.counted - int(self.hits[granules])
        return (entered - (after - before)) / hours

    def _granules(self, capacity_mib: float) -> int:
        # A capacity that was computed as so many models of equal size means that many.
        return min(int(capacity_mib * 2**20 / self.granule_bytes * (1 + 1e-12)), len(self.hits) - 1)

    def _below_the_largest(self, capacity_mib: float) -> Simulation:
        fleet = CacheFleet(memory_mib=capacity_mib, instances=int(self.instance_of.max()) + 1)
        return simulate(
            self.requests,
            self.resident_mib,
            fleet,
            instance_of=self.instance_of,
            counted_from_seconds=float(self.requests.seconds[self.counted_from]),
        )


def miss_ratio_curve(
    requests: Requests,
    resident_mib: NDArray[np.float64],
    *,
    counted_from_seconds: float | None = None,
    instance_of: NDArray[np.int16] | None = None,
    progress: Progress | None = None,
) -> MissRatioCurve:
    """Compute the curve in one pass.

    resident_mib: memory of each tenant's loaded model. counted_from_seconds: Unix time; earlier requests only fill the
    caches. instance_of: the instance of each tenant (`routing`), if there are several; each is a cache of its own, all
    of one capacity. Raises ValueError for bad arguments.
    """
    size_bytes = whole_bytes(resident_mib)
    if len(size_bytes) != len(requests.tenants):
        raise ValueError(f"{len(size_bytes)} model sizes for {len(requests.tenants)} tenants")
    if instance_of is None:
        instance_of = np.zeros(len(requests.tenants), np.int16)
    first = 0 if counted_from_seconds is None else requests.index_at(counted_from_seconds)
    if first == len(requests):
        raise ValueError("no request is left to count: counted_from_seconds lies after the last one")
    one_size = bool((size_bytes == size_bytes[0]).all())
    all_bytes = int(size_bytes.sum())
    shift = 0 if one_size else max((all_bytes - 1).bit_length() - _MOST_BINS.bit_length() + 1, 0)
    bins = len(size_bytes) if one_size else ((all_bytes - 1) >> shift) + 1
    counts = np.zeros(bins + 1, np.int64)
    make = unit_stack if one_size else byte_stack
    stacks = [make(len(size_bytes)) for _ in range(int(instance_of.max()) + 1)]
    before = np.zeros(0, np.int64)
    edges = sorted({0, first, len(requests), *range(0, len(requests), _CHUNK)})
    for start, end in pairwise(edges):
        if start == first:
            counts[:] = 0
            before = _distances(stacks, size_bytes)
        chunk = np.asarray(requests.tenant[start:end])
        for stack, own in zip(stacks, _by_instance(chunk, instance_of, len(stacks)), strict=True):
            if one_size:
                unit_pass(own, stack, counts)
            else:
                byte_pass(own, size_bytes, stack, shift, counts)
        if progress is not None:
            progress(end - start)
    cold_misses, counts[0] = int(counts[0]), 0
    return MissRatioCurve(
        requests=requests,
        resident_mib=resident_mib,
        counted_from=first,
        instance_of=instance_of,
        granule_bytes=int(size_bytes[0]) if one_size else 1 << shift,
        hits=np.cumsum(counts),
        cold_misses=cold_misses,
        distances_before=before,
        distances_after=_distances(stacks, size_bytes),
    )


def _by_instance(tenant: NDArray[np.int32], instance_of: NDArray[np.int16], instances: int) -> list[NDArray[np.int32]]:
    """The requests of each instance, in order."""
    if instances == 1:
        return [tenant]
    # Small numbers are sorted much faster.
    homes = instance_of.astype(np.uint8 if instances <= 256 else np.uint16)[tenant]
    order = np.argsort(homes, kind="stable")
    counts = np.bincount(homes, minlength=instances)
    return np.split(tenant[order], np.cumsum(counts)[:-1])


def _distances(stacks: list[Stack], size_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sort(np.concatenate([distances_now(stack, size_bytes) for stack in stacks]))
