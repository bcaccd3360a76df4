"""Loads on the instances of an endpoint, event by event; compiled. `load_events` explains it.

What is true of a model on an instance lies at `instance x tenants + tenant`, its spot. Fetches that will end and loads
that run are events in one heap, in order of time and then of their calls. A call that waits is a node of a linked list
that begins at its spot; nodes are used again once they are answered.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache import lru_kernel
from tierfleet.planning.cache.jit import compiled, inlined

Array = NDArray[np.float64]

# Outcomes of a call: rows of `waits`, columns of `by_hour` and `by_tenant`; the other columns follow.
WARM, WAITING, FROM_DISK, FROM_S3, LATE, EVICTED = 0, 1, 2, 3, 4, 5
OUTCOMES: Final = 4
# Waits are counted in bins that grow by 2^(1/32) (2.2 %) from 2^-14 seconds on, up to 2^26 seconds (two years).
_BINS_PER_DOUBLING: Final = 32
_LEAST_LOG2: Final = -14
WAIT_BINS: Final = _BINS_PER_DOUBLING * 40
# What a model is doing on an instance: nothing, being fetched or waiting for memory, loading or waiting for a place.
_IDLE, _COMING, _LOADING = 0, 1, 2
# Columns of `running`: how many loads run; of the queue of fetched models the first, the first that has no memory yet,
# and the last.
_RUNS, _FIRST, _CLAIMS, _LAST = 0, 1, 2, 3
# Entries of `counters`.
EVENTS, _ORDER, FREE_NODE, FREE_NODES, UNLOADS = 0, 1, 2, 3, 4


class Steps(NamedTuple):
    """The inputs of `load_events.LoadSteps`. late_after: seconds of waiting, by tenant, above which a call is late."""

    load: Array
    from_disk: Array
    fetch: Array
    extract: Array
    first_byte: Array
    slowdown: Array
    late_after: Array
    loads_at_once: int


class Loads(NamedTuple):
    """What is under way.

    doing: int8 a spot. next_in_queue, first_waiting: int32 a spot, -1 for none. running: [instance, 4].
    event_seconds, event_order, event_spot: the heap; a spot that is fetched is written as it is, a load that ends as
    -1 - spot. counters: [events in the heap, events so far, first free node, how many nodes are free, models unloaded].
    node_next, node_seconds, node_outcome: the calls that wait; outcome -1 is not counted.
    """

    doing: NDArray[np.int8]
    next_in_queue: NDArray[np.int32]
    first_waiting: NDArray[np.int32]
    running: NDArray[np.int32]
    event_seconds: Array
    event_order: NDArray[np.int64]
    event_spot: NDArray[np.int64]
    counters: NDArray[np.int64]
    node_next: NDArray[np.int32]
    node_seconds: Array
    node_outcome: NDArray[np.int8]


class Tally(NamedTuple):
    """What was counted. from_hour: Unix hours of the first row of what is by hour.

    waits: [outcome, bin]. by_hour, by_tenant: [row, warm, waiting, from disk, from S3, late, evicted].
    waited_by_hour, waited_by_tenant: [row, seconds in all, the longest].
    loading_by_hour: seconds of loading that were asked for. warm_beside: warm calls by how many loads ran.
    """

    from_hour: int
    waits: NDArray[np.int64]
    by_hour: NDArray[np.int64]
    by_tenant: NDArray[np.int64]
    waited_by_hour: Array
    waited_by_tenant: Array
    loading_by_hour: Array
    warm_beside: NDArray[np.int64]


def bin_seconds(edge: Array) -> Array:
    """The seconds at which a bin begins; halves are middles."""
    seconds: Array = 2.0 ** (edge / _BINS_PER_DOUBLING + _LEAST_LOG2)
    return seconds


@inlined
def _push(
    seconds: Array, order: NDArray[np.int64], spots: NDArray[np.int64], count: int, number: int, when: float, spot: int
) -> None:
    """Add an event to a heap of `count`; `number`: how many events there were so far."""
    at = count
    while at > 0:
        above = (at - 1) >> 1
        if seconds[above] <= when:
            break
        seconds[at], order[at], spots[at] = seconds[above], order[above], spots[above]
        at = above
    seconds[at], order[at], spots[at] = when, number, spot


@inlined
def _pop(seconds: Array, order: NDArray[np.int64], spots: NDArray[np.int64], count: int) -> None:
    """Take the first event out of a heap that has `count` others."""
    when, number, spot = seconds[count], order[count], spots[count]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        other = below + 1
        if other < count and (
            seconds[other] < seconds[below] or (seconds[other] == seconds[below] and order[other] < order[below])
        ):
            below = other
        if seconds[below] > when or (seconds[below] == when and order[below] > number):
            break
        seconds[at], order[at], spots[at] = seconds[below], order[below], spots[below]
        at = below
    seconds[at], order[at], spots[at] = when, number, spot


@compiled
def run(
    tenant: NDArray[np.int32],
    seconds: Array,
    until: float,
    instance_of: NDArray[np.int16],
    caches: lru_kernel.Caches,
    steps: Steps,
    loads: Loads,
    counted: bool,
    tally: Tally,
    draws: lru_kernel.Tally,
) -> None:
    """Serve a chunk of requests in time order, and after them what ends by `until`. draws: for its random state alone.

    A tenant of -1 - who is loaded ahead of its callers, by a warm-up: that is not counted.
    One function with all arrays as local names: taking one out of a tuple costs more than the work on it.
    """
    newer, older, present, used, sizes = (
        caches.newer,
        caches.older,
        caches.present,
        caches.used_bytes,
        caches.size_bytes,
    )
    disk_capacity, capacity = caches.capacity_bytes[lru_kernel.DISK], caches.capacity_bytes[lru_kernel.MEMORY]
    doing, next_in_queue, first_waiting, running = loads.doing, loads.next_in_queue, loads.first_waiting, loads.running
    event_seconds, event_order, event_spot = loads.event_seconds, loads.event_order, loads.event_spot
    node_next, node_seconds, node_outcome = loads.node_next, loads.node_seconds, loads.node_outcome
    load, from_disk, fetch, extract = steps.load, steps.from_disk, steps.fetch, steps.extract
    first_byte, slowdown, late_after, places = steps.first_byte, steps.slowdown, steps.late_after, steps.loads_at_once
    waits, by_hour, by_tenant, warm_beside = tally.waits, tally.by_hour, tally.by_tenant, tally.warm_beside
    waited_by_hour, waited_by_tenant, loading_by_hour = (
        tally.waited_by_hour,
        tally.waited_by_tenant,
        tally.loading_by_hour,
    )
    state, from_hour, hours = draws.state, tally.from_hour, len(by_hour)
    counters = loads.counters
    events, order, free_node, free_nodes = (
        counters[EVENTS],
        counters[_ORDER],
        counters[FREE_NODE],
        counters[FREE_NODES],
    )
    unloads = counters[UNLOADS]
    tenants = sizes.shape[1]
    for index in range(len(tenant) + 1):
        now = seconds[index] if index < len(tenant) else until
        # Everything that ends by now: fetched models queue, loaded ones answer the calls that wait.
        while events > 0 and event_seconds[0] <= now:
            then = event_seconds[0]
            event = event_spot[0]
            events -= 1
            _pop(event_seconds, event_order, event_spot, events)
            spot = event if event >= 0 else -1 - event
            instance = spot // tenants
            who = spot - instance * tenants
            cache = 2 * instance + lru_kernel.MEMORY
            base = cache * (tenants + 1)
            if event >= 0:
                next_in_queue[spot] = -1
                if running[instance, _FIRST] < 0:
                    running[instance, _FIRST] = who
                else:
                    next_in_queue[instance * tenants + running[instance, _LAST]] = who
                if running[instance, _CLAIMS] < 0:
                    running[instance, _CLAIMS] = who
                running[instance, _LAST] = who
            else:
                running[instance, _RUNS] -= 1
                doing[spot] = _IDLE
                if present[base + who]:
                    lru_kernel.to_top(newer, older, base, tenants, who, True)
                node = first_waiting[spot]
                first_waiting[spot] = -1
                while node >= 0:
                    called, outcome = node_seconds[node], node_outcome[node]
                    if outcome >= 0:
                        wait = then - called
                        place = int(_BINS_PER_DOUBLING * (np.log2(max(wait, 1e-9)) - _LEAST_LOG2))
                        hour = int(called // 3600) - from_hour
                        waits[outcome, min(max(place, 0), WAIT_BINS - 1)] += 1
                        by_hour[hour, outcome] += 1
                        by_tenant[who, outcome] += 1
                        if wait > late_after[who]:
                            by_hour[hour, LATE] += 1
                            by_tenant[who, LATE] += 1
                        waited_by_hour[hour, 0] += wait
                        waited_by_hour[hour, 1] = max(waited_by_hour[hour, 1], wait)
                        waited_by_tenant[who, 0] += wait
                        waited_by_tenant[who, 1] = max(waited_by_tenant[who, 1], wait)
                    following = node_next[node]
                    node_next[node] = free_node
                    free_node = node
                    free_nodes += 1
                    node = following
            # Memory, in order of the queue: the models used longest ago go, but none that loads.
            while running[instance, _CLAIMS] >= 0:
                who = running[instance, _CLAIMS]
                size = sizes[lru_kernel.MEMORY, who]
                # What never fits takes its time in vain.
                if size <= capacity:
                    oldest = newer[base + tenants]
                    while used[cache] > capacity - size and oldest != tenants:
                        above = newer[base + oldest]
                        if doing[instance * tenants + oldest] != _LOADING:
                            below = older[base + oldest]
                            newer[base + below], older[base + above] = above, below
                            present[base + oldest] = False
                            used[cache] -= sizes[lru_kernel.MEMORY, oldest]
                            unloads += 1
                            hour = int(then // 3600) - from_hour
                            if 0 <= hour < hours:
                                by_hour[hour, EVICTED] += 1
                                by_tenant[oldest, EVICTED] += 1
                        oldest = above
                    if used[cache] > capacity - size:
                        break
                    used[cache] += size
                    present[base + who] = True
                    lru_kernel.to_top(newer, older, base, tenants, who, False)
                doing[instance * tenants + who] = _LOADING
                running[instance, _CLAIMS] = next_in_queue[instance * tenants + who]
            # Then places.
            while running[instance, _FIRST] != running[instance, _CLAIMS] and running[instance, _RUNS] < places:
                who = running[instance, _FIRST]
                running[instance, _FIRST] = next_in_queue[instance * tenants + who]
                running[instance, _RUNS] += 1
                ends = then + load[who]
                _push(event_seconds, event_order, event_spot, events, order, ends, -1 - (instance * tenants + who))
                events += 1
                order += 1
        if index == len(tenant):
            break
        who = tenant[index]
        counts = counted and who >= 0
        if who < 0:
            who = -1 - who
        instance = instance_of[who]
        spot = instance * tenants + who
        base = (2 * instance + lru_kernel.MEMORY) * (tenants + 1)
        busy, in_memory = doing[spot], present[base + who]
        if in_memory:
            lru_kernel.to_top(newer, older, base, tenants, who, True)
        disk = 2 * instance + lru_kernel.DISK
        disk_base = disk * (tenants + 1)
        on_disk = present[disk_base + who]
        if on_disk:
            lru_kernel.to_top(newer, older, disk_base, tenants, who, True)
        if in_memory and busy == _IDLE:
            if counts:
                by_hour[int(now // 3600) - from_hour, WARM] += 1
                by_tenant[who, WARM] += 1
                warm_beside[running[instance, _RUNS]] += 1
            continue
        outcome = WAITING
        if busy == _IDLE:
            doing[spot] = _COMING
            if on_disk:
                outcome = FROM_DISK
                loadable = now + from_disk[who]
            else:
                outcome = FROM_S3
                size = sizes[lru_kernel.DISK, who]
                if size <= disk_capacity:
                    while used[disk] > disk_capacity - size:
                        oldest = newer[disk_base + tenants]
                        above = newer[disk_base + oldest]
                        newer[disk_base + tenants], older[disk_base + above] = above, tenants
                        present[disk_base + oldest] = False
                        used[disk] -= sizes[lru_kernel.DISK, oldest]
                    used[disk] += size
                    present[disk_base + who] = True
                    lru_kernel.to_top(newer, older, disk_base, tenants, who, False)
                begins = first_byte[int(lru_kernel.random(state) * len(first_byte))]
                fetched = fetch[who] * slowdown[int(lru_kernel.random(state) * len(slowdown))]
                # It is written to the disk before it is read from there, but is never quicker than that alone.
                loadable = now + max(begins + fetched + extract[who], from_disk[who])
            if counts:
                loading_by_hour[int(now // 3600) - from_hour] += load[who]
            _push(event_seconds, event_order, event_spot, events, order, loadable, spot)
            events += 1
            order += 1
        node = free_node
        free_node = node_next[node]
        free_nodes -= 1
        node_next[node] = first_waiting[spot]
        first_waiting[spot] = node
        node_seconds[node], node_outcome[node] = now, outcome if counts else -1
    counters[EVENTS], counters[_ORDER], counters[FREE_NODE] = events, order, free_node
    counters[FREE_NODES], counters[UNLOADS] = free_nodes, unloads
