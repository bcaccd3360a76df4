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


@compiled
def _push(loads: Loads, when: float, spot: int) -> None:
    """Add an event to the heap."""
    seconds, order, spots, counters = loads.event_seconds, loads.event_order, loads.event_spot, loads.counters
    at = counters[EVENTS]
    number = counters[_ORDER]
    counters[EVENTS] += 1
    counters[_ORDER] += 1
    while at > 0:
        above = (at - 1) >> 1
        if seconds[above] <= when:
            break
        seconds[at], order[at], spots[at] = seconds[above], order[above], spots[above]
        at = above
    seconds[at], order[at], spots[at] = when, number, spot


@compiled
def _pop(loads: Loads) -> int:
    """Take the first event out of the heap; returns its spot."""
    seconds, order, spots, counters = loads.event_seconds, loads.event_order, loads.event_spot, loads.counters
    taken = spots[0]
    counters[EVENTS] -= 1
    count = counters[EVENTS]
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
    return int(taken)


@inlined
def _hour(seconds: float, tally: Tally) -> int:
    return int(seconds // 3600) - tally.from_hour


@compiled
def _count_wait(tally: Tally, outcome: int, who: int, called: float, wait: float, late_after: float) -> None:
    place = int(_BINS_PER_DOUBLING * (np.log2(max(wait, 1e-9)) - _LEAST_LOG2))
    tally.waits[outcome, min(max(place, 0), WAIT_BINS - 1)] += 1
    hour = _hour(called, tally)
    tally.by_hour[hour, outcome] += 1
    tally.by_tenant[who, outcome] += 1
    if wait > late_after:
        tally.by_hour[hour, LATE] += 1
        tally.by_tenant[who, LATE] += 1
    tally.waited_by_hour[hour, 0] += wait
    tally.waited_by_hour[hour, 1] = max(tally.waited_by_hour[hour, 1], wait)
    tally.waited_by_tenant[who, 0] += wait
    tally.waited_by_tenant[who, 1] = max(tally.waited_by_tenant[who, 1], wait)


@compiled
def _wait(loads: Loads, spot: int, now: float, outcome: int) -> None:
    """Note a call that waits for the model at `spot`."""
    node = int(loads.counters[FREE_NODE])
    loads.counters[FREE_NODE] = loads.node_next[node]
    loads.counters[FREE_NODES] -= 1
    loads.node_next[node] = loads.first_waiting[spot]
    loads.first_waiting[spot] = node
    loads.node_seconds[node], loads.node_outcome[node] = now, outcome


@compiled
def _evict_until(caches: lru_kernel.Caches, loads: Loads, instance: int, room: int, now: float, tally: Tally) -> bool:
    """Unload the models of an instance that were used longest ago, until `room` bytes are used; not what is loading."""
    tenants = caches.size_bytes.shape[1]
    cache = 2 * instance + lru_kernel.MEMORY
    base = cache * (tenants + 1)
    newer, older = caches.newer, caches.older
    who = newer[base + tenants]
    while caches.used_bytes[cache] > room:
        if who == tenants:
            return False
        above = newer[base + who]
        if loads.doing[instance * tenants + who] != _LOADING:
            below = older[base + who]
            newer[base + below], older[base + above] = above, below
            caches.present[base + who] = False
            caches.used_bytes[cache] -= caches.size_bytes[lru_kernel.MEMORY, who]
            loads.counters[UNLOADS] += 1
            hour = _hour(now, tally)
            if 0 <= hour < len(tally.by_hour):
                tally.by_hour[hour, EVICTED] += 1
                tally.by_tenant[who, EVICTED] += 1
        who = above
    return True


@compiled
def _go_on(caches: lru_kernel.Caches, steps: Steps, loads: Loads, instance: int, now: float, tally: Tally) -> None:
    """Give memory, and then places, to what is first in an instance's queue."""
    tenants = caches.size_bytes.shape[1]
    cache = 2 * instance + lru_kernel.MEMORY
    base = cache * (tenants + 1)
    running, capacity = loads.running[instance], caches.capacity_bytes[lru_kernel.MEMORY]
    while running[_CLAIMS] >= 0:
        who = running[_CLAIMS]
        size = caches.size_bytes[lru_kernel.MEMORY, who]
        # What never fits takes its time in vain.
        if size <= capacity:
            if not _evict_until(caches, loads, instance, capacity - size, now, tally):
                break
            caches.used_bytes[cache] += size
            caches.present[base + who] = True
            lru_kernel.to_top(caches.newer, caches.older, base, tenants, who, False)
        loads.doing[instance * tenants + who] = _LOADING
        running[_CLAIMS] = loads.next_in_queue[instance * tenants + who]
    while running[_FIRST] != running[_CLAIMS] and running[_RUNS] < steps.loads_at_once:
        who = running[_FIRST]
        running[_FIRST] = loads.next_in_queue[instance * tenants + who]
        running[_RUNS] += 1
        _push(loads, now + steps.load[who], -1 - (instance * tenants + who))


@compiled
def settle(caches: lru_kernel.Caches, steps: Steps, loads: Loads, until: float, tally: Tally) -> None:
    """Everything that ends by `until`: fetched models queue for a place, loaded ones answer the calls that wait."""
    tenants = caches.size_bytes.shape[1]
    while loads.counters[EVENTS] > 0 and loads.event_seconds[0] <= until:
        now = loads.event_seconds[0]
        event = _pop(loads)
        spot = event if event >= 0 else -1 - event
        instance, who = spot // tenants, spot % tenants
        running = loads.running[instance]
        if event >= 0:
            loads.next_in_queue[spot] = -1
            if running[_FIRST] < 0:
                running[_FIRST] = who
            else:
                loads.next_in_queue[instance * tenants + running[_LAST]] = who
            if running[_CLAIMS] < 0:
                running[_CLAIMS] = who
            running[_LAST] = who
        else:
            running[_RUNS] -= 1
            loads.doing[spot] = _IDLE
            base = (2 * instance + lru_kernel.MEMORY) * (tenants + 1)
            if caches.present[base + who]:
                lru_kernel.to_top(caches.newer, caches.older, base, tenants, who, True)
            node = loads.first_waiting[spot]
            loads.first_waiting[spot] = -1
            while node >= 0:
                called = loads.node_seconds[node]
                if loads.node_outcome[node] >= 0:
                    _count_wait(tally, loads.node_outcome[node], who, called, now - called, steps.late_after[who])
                following = loads.node_next[node]
                loads.node_next[node] = loads.counters[FREE_NODE]
                loads.counters[FREE_NODE] = node
                loads.counters[FREE_NODES] += 1
                node = following
        _go_on(caches, steps, loads, instance, now, tally)


@inlined
def _on_disk(
    caches: lru_kernel.Caches, instance: int, who: int, now: float, admit: bool, tally: lru_kernel.Tally
) -> bool:
    """Whether the model's files are on the instance's disk; if so it is the last used one there."""
    tenants = caches.size_bytes.shape[1]
    cache = 2 * instance + lru_kernel.DISK
    base = cache * (tenants + 1)
    linked = caches.present[base + who]
    if not linked:
        size, capacity = caches.size_bytes[lru_kernel.DISK, who], caches.capacity_bytes[lru_kernel.DISK]
        if not admit or size > capacity:
            return False
        lru_kernel.make_room(caches, cache, base, tenants, capacity - size, now, False, tally)
        caches.used_bytes[cache] += size
        caches.present[base + who] = True
    lru_kernel.to_top(caches.newer, caches.older, base, tenants, who, linked)
    return bool(linked)


@compiled
def run(
    tenant: NDArray[np.int32],
    seconds: Array,
    instance_of: NDArray[np.int16],
    caches: lru_kernel.Caches,
    steps: Steps,
    loads: Loads,
    counted: bool,
    tally: Tally,
    draws: lru_kernel.Tally,
) -> None:
    """Serve a chunk of requests in time order. draws: for its random state alone.

    A tenant of -1 - who is loaded ahead of its callers, by a warm-up: that is not counted.
    """
    tenants = caches.size_bytes.shape[1]
    for index in range(len(tenant)):
        who, now = tenant[index], seconds[index]
        counts = counted and who >= 0
        if who < 0:
            who = -1 - who
        if loads.counters[EVENTS] > 0 and loads.event_seconds[0] <= now:
            settle(caches, steps, loads, now, tally)
        instance = int(instance_of[who])
        spot = instance * tenants + who
        base = (2 * instance + lru_kernel.MEMORY) * (tenants + 1)
        doing, in_memory = loads.doing[spot], caches.present[base + who]
        if in_memory:
            lru_kernel.to_top(caches.newer, caches.older, base, tenants, who, True)
        if doing != _IDLE or in_memory:
            _on_disk(caches, instance, who, now, False, draws)
            if doing != _IDLE:
                _wait(loads, spot, now, WAITING if counts else -1)
            elif counts:
                hour = _hour(now, tally)
                tally.by_hour[hour, WARM] += 1
                tally.by_tenant[who, WARM] += 1
                tally.warm_beside[loads.running[instance, _RUNS]] += 1
            continue
        loads.doing[spot] = _COMING
        if _on_disk(caches, instance, who, now, True, draws):
            loadable = now + steps.from_disk[who]
            _wait(loads, spot, now, FROM_DISK if counts else -1)
        else:
            first_byte = steps.first_byte[int(lru_kernel.random(draws.state) * len(steps.first_byte))]
            fetch = steps.fetch[who] * steps.slowdown[int(lru_kernel.random(draws.state) * len(steps.slowdown))]
            # It is written to the disk before it is read from there, but is never quicker than that alone.
            loadable = now + max(first_byte + fetch + steps.extract[who], steps.from_disk[who])
            _wait(loads, spot, now, FROM_S3 if counts else -1)
        if counts:
            tally.loading_by_hour[_hour(now, tally)] += steps.load[who]
        _push(loads, loadable, spot)
