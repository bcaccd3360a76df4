"""Stack distances: how much was used since a tenant's last request. One pass gives LRU caches of every size.

The recency stack lies in numbered slots, the newest last: a request moves its tenant to the next free slot. A
distance is what is at or above the tenant's old slot, so all there is to do is to know what is below it, fast.
Slots form groups of 16, these again, and so on; each group knows what is before it in the group above. Reading is
one addition a level; taking a tenant away changes the later ones of 16 neighbours a level, which the processor does a
few at a time. When the slots are used up the living ones move together; so memory depends on the
tenants, not on the requests.

Stacks of equal sizes need only one bit per slot: 64 slots are one word, counted by the processor.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.jit import compiled, inlined, population_count

# Slots per tenant: fewer means moving together more often, more means worse locality.
_SLOTS_PER_TENANT: Final = 4
_LEAST_SLOTS: Final = 1 << 13
# Masks that tell the compiler what it cannot know: an index is not negative, a first one is a multiple of 16.
_INDEX: Final = (1 << 62) - 1
_FIRST: Final = (1 << 62) - 16


class Stack(NamedTuple):
    """The recency stack between two calls of a pass; make it with `unit_stack` or `byte_stack`.

    slot_of: int32 per tenant, -1 before the first request. tenant_at: int32 per slot, of its last user.
    bits: uint64 words of 64 slots, set where a tenant is.
    sums: int32 (unit stacks) or int64, all levels one after the other; level l starts at starts[l] and has one entry
    per 16^l words (unit stacks) or slots (byte stacks): what is before it in its group of 16.
    state: [next free slot, what is on the stack].
    """

    slot_of: NDArray[np.int32]
    tenant_at: NDArray[np.int32]
    bits: NDArray[np.uint64]
    sums: NDArray[Any]
    starts: NDArray[np.int64]
    state: NDArray[np.int64]


def unit_stack(tenants: int) -> Stack:
    """An empty stack of equal sizes: a distance counts tenants, the one itself included."""
    return _stack(tenants, slots_per_entry=64, kind=np.int32)


def byte_stack(tenants: int) -> Stack:
    """An empty stack of sizes in bytes: a distance sums sizes, the tenant's own included."""
    return _stack(tenants, slots_per_entry=1, kind=np.int64)


def _stack(tenants: int, slots_per_entry: int, kind: type[np.signedinteger[Any]]) -> Stack:
    slots = max(_LEAST_SLOTS, 1 << (tenants * _SLOTS_PER_TENANT - 1).bit_length())
    lengths = [slots // slots_per_entry]
    while lengths[-1] > 16:
        lengths.append(-(-lengths[-1] // 16))
    # A level is changed 16 entries at a time, and the last one's successor is written too.
    padded = [-(-length // 16) * 16 + 16 for length in lengths]
    starts = np.cumsum([0, *padded])
    return Stack(
        slot_of=np.full(tenants, -1, np.int32),
        tenant_at=np.zeros(slots, np.int32),
        bits=np.zeros(slots // 64, np.uint64),
        sums=np.zeros(int(starts[-1]), kind),
        starts=starts[:-1].astype(np.int64),
        state=np.zeros(2, np.int64),
    )


@inlined
def _before(sums: NDArray[Any], starts: NDArray[np.int64], group: int) -> int:
    """What is in all groups before `group`."""
    total = 0
    for level in range(len(starts)):
        total += sums[(starts[level] + group) & _INDEX]
        group >>= 4
    return total


@inlined
def _take_away(sums: NDArray[Any], starts: NDArray[np.int64], group: int, amount: int) -> None:
    """`group` holds less from now on, so all that follow have less before them."""
    for level in range(len(starts)):
        inside = group & 15
        first = (starts[level] + group) & _FIRST
        for i in range(inside + 1, 16):
            sums[first + i] -= amount
        group >>= 4


@compiled
def _complete(sums: NDArray[Any], starts: NDArray[np.int64], group: int, total: int) -> None:
    """`group` is full and holds `total`: say what is before the next one."""
    for level in range(len(starts)):
        total += sums[starts[level] + group]
        group += 1
        sums[starts[level] + group] = total if group & 15 else 0
        if group & 15:
            return
        group = (group >> 4) - 1


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
            word = old >> 6
            bit = one << np.uint64(old & 63)
            before = population_count(bits[word] & (bit - one)) + _before(sums, starts, word)
            counts[living - before] += 1
            bits[word] &= ~bit
            _take_away(sums, starts, word, 1)
        else:
            counts[0] += 1
            living += 1
        bits[now >> 6] |= one << np.uint64(now & 63)
        tenant_at[now] = who
        slot_of[who] = now
        now += 1
        if now & 63 == 0:
            _complete(sums, starts, (now >> 6) - 1, population_count(bits[(now >> 6) - 1]))
            if now == len(tenant_at):
                now = _move_together(slot_of, tenant_at, bits)
                sums[:] = 0
                for word in range(now >> 6):
                    _complete(sums, starts, word, 64)
    state[0], state[1] = now, living


@compiled
def byte_pass(
    tenant: NDArray[np.int32], size_bytes: NDArray[np.int64], stack: Stack, shift: int, counts: NDArray[np.int64]
) -> None:
    """Push requests; counts[ceil(d / 2^shift)] grows by one for each of distance d bytes, counts[0] for a first one."""
    slot_of, tenant_at, bits, sums, starts, state = stack
    one = np.uint64(1)
    now, living = int(state[0]), int(state[1])
    for index in range(len(tenant)):
        who = tenant[index]
        size = size_bytes[who]
        old = int(slot_of[who])
        if old >= 0:
            counts[((living - _before(sums, starts, old) - 1) >> shift) + 1] += 1
            bits[old >> 6] &= ~(one << np.uint64(old & 63))
            _take_away(sums, starts, old, size)
        else:
            counts[0] += 1
            living += size
        bits[now >> 6] |= one << np.uint64(now & 63)
        tenant_at[now] = who
        slot_of[who] = now
        _complete(sums, starts, now, size)
        now += 1
        if now == len(tenant_at):
            now = _move_together(slot_of, tenant_at, bits)
            sums[:] = 0
            for slot in range(now):
                _complete(sums, starts, slot, size_bytes[tenant_at[slot]])
    state[0], state[1] = now, living


@compiled
def _move_together(slot_of: NDArray[np.int32], tenant_at: NDArray[np.int32], bits: NDArray[np.uint64]) -> int:
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


def distances_now(stack: Stack, size_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes from the top of the stack down to and with each tenant on it, ascending: what a cache must hold for it."""
    seen = np.flatnonzero(stack.slot_of >= 0)
    newest_first = seen[np.argsort(-stack.slot_of[seen])]
    return np.cumsum(size_bytes[newest_first])
