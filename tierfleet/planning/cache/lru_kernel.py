"""Least-recently-used caches on several instances, two levels each, request by request; compiled.

Both levels are circular doubly linked lists in flat arrays; the list of an instance's level is number 2 x instance +
level and has tenants + 1 entries. The last is the list's head: its `older` is the newest model, its `newer` the oldest.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.jit import compiled, inlined

MEMORY: Final = 0
DISK: Final = 1
# Outcomes of a request, columns of `per_tenant` and `per_hour`; the fourth column of `per_hour` counts evictions.
FROM_MEMORY, FROM_DISK, FROM_S3, EVICTED = 0, 1, 2, 3
# Ages at eviction are counted in bins that grow by 2^(1/8) from 2^-10 seconds on.
AGE_BINS: Final = 8 * 40
_RANDOM_BITS = 11


class Caches(NamedTuple):
    """What is where. size_bytes: [level, tenant]. capacity_bytes: [level]. last_seconds: [instance, tenant].

    used_bytes: one a list. newer, older, present: one an entry of each list.
    """

    size_bytes: NDArray[np.int64]
    capacity_bytes: NDArray[np.int64]
    used_bytes: NDArray[np.int64]
    newer: NDArray[np.int32]
    older: NDArray[np.int32]
    present: NDArray[np.bool_]
    last_seconds: NDArray[np.float64]


class Tally(NamedTuple):
    """What was counted. age_sums: [evictions, their ages in seconds summed, the least age]; from_hour: Unix hours.

    state: [next warm-up access, random state, requests that spilled, requests that found every instance busy].
    """

    per_tenant: NDArray[np.int64]
    per_hour: NDArray[np.int64]
    from_hour: int
    ages: NDArray[np.int64]
    age_sums: NDArray[np.float64]
    state: NDArray[np.uint64]


class Routing(NamedTuple):
    """instance_of: int16 per tenant, or -1 for a random instance at each call. busy_until: [instance, slot], or empty.

    outcome_seconds: how long a request keeps a slot busy, by outcome.
    """

    instance_of: NDArray[np.int16]
    spill_share: float
    busy_until: NDArray[np.float64]
    outcome_seconds: NDArray[np.float64]


@compiled
def random(state: NDArray[np.uint64]) -> float:
    """The next number in [0, 1) of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators)."""
    state[1] += np.uint64(0x9E3779B97F4A7C15)
    z = state[1]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return float(z >> np.uint64(_RANDOM_BITS)) * 2.0**-53


@inlined
def to_top(newer: NDArray[np.int32], older: NDArray[np.int32], base: int, head: int, who: int, linked: bool) -> None:
    """Make `who` the newest of the list at `base`; take it out of its place first if it is linked."""
    if linked:
        above, below = newer[base + who], older[base + who]
        older[base + above] = below
        newer[base + below] = above
    first = older[base + head]
    older[base + who] = first
    newer[base + who] = head
    newer[base + first] = who
    older[base + head] = who


@inlined
def _make_room(
    caches: Caches, cache: int, base: int, tenants: int, room: int, now: float, counted: bool, tally: Tally
) -> None:
    """Evict the oldest models of one level of one instance until at most `room` bytes are used."""
    newer, older, present, used = caches.newer, caches.older, caches.present, caches.used_bytes
    level = cache & 1
    while used[cache] > room:
        oldest = newer[base + tenants]
        above = newer[base + oldest]
        newer[base + tenants] = above
        older[base + above] = tenants
        present[base + oldest] = False
        used[cache] -= caches.size_bytes[level, oldest]
        if level == MEMORY and counted:
            age = now - caches.last_seconds[cache >> 1, oldest]
            tally.age_sums[0] += 1
            tally.age_sums[1] += age
            tally.age_sums[2] = min(tally.age_sums[2], age)
            tally.ages[min(max(int(8 * (np.log2(max(age, 1e-9)) + 10)), 0), AGE_BINS - 1)] += 1
            tally.per_hour[int(now // 3600) - tally.from_hour, EVICTED] += 1


@inlined
def request(caches: Caches, instance: int, who: int, now: float, counted: bool, tally: Tally) -> int:
    """One request on one instance; returns its outcome."""
    newer, older, present = caches.newer, caches.older, caches.present
    tenants = caches.size_bytes.shape[1]
    outcome = FROM_S3
    for level in (DISK, MEMORY):
        cache = 2 * instance + level
        base = cache * (tenants + 1)
        linked = present[base + who]
        if linked:
            outcome = level
        elif level == DISK and present[base - tenants - 1 + who]:
            # In memory, and already gone from disk: nothing is fetched.
            continue
        else:
            size, capacity = caches.size_bytes[level, who], caches.capacity_bytes[level]
            if size > capacity:
                continue
            _make_room(caches, cache, base, tenants, capacity - size, now, counted, tally)
            caches.used_bytes[cache] += size
            present[base + who] = True
        to_top(newer, older, base, tenants, who, linked)
    caches.last_seconds[instance, who] = now
    return outcome


@compiled
def _free_slot(busy_until: NDArray[np.float64], now: float) -> int:
    for slot in range(len(busy_until)):
        if busy_until[slot] <= now:
            return slot
    return -1


@compiled
def _route(routing: Routing, instances: int, who: int, now: float, tally: Tally) -> tuple[int, int]:
    """The instance, and its free slot (-1: none, or not asked for)."""
    owner = int(routing.instance_of[who])
    if owner < 0:
        owner = int(random(tally.state) * instances)
    # A model's second instance is always the same one, so that it has one more copy, not one everywhere.
    second = (owner + 1 + who % max(instances - 1, 1)) % instances
    if instances > 1 and routing.spill_share > 0 and random(tally.state) < routing.spill_share:
        tally.state[2] += np.uint64(1)
        owner = second
    if routing.busy_until.shape[1] == 0:
        return owner, -1
    slot = _free_slot(routing.busy_until[owner], now)
    if slot >= 0:
        return owner, slot
    for step in range(instances - 1):
        other = (second + step) % instances
        slot = _free_slot(routing.busy_until[other], now)
        if slot >= 0:
            tally.state[2] += np.uint64(1)
            return other, slot
    tally.state[3] += np.uint64(1)
    return owner, -1


@compiled
def run(
    tenant: NDArray[np.int32],
    seconds: NDArray[np.float64],
    warm_tenant: NDArray[np.int32],
    warm_seconds: NDArray[np.float64],
    caches: Caches,
    routing: Routing,
    counted: bool,
    tally: Tally,
) -> None:
    """Serve a chunk of requests in time order; warm-up accesses come in at their times and are never counted."""
    instances = len(caches.last_seconds)
    for index in range(len(tenant)):
        who, now = tenant[index], seconds[index]
        while tally.state[0] < len(warm_tenant) and warm_seconds[np.int64(tally.state[0])] <= now:
            at = np.int64(tally.state[0])
            owner = int(routing.instance_of[warm_tenant[at]])
            if owner < 0:
                owner = int(random(tally.state) * instances)
            request(caches, owner, warm_tenant[at], warm_seconds[at], False, tally)
            tally.state[0] += np.uint64(1)
        instance, slot = _route(routing, instances, who, now, tally)
        outcome = request(caches, instance, who, now, counted, tally)
        if slot >= 0:
            routing.busy_until[instance, slot] = now + routing.outcome_seconds[outcome]
        if counted:
            tally.per_tenant[who, outcome] += 1
            tally.per_hour[int(now // 3600) - tally.from_hour, outcome] += 1
