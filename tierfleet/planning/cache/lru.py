"""Simulate the cache of a multi-model endpoint at one size: memory and disk, instances, routing, spill, warm-ups.

`miss_ratio_curve` gives every size of one cache at once; this gives everything about one size. Each instance has its
own memory and its own disk. A model that is evicted from memory stays on disk; the disk evicts in the same way.
A model bigger than a level is never admitted to it.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache import lru_kernel
from tierfleet.planning.traffic.requests import Progress, Requests, whole_bytes

# Requests at once: 50 MB of a trace that may be larger than the memory.
_CHUNK: Final = 1 << 22
# Instance numbers are 16 bits wide.
_MOST_INSTANCES: Final = 32_767


@dataclass(frozen=True, kw_only=True)
class CacheFleet:
    """The instances of an endpoint, as caches.

    memory_mib, disk_mib: what each instance has for models. Without a disk every load is from S3.
    routing: `affinity` sends a model's requests to one instance (SageMaker does so while that instance is not busy);
        `random` sends each request anywhere, so that every instance holds the same popular models.
    spill_share: this share of the requests goes to the model's second instance instead, which loads its own copy.
    most_in_flight: an instance with that many requests under way passes further ones on: to the model's second
        instance, then to the next that is free. If all are busy the request stays. A request is under way for
        warm_seconds, disk_seconds or s3_seconds, by where its model was found.
    """

    memory_mib: float
    disk_mib: float = 0.0
    instances: int = 1
    routing: Literal["affinity", "random"] = "affinity"
    spill_share: float = 0.0
    most_in_flight: int | None = None
    warm_seconds: float = 0.0
    disk_seconds: float = 0.0
    s3_seconds: float = 0.0

    def __post_init__(self) -> None:
        wrong = []
        if not self.memory_mib > 0:
            wrong.append(f"memory_mib is {self.memory_mib}; give MiB above 0")
        if not self.disk_mib >= 0:
            wrong.append(f"disk_mib is {self.disk_mib}; give MiB, or 0 for no disk")
        if not 1 <= self.instances <= _MOST_INSTANCES:
            wrong.append(f"instances is {self.instances}; give 1 to {_MOST_INSTANCES}")
        if not 0 <= self.spill_share <= 1:
            wrong.append(f"spill_share is {self.spill_share}; give a share of 0 to 1")
        if self.most_in_flight is not None and self.most_in_flight < 1:
            wrong.append(f"most_in_flight is {self.most_in_flight}; give at least 1, or None")
        if wrong:
            raise ValueError("; ".join(wrong))


@dataclass(frozen=True)
class WarmUp:
    """Accesses that load models and are not counted, in time order: Unix seconds, and the index of the tenant."""

    seconds: NDArray[np.float64]
    tenant: NDArray[np.int32]


@dataclass(frozen=True)
class Simulation:
    """What the counted requests met.

    per_tenant: int64 [tenant, 3]: found in memory, on disk, in S3. per_hour: int64 [hour, 4], the same and evictions
    from memory, from the hour `first_hour` (hours since 1970) on.
    mean_age_at_eviction_seconds: since the evicted model's last request; None without evictions. The median comes from
    bins of 9 % width.
    resident_mib: what is in memory at the end, over all instances.
    """

    per_tenant: NDArray[np.int64]
    per_hour: NDArray[np.int64]
    first_hour: int
    duration_seconds: float
    evictions: int
    mean_age_at_eviction_seconds: float | None
    median_age_at_eviction_seconds: float | None
    least_age_at_eviction_seconds: float | None
    spilled: int
    all_busy: int
    resident_mib: float

    @property
    def counted(self) -> int:
        return int(self.per_tenant.sum())

    @property
    def hit_ratio(self) -> float:
        """The share of requests whose model was in memory."""
        return float(self.per_tenant[:, lru_kernel.FROM_MEMORY].sum()) / self.counted

    @property
    def disk_share(self) -> float:
        """The share of requests whose model was loaded from disk."""
        return float(self.per_tenant[:, lru_kernel.FROM_DISK].sum()) / self.counted

    @property
    def s3_share(self) -> float:
        """The share of requests whose model was fetched from S3."""
        return float(self.per_tenant[:, lru_kernel.FROM_S3].sum()) / self.counted

    @property
    def tenant_hit_ratios(self) -> NDArray[np.float64]:
        """One a tenant; NaN for one without counted requests."""
        return _shares(self.per_tenant[:, lru_kernel.FROM_MEMORY], self.per_tenant.sum(axis=1))

    @property
    def hourly_hit_ratios(self) -> NDArray[np.float64]:
        """One an hour; NaN for an hour without requests."""
        return _shares(self.per_hour[:, lru_kernel.FROM_MEMORY], self.per_hour[:, : lru_kernel.EVICTED].sum(axis=1))

    @property
    def evictions_per_hour(self) -> float:
        """Over the counted time; NaN if that is a single instant."""
        return self.evictions / (self.duration_seconds / 3600) if self.duration_seconds else float("nan")


def simulate(
    requests: Requests,
    resident_mib: NDArray[np.float64],
    fleet: CacheFleet,
    *,
    artefact_mib: NDArray[np.float64] | None = None,
    instance_of: NDArray[np.int16] | None = None,
    warm_up: WarmUp | None = None,
    counted_from_seconds: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Simulation:
    """Run a trace through empty caches.

    resident_mib: memory of each tenant's loaded model. artefact_mib: its room on disk; the same if not given.
    instance_of: the instance of each tenant under affinity; a hash of its name if not given.
    counted_from_seconds: Unix time; earlier requests fill the caches and are not counted.
    seed: of random routing and spill; the same seed gives the same result. Raises ValueError for bad arguments.
    """
    caches = caches_of(requests, resident_mib, resident_mib if artefact_mib is None else artefact_mib, fleet)
    first = 0 if counted_from_seconds is None else requests.index_at(counted_from_seconds)
    tally = tally_of(requests, first, seed)
    routing = lru_kernel.Routing(
        instance_of=_instances(requests, fleet, instance_of),
        spill_share=fleet.spill_share,
        busy_until=np.zeros((fleet.instances, fleet.most_in_flight or 0)),
        outcome_seconds=np.array([fleet.warm_seconds, fleet.disk_seconds, fleet.s3_seconds]),
    )
    if warm_up is None:
        warm_up = WarmUp(np.zeros(0), np.zeros(0, np.int32))
    for tenant, seconds, counted in chunks_of(requests, first):
        lru_kernel.run(tenant, seconds, warm_up.tenant, warm_up.seconds, caches, routing, counted, tally)
        if progress is not None:
            progress(len(tenant))
    return _simulation(requests, first, caches, tally)


def _instances(requests: Requests, fleet: CacheFleet, given: NDArray[np.int16] | None) -> NDArray[np.int16]:
    if fleet.routing == "random":
        return np.full(len(requests.tenants), ANY_INSTANCE, np.int16)
    if given is None:
        return instance_by_hash(requests.tenants, fleet.instances)
    if len(given) != len(requests.tenants) or given.min() < 0 or given.max() >= fleet.instances:
        raise ValueError(f"instance_of must name one of {fleet.instances} instances for each tenant")
    return given


def caches_of(
    requests: Requests, resident_mib: NDArray[np.float64], on_disk_mib: NDArray[np.float64], fleet: CacheFleet
) -> lru_kernel.Caches:
    """Empty caches. Raises ValueError unless there is a size above 0 for each tenant."""
    tenants = len(requests.tenants)
    sizes = whole_bytes(np.stack([resident_mib, on_disk_mib]).ravel())
    if len(sizes) != 2 * tenants:
        raise ValueError(f"{len(sizes) // 2} model sizes for {tenants} tenants")
    capacity = np.array([fleet.memory_mib, fleet.disk_mib]) * 2**20
    return lru_kernel.Caches(
        size_bytes=sizes.reshape(2, tenants),
        capacity_bytes=np.minimum(capacity, 2.0**62).astype(np.int64),
        used_bytes=np.zeros(2 * fleet.instances, np.int64),
        newer=np.full(2 * fleet.instances * (tenants + 1), tenants, np.int32),
        older=np.full(2 * fleet.instances * (tenants + 1), tenants, np.int32),
        present=np.zeros(2 * fleet.instances * (tenants + 1), np.bool_),
        last_seconds=np.zeros((fleet.instances, tenants)),
    )


def chunks_of(requests: Requests, first: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float64], bool]]:
    """The trace in pieces that fit the memory: tenants, seconds, and whether they count (from `first` on)."""
    edges = sorted({0, first, len(requests), *range(0, len(requests), _CHUNK)})
    for start, end in pairwise(edges):
        yield np.asarray(requests.tenant[start:end]), np.asarray(requests.seconds[start:end]), start >= first


def tally_of(requests: Requests, first: int, seed: int) -> lru_kernel.Tally:
    """Nothing counted yet; `first`: the index of the first request that counts. Raises ValueError if there is none."""
    if first == len(requests):
        raise ValueError("no request is left to count: counted_from_seconds lies after the last one")
    from_hour = int(requests.seconds[first] // 3600)
    hours = int(requests.seconds[-1] // 3600) - from_hour + 1
    return lru_kernel.Tally(
        per_tenant=np.zeros((len(requests.tenants), 3), np.int64),
        per_hour=np.zeros((hours, 4), np.int64),
        from_hour=from_hour,
        ages=np.zeros(lru_kernel.AGE_BINS, np.int64),
        age_sums=np.array([0.0, 0.0, np.inf]),
        state=np.array([0, seed, 0, 0], np.uint64),
    )


def _simulation(requests: Requests, first: int, caches: lru_kernel.Caches, tally: lru_kernel.Tally) -> Simulation:
    evictions, ages, least = tally.age_sums
    middle = int(np.searchsorted(np.cumsum(tally.ages), evictions / 2))
    return Simulation(
        per_tenant=tally.per_tenant,
        per_hour=tally.per_hour,
        first_hour=tally.from_hour,
        duration_seconds=float(requests.seconds[-1] - requests.seconds[first]),
        evictions=int(evictions),
        mean_age_at_eviction_seconds=float(ages / evictions) if evictions else None,
        median_age_at_eviction_seconds=float(2.0 ** ((middle + 0.5) / 8 - 10)) if evictions else None,
        least_age_at_eviction_seconds=float(least) if evictions else None,
        spilled=int(tally.state[2]),
        all_busy=int(tally.state[3]),
        resident_mib=float(caches.used_bytes[lru_kernel.MEMORY :: 2].sum()) / 2**20,
    )


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


ANY_INSTANCE: Final = -1


def instance_by_hash(tenants: tuple[str, ...], instances: int) -> NDArray[np.int16]:
    """A stable instance per tenant, int16, that depends on its name alone; shares are even only on average."""
    # Not hash(): Python salts it, so a plan would differ from run to run.
    return np.array([zlib.crc32(tenant.encode()) % instances for tenant in tenants], np.int16)
