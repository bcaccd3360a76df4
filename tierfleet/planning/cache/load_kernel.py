"""Loads on the instances of an endpoint, call by call; compiled. `load_events` explains it."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache import lru_kernel
from tierfleet.planning.cache.jit import compiled, inlined

Array = NDArray[np.float64]

# Rows of `waits`.
WAITING, FROM_DISK, FROM_S3 = 0, 1, 2
# Waits are counted in bins that grow by 2^(1/32) (2.2 %) from 2^-14 seconds on, up to 2^26 seconds (two years).
_BINS_PER_DOUBLING: Final = 32
_LEAST_LOG2: Final = -14
WAIT_BINS: Final = _BINS_PER_DOUBLING * 40


class Loads(NamedTuple):
    """The inputs of `load_events.LoadSteps`, one a tenant; then what is under way, and what was counted.

    ready: Unix seconds at which a tenant's model is, or will be, loaded. free: [instance, place], when it is free.
    waits: [class, bin]. busy_by_hour: seconds of loading that were asked for in that hour. warm: [calls].
    """

    load: Array
    from_disk: Array
    fetch: Array
    extract: Array
    first_byte: Array
    slowdown: Array
    ready: Array
    free: Array
    waits: NDArray[np.int64]
    busy_by_hour: Array
    warm: NDArray[np.int64]


def bin_seconds(edge: Array) -> Array:
    """The seconds at which a bin begins; halves are middles."""
    seconds: Array = 2.0 ** (edge / _BINS_PER_DOUBLING + _LEAST_LOG2)
    return seconds


@inlined
def _count(waits: NDArray[np.int64], kind: int, seconds: float) -> None:
    place = int(_BINS_PER_DOUBLING * (np.log2(max(seconds, 1e-9)) - _LEAST_LOG2))
    waits[kind, min(max(place, 0), WAIT_BINS - 1)] += 1


@compiled
def run(
    tenant: NDArray[np.int32],
    seconds: Array,
    instance_of: NDArray[np.int16],
    caches: lru_kernel.Caches,
    loads: Loads,
    counted: bool,
    tally: lru_kernel.Tally,
) -> None:
    """Serve a chunk of requests in time order."""
    draws = len(loads.first_byte)
    for index in range(len(tenant)):
        who, now = tenant[index], seconds[index]
        instance = int(instance_of[who])
        outcome = lru_kernel.request(caches, instance, who, now, False, tally)
        if outcome == lru_kernel.FROM_MEMORY:
            wait = loads.ready[who] - now
            if wait <= 0:
                if counted:
                    loads.warm[0] += 1
            elif counted:
                _count(loads.waits, WAITING, wait)
            continue
        loadable = now
        if outcome == lru_kernel.FROM_DISK:
            loadable += loads.from_disk[who]
        else:
            first_byte = loads.first_byte[int(lru_kernel.random(tally.state) * draws)]
            fetch = loads.fetch[who] * loads.slowdown[int(lru_kernel.random(tally.state) * draws)]
            # It is written to the disk before it is read from there, but is never quicker than that alone.
            loadable += max(first_byte + fetch + loads.extract[who], loads.from_disk[who])
        places = loads.free[instance]
        place = 0
        for other in range(1, len(places)):
            if places[other] < places[place]:
                place = other
        ready = max(loadable, places[place]) + loads.load[who]
        places[place] = ready
        loads.ready[who] = ready
        if counted:
            _count(loads.waits, FROM_DISK if outcome == lru_kernel.FROM_DISK else FROM_S3, ready - now)
            loads.busy_by_hour[int(now // 3600) - tally.from_hour] += loads.load[who]
