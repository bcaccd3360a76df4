"""Stack distances: how much was used since a tenant's last request. One pass gives LRU caches of every size.

The recency stack lies in numbered slots, the newest last: a request moves its tenant to the next free slot. A
distance is what stands at or above the tenant's old slot, so all there is to do is to sum over slots, fast. `Stack`
holds sums over 16, 256, 4,096, ... slots; a sum is read by at most 16 additions a level, without branches, and only
completed groups are kept up to date, since what lies below an old slot is complete. When the slots are used up the
living ones move together; so memory depends on the tenants, not on the requests.

Stacks of equal sizes need only one bit per slot: 512 slots are one group of 8 words, counted by the processor.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.compiled import compiled, population_count

# Slots per tenant: fewer means moving together more often, more means worse locality.
_SLOTS_PER_TENANT = 4
_LEAST_SLOTS = 1 << 13
_BITS_PER_GROUP = 9


class Stack(NamedTuple):
    """The recency stack between two calls of a kernel; make it with `unit_stack` or `byte_stack`.

    slot_of: int32 per tenant, -1 before the first request. tenant_at: int32 per slot, of its last user.
    leaves: uint64 words of 64 slots (unit stacks), or int64 bytes per slot. sums: int64, all levels one after the
    other; level l has an entry per 16^l groups and starts at starts[l]. state: [next free slot, what is on the stack].
    """

    slot_of: NDArray[np.int32]
    tenant_at: NDArray[np.int32]
    leaves: NDArray[Any]
    sums: NDArray[np.int64]
    starts: NDArray[np.int64]
    state: NDArray[np.int64]


def unit_stack(tenants: int) -> Stack:
    """An empty stack of equal sizes: a distance counts tenants, the one itself included."""
    slots = _slots(tenants)
    return _stack(tenants, slots, np.zeros(slots // 64, np.uint64), slots >> _BITS_PER_GROUP)


def byte_stack(tenants: int) -> Stack:
    """An empty stack of sizes in bytes: a distance sums sizes, the tenant's own included."""
    slots = _slots(tenants)
    return _stack(tenants, slots, np.zeros(slots, np.int64), slots >> 4)


def _slots(tenants: int) -> int:
    return max(_LEAST_SLOTS, 1 << (tenants * _SLOTS_PER_TENANT - 1).bit_length())


