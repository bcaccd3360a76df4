"""What a trace's calls wait for on a multi-model endpoint, call by call: bursts are seen, which an hour's mean hides.

    events = simulate_loads(requests, resident_mib, fleet, steps)
    events.shares           # of the calls: in memory, waiting for a running load, from disk, from S3
    events.cold(points)     # seconds until the model can answer, at shares of those calls

Each instance has its caches and its places for loading. A model that is not in memory is fetched from S3 or read from
disk, all at the same time. Then its load is asked for: the models that were used longest ago are unloaded until it
fits, and it queues for a place, first come, first served. A model that still loads is never unloaded; what needs its
memory waits. A call to a model that is being fetched or loaded waits for the rest of that.

`LoadSimulation` runs the same in pieces, for a fleet whose instances change on the way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache import load_kernel, lru_kernel
from tierfleet.planning.cache.lru import CacheFleet, caches_of, instance_by_hash, tally_of
from tierfleet.planning.traffic.requests import Progress, Requests

Array = NDArray[np.float64]

# Each call of a piece may have to wait: a piece is as long as the room that is kept for that.
_PIECE: Final = 1 << 18


@dataclass(frozen=True, kw_only=True)
class LoadSteps:
    """How long the steps of a load take."""

    load: Array
    """Seconds, one a tenant."""
    from_disk: Array
    """Seconds, one a tenant."""
    fetch: Array
    """Seconds from S3 after the first byte, one a tenant."""
    extract: Array
    """Seconds to unpack, one a tenant."""
    loads_at_once: int
    """Places for loading on an instance."""
    first_byte: Array
    """Seconds until S3 begins to answer: equally likely values; each load draws one."""
    slowdown: Array
    """Factor of `fetch`: equally likely values; each load draws one."""


@dataclass(frozen=True)
class CallShares:
    """Which part of the counted calls found its model in memory, being loaded, on disk, in S3. Together 1."""

    warm: float
    waiting: float
    disk: float
    cold: float


@dataclass(frozen=True, kw_only=True)
class LoadEvents:
    """What the counted calls met."""

    shares: CallShares
    waiting: Callable[[Array], Array]
    """Seconds until the model can answer, of calls that wait for a running load, as a function of a share of them (0
    to 1): their inverse distribution, within 1.1 %. 0 where there is no such call."""
    disk: Callable[[Array], Array]
    """The same of calls whose model is read from disk."""
    cold: Callable[[Array], Array]
    """The same of calls whose model is fetched from S3."""
    busy: float
    """The share of the places' time that loads took in the hour in which they took most. Above 1: more loads were asked
    for in that hour than it has room for."""
    beside: Array
    """Of the warm calls, the share that came while 0, 1, 2, ... loads ran on their instance."""
    first_hour: int
    """Hours since 1970 of the first row of `by_hour`."""
    by_hour: NDArray[np.int64]
    """Calls [hour, outcome]: warm, waiting, from disk, from S3; then those later than asked, and models unloaded."""
    by_tenant: NDArray[np.int64]
    """The same [tenant, outcome]."""
    waited_by_hour: Array
    """Seconds [hour, 2]: all waits together, the longest one."""
    waited_by_tenant: Array
    """The same [tenant, 2]."""


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
    simulation = LoadSimulation(
        requests,
        resident_mib,
        fleet,
        steps,
        on_disk_mib=on_disk_mib,
        counted_from_seconds=counted_from_seconds,
        seed=seed,
    )
    owners = instance_by_hash(requests.tenants, fleet.instances) if instance_of is None else instance_of
    simulation.serve(0, len(requests), owners, progress)
    return simulation.events()


class LoadSimulation:
    """The simulation in pieces: calls from one index to another, each piece with its own placement of the tenants.

    late_after: seconds of waiting, one a tenant, above which a call counts as late; never, if not given.
    The other arguments are those of `simulate_loads`; the fleet has the most instances there will be.
    """

    def __init__(
        self,
        requests: Requests,
        resident_mib: Array,
        fleet: CacheFleet,
        steps: LoadSteps,
        *,
        on_disk_mib: Array | None = None,
        late_after: Array | None = None,
        counted_from_seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        tenants = len(requests.tenants)
        for name in ("load", "from_disk", "fetch", "extract"):
            if len(getattr(steps, name)) != tenants:
                raise ValueError(f"{len(getattr(steps, name))} values of {name} for {tenants} tenants")
        if steps.loads_at_once < 1:
            raise ValueError(f"loads_at_once is {steps.loads_at_once}; give at least 1")
        self._requests = requests
        self._places = fleet.instances * steps.loads_at_once
        self._caches = caches_of(requests, resident_mib, resident_mib if on_disk_mib is None else on_disk_mib, fleet)
        self._first = 0 if counted_from_seconds is None else requests.index_at(counted_from_seconds)
        self._draws = tally_of(requests, self._first, seed)
        self._steps = load_kernel.Steps(
            load=steps.load,
            from_disk=steps.from_disk,
            fetch=steps.fetch,
            extract=steps.extract,
            first_byte=steps.first_byte,
            slowdown=steps.slowdown,
            late_after=np.full(tenants, np.inf) if late_after is None else late_after,
            loads_at_once=steps.loads_at_once,
        )
        self._loads = _nothing_under_way(fleet.instances, tenants)
        self._tally = _empty_tally(requests, self._first, steps.loads_at_once)

    @property
    def unloads(self) -> int:
        """Models unloaded so far for want of memory."""
        return int(self._loads.counters[load_kernel.UNLOADS])

    def serve(self, start: int, end: int, instance_of: NDArray[np.int16], progress: Progress | None = None) -> None:
        """The calls of these indices, after the ones that were served before."""
        middle = {self._first} if start < self._first < end else set()
        edges = sorted({start, end, *middle, *range(start, end, _PIECE)})
        for low, high in pairwise(edges):
            self._keep_room(high - low)
            self._run(low, high, instance_of)
            if progress is not None:
                progress(high - low)

    def _run(self, start: int, end: int, instance_of: NDArray[np.int16], until: float = -np.inf) -> None:
        load_kernel.run(
            np.asarray(self._requests.tenant[start:end]),
            np.asarray(self._requests.seconds[start:end]),
            until,
            instance_of,
            self._caches,
            self._steps,
            self._loads,
            start >= self._first,
            self._tally,
            self._draws,
        )

    def empty_instance(self, instance: int) -> None:
        """Forget what is in the memory and on the disk of an instance: it is a new one."""
        tenants = len(self._requests.tenants)
        for level in (lru_kernel.MEMORY, lru_kernel.DISK):
            number = 2 * instance + level
            self._caches.used_bytes[number] = 0
            for links in (self._caches.newer, self._caches.older):
                links[number * (tenants + 1) : (number + 1) * (tenants + 1)] = tenants
            self._caches.present[number * (tenants + 1) : (number + 1) * (tenants + 1)] = False

    def events(self) -> LoadEvents:
        """What the counted calls met, after all loads have ended."""
        self._run(len(self._requests), len(self._requests), np.zeros(len(self._requests.tenants), np.int16), np.inf)
        tally = self._tally
        outcomes = tally.by_tenant[:, : load_kernel.OUTCOMES].sum(axis=0)
        shares = outcomes / max(int(outcomes.sum()), 1)
        warm = tally.warm_beside.sum()
        return LoadEvents(
            shares=CallShares(*(float(share) for share in shares)),
            waiting=_inverse(tally.waits[load_kernel.WAITING]),
            disk=_inverse(tally.waits[load_kernel.FROM_DISK]),
            cold=_inverse(tally.waits[load_kernel.FROM_S3]),
            busy=float(tally.loading_by_hour.max(initial=0.0)) / (3600 * self._places),
            beside=tally.warm_beside / warm if warm else np.ones(1),
            first_hour=tally.from_hour,
            by_hour=tally.by_hour,
            by_tenant=tally.by_tenant,
            waited_by_hour=tally.waited_by_hour,
            waited_by_tenant=tally.waited_by_tenant,
        )

    def _keep_room(self, calls: int) -> None:
        """For so many calls: a node for each, and an event for each tenant in addition to the running ones."""
        loads, free = self._loads, int(self._loads.counters[load_kernel.FREE_NODES])
        if free < calls:
            used = len(loads.node_next)
            more = calls - free
            following = np.arange(used + 1, used + more + 1, dtype=np.int32)
            following[-1] = loads.counters[load_kernel.FREE_NODE]
            loads.counters[load_kernel.FREE_NODE] = used
            loads.counters[load_kernel.FREE_NODES] += more
            loads = loads._replace(
                node_next=np.concatenate([loads.node_next, following]),
                node_seconds=np.concatenate([loads.node_seconds, np.zeros(more)]),
                node_outcome=np.concatenate([loads.node_outcome, np.zeros(more, np.int8)]),
            )
        events = int(loads.counters[load_kernel.EVENTS]) + len(self._requests.tenants) + 1
        if len(loads.event_seconds) < events:
            more = events - len(loads.event_seconds)
            loads = loads._replace(
                event_seconds=np.concatenate([loads.event_seconds, np.zeros(more)]),
                event_order=np.concatenate([loads.event_order, np.zeros(more, np.int64)]),
                event_spot=np.concatenate([loads.event_spot, np.zeros(more, np.int64)]),
            )
        self._loads = loads


def _nothing_under_way(instances: int, tenants: int) -> load_kernel.Loads:
    spots = instances * tenants
    return load_kernel.Loads(
        doing=np.zeros(spots, np.int8),
        next_in_queue=np.full(spots, -1, np.int32),
        first_waiting=np.full(spots, -1, np.int32),
        running=np.tile(np.array([0, -1, -1, -1], np.int32), (instances, 1)),
        event_seconds=np.zeros(0),
        event_order=np.zeros(0, np.int64),
        event_spot=np.zeros(0, np.int64),
        counters=np.array([0, 0, -1, 0, 0], np.int64),
        node_next=np.zeros(0, np.int32),
        node_seconds=np.zeros(0),
        node_outcome=np.zeros(0, np.int8),
    )


def _empty_tally(requests: Requests, first: int, loads_at_once: int) -> load_kernel.Tally:
    from_hour = int(requests.seconds[first] // 3600)
    hours, tenants = int(requests.seconds[-1] // 3600) - from_hour + 1, len(requests.tenants)
    return load_kernel.Tally(
        from_hour=from_hour,
        waits=np.zeros((load_kernel.OUTCOMES, load_kernel.WAIT_BINS), np.int64),
        by_hour=np.zeros((hours, 6), np.int64),
        by_tenant=np.zeros((tenants, 6), np.int64),
        waited_by_hour=np.zeros((hours, 2)),
        waited_by_tenant=np.zeros((tenants, 2)),
        loading_by_hour=np.zeros(hours),
        warm_beside=np.zeros(loads_at_once + 1, np.int64),
    )


def _inverse(bins: NDArray[np.int64]) -> Callable[[Array], Array]:
    """Seconds below which a share of the waits lies."""
    total = bins.sum()
    middles = load_kernel.bin_seconds(np.arange(len(bins), dtype=np.float64) + 0.5)
    if not total:
        return lambda shares: np.zeros(len(shares))
    reached = np.cumsum(bins) / total

    def seconds(shares: Array) -> Array:
        at = np.searchsorted(reached, np.minimum(shares, 1 - 1e-12), side="right")
        waits: Array = middles[np.minimum(at, len(bins) - 1)]
        return waits

    return seconds
