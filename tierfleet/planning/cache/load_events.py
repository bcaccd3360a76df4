"""What a trace's calls wait for on a multi-model endpoint, call by call: bursts are seen, which an hour's mean hides.

    found = simulate_loads(requests, resident_mib, fleet, steps)
    found.shares        # of the calls: in memory, waiting for a running load, from disk, from S3
    found.waits.cold    # seconds until the model can answer, at equally likely points

Each instance has its caches (`lru`) and its places for loading. A model that is not in memory is fetched from S3 or
read from disk, waits for a place in order of the calls, and is loaded. A call to a model that is being loaded waits
for the rest of that. Approximations: a place is kept for a load from its call on, so that a slow fetch may hold up a
later one; a model counts as in memory from its call on, so the eviction that makes room for it is early by its load.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache import load_kernel
from tierfleet.planning.cache.lru import CacheFleet, caches_of, chunks_of, instance_by_hash, tally_of
from tierfleet.planning.traffic.requests import Progress, Requests

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LoadSteps:
    """How long the steps of a load take, in seconds, each an array with one value a tenant.

    loads_at_once: places for loading on an instance. first_byte, slowdown: of S3, equally likely values in seconds and
    as a factor of `fetch`; each load draws one.
    """

    load: Array
    from_disk: Array
    fetch: Array
    extract: Array
    loads_at_once: int
    first_byte: Array
    slowdown: Array


@dataclass(frozen=True)
class CallShares:
    """Which part of the counted calls found its model in memory, being loaded, on disk, in S3. Together 1."""

    warm: float
    waiting: float
    disk: float
    cold: float


@dataclass(frozen=True)
class LoadEvents:
    """What the counted calls met.

    waiting, disk, cold: seconds until the model can answer, as a function of a share of those calls (0 to 1): its
    inverse distribution, within 1.1 %. 0 where there is no such call.
    busy: the share of the places' time that loads took in the hour in which they took most; above 1 where more loads
    were asked for in that hour than it has room for.
    """

    shares: CallShares
    waiting: Callable[[Array], Array]
    disk: Callable[[Array], Array]
    cold: Callable[[Array], Array]
    busy: float


def simulate_loads(
    requests: Requests,
    resident_mib: Array,
    fleet: CacheFleet,
    steps: LoadSteps,
    *,
    on_disk_mib: Array | None = None,
    instance_of: NDArray[np.int16] | None = None,
    counted_from_seconds: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LoadEvents:
    """Run a trace through an endpoint that begins empty, every tenant on its own instance.

    resident_mib, on_disk_mib: MiB of each model in memory and on disk. instance_of, counted_from_seconds, progress: as
    in `lru.simulate`. seed: of the draws for S3; the same seed gives the same result. Raises ValueError for arrays of
    the wrong length, or if nothing is left to count.
    """
    tenants = len(requests.tenants)
    for name in ("load", "from_disk", "fetch", "extract"):
        if len(getattr(steps, name)) != tenants:
            raise ValueError(f"{len(getattr(steps, name))} values of {name} for {tenants} tenants")
    if steps.loads_at_once < 1:
        raise ValueError(f"loads_at_once is {steps.loads_at_once}; give at least 1")
    caches = caches_of(requests, resident_mib, resident_mib if on_disk_mib is None else on_disk_mib, fleet)
    first = 0 if counted_from_seconds is None else requests.index_at(counted_from_seconds)
    tally = tally_of(requests, first, seed)
    owners = instance_by_hash(requests.tenants, fleet.instances) if instance_of is None else instance_of
    loads = load_kernel.Loads(
        load=steps.load,
        from_disk=steps.from_disk,
        fetch=steps.fetch,
        extract=steps.extract,
        first_byte=steps.first_byte,
        slowdown=steps.slowdown,
        ready=np.full(tenants, -np.inf),
        free=np.full((fleet.instances, steps.loads_at_once), -np.inf),
        waits=np.zeros((3, load_kernel.WAIT_BINS), np.int64),
        busy_by_hour=np.zeros(len(tally.per_hour)),
        warm=np.zeros(1, np.int64),
    )
    for tenant, seconds, counted in chunks_of(requests, first):
        load_kernel.run(tenant, seconds, owners, caches, loads, counted, tally)
        if progress is not None:
            progress(len(tenant))
    return _events(loads, len(requests) - first, fleet.instances * steps.loads_at_once)


def _events(loads: load_kernel.Loads, counted: int, places: int) -> LoadEvents:
    by_class = loads.waits.sum(axis=1) / counted
    shares = CallShares(int(loads.warm[0]) / counted, *(float(share) for share in by_class))
    waiting, disk, cold = (_inverse(bins) for bins in loads.waits)
    busy = float(loads.busy_by_hour.max(initial=0.0)) / (3600 * places)
    return LoadEvents(shares, waiting, disk, cold, busy)


def _inverse(bins: NDArray[np.int64]) -> Callable[[Array], Array]:
    """Seconds below which a share of the waits lies."""
    total = bins.sum()
    middles = load_kernel.bin_seconds(np.arange(len(bins), dtype=np.float64) + 0.5)
    if not total:
        return lambda shares: np.zeros(len(shares))
    reached = np.cumsum(bins) / total

    def seconds(shares: Array) -> Array:
        at = np.searchsorted(reached, np.minimum(shares, 1 - 1e-12), side="right")
        found: Array = middles[np.minimum(at, len(bins) - 1)]
        return found

    return seconds