def _stack(tenants: int, slots: int, leaves: NDArray[Any], groups: int) -> Stack:
    lengths = [groups]
    while lengths[-1] > 16:
        lengths.append(lengths[-1] // 16 if lengths[-1] % 16 == 0 else lengths[-1] // 16 + 1)
    # A level is read 16 entries at a time.
    padded = [-(-length // 16) * 16 for length in lengths]
    starts = np.concatenate([[0], np.cumsum(padded)]).astype(np.int64)
    return Stack(
        slot_of=np.full(tenants, -1, np.int32),
        tenant_at=np.zeros(slots, np.int32),
        leaves=leaves,
        sums=np.zeros(int(starts[-1]), np.int64),
        starts=starts,
        state=np.zeros(2, np.int64),
    )


@compiled
def _below(sums: NDArray[np.int64], starts: NDArray[np.int64], group: int) -> int:
    """The sum over all groups before `group`."""
    total = 0
    for level in range(len(starts) - 1):
        inside = group & 15
        first = starts[level] + group - inside
        for i in range(16):
            total += sums[first + i] if i < inside else 0
        group >>= 4
    return total


@compiled
def _take_away(sums: NDArray[np.int64], starts: NDArray[np.int64], group: int, amount: int) -> None:
    for level in range(len(starts) - 1):
        sums[starts[level] + group] -= amount
        group >>= 4


@compiled
def _complete(sums: NDArray[np.int64], starts: NDArray[np.int64], group: int, total: int) -> None:
    """`group` is full and holds `total`; so are the groups above that end with it."""
    sums[starts[0] + group] = total
    for level in range(1, len(starts) - 1):
        if group & 15 != 15:
            return
        group >>= 4
        first = starts[level - 1] + group * 16
        above = 0
        for i in range(16):
            above += sums[first + i]
        sums[starts[level] + group] = above


@compiled
def unit_pass(tenant: NDArray[np.int32], stack: Stack, counts: NDArray[np.int64]) -> None:
    """Push requests; counts[d] grows by one for each whose distance is d tenants, counts[0] for a first request."""
    slot_of, tenant_at, bits, sums, starts, state = stack
    one = np.uint64(1)
    now, living = int(state[0]), int(state[1])
    for index in range(len(tenant)):
        who = tenant[index]
        old = int(slot_of[who])
        if old >= 0:
            word, group = old >> 6, old >> 9
            first = group * 8
            bit = one << np.uint64(old & 63)
            below = population_count(bits[word] & (bit - one))
            for i in range(8):
                below += population_count(bits[first + i]) if first + i < word else 0
            below += _below(sums, starts, group)
            counts[living - below] += 1
            bits[word] &= ~bit
            _take_away(sums, starts, group, 1)
        else:
            counts[0] += 1
            living += 1
        bits[now >> 6] |= one << np.uint64(now & 63)
        tenant_at[now] = who
        slot_of[who] = now
        now += 1
        if now & 511 == 0:
            first = (now >> 6) - 8
            total = 0
            for i in range(8):
                total += population_count(bits[first + i])
            _complete(sums, starts, (now >> 9) - 1, total)
            if now == len(tenant_at):
                now = _move_units_together(slot_of, tenant_at, bits)
                for group in range(now >> 9):
                    _complete(sums, starts, group, 512)
    state[0], state[1] = now, living


@compiled
def byte_pass(
    tenant: NDArray[np.int32], size_bytes: NDArray[np.int64], stack: Stack, shift: int, counts: NDArray[np.int64]
) -> None:
    """Push requests; counts[ceil(d / 2^shift)] grows by one for each of distance d bytes, counts[0] for a first one."""
    slot_of, tenant_at, sizes, sums, starts, state = stack
    now, living = int(state[0]), int(state[1])
    for index in range(len(tenant)):
        who = tenant[index]
        size = size_bytes[who]
        old = int(slot_of[who])
        if old >= 0:
            group, inside = old >> 4, old & 15
            first = old - inside
            below = _below(sums, starts, group)
            for i in range(16):
                below += sizes[first + i] if i < inside else 0
            counts[((living - below - 1) >> shift) + 1] += 1
            sizes[old] = 0
            _take_away(sums, starts, group, size)
        else:
            counts[0] += 1
            living += size
        sizes[now] = size
        tenant_at[now] = who
        slot_of[who] = now
        now += 1
        if now & 15 == 0:
            _complete_sizes(sizes, sums, starts, (now >> 4) - 1)
            if now == len(tenant_at):
                now = _move_sizes_together(slot_of, tenant_at, sizes)
                for group in range(now >> 4):
                    _complete_sizes(sizes, sums, starts, group)
    state[0], state[1] = now, living


@compiled
def _complete_sizes(sizes: NDArray[np.int64], sums: NDArray[np.int64], starts: NDArray[np.int64], group: int) -> None:
    total = 0
    for i in range(16):
        total += sizes[group * 16 + i]
    _complete(sums, starts, group, total)


@compiled
def _move_units_together(slot_of: NDArray[np.int32], tenant_at: NDArray[np.int32], bits: NDArray[np.uint64]) -> int:
    """Close the gaps; the order stays. Returns the next free slot."""
    free = 0
    for slot in range(len(tenant_at)):
        if bits[slot >> 6] >> np.uint64(slot & 63) & np.uint64(1):
            who = tenant_at[slot]
            slot_of[who] = free
            tenant_at[free] = who
            free += 1
    bits[:] = 0
    for slot in range(free):
        bits[slot >> 6] |= np.uint64(1) << np.uint64(slot & 63)
    return free


@compiled
def _move_sizes_together(slot_of: NDArray[np.int32], tenant_at: NDArray[np.int32], sizes: NDArray[np.int64]) -> int:
    """Close the gaps; the order stays. Returns the next free slot."""
    free = 0
    for slot in range(len(tenant_at)):
        if sizes[slot]:
            who = tenant_at[slot]
            slot_of[who] = free
            tenant_at[free] = who
            sizes[free] = sizes[slot]
            free += 1
    sizes[free:] = 0
    return free


def distances_now(stack: Stack, size_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes from the top of the stack down to and with each tenant on it, ascending: what a cache must hold for it."""
    seen = np.flatnonzero(stack.slot_of >= 0)
    newest_first = seen[np.argsort(-stack.slot_of[seen])]
    return np.cumsum(size_bytes[newest_first])
