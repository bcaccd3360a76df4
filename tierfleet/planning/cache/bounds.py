"""What no cache, or no fixed choice of models, can beat; to compare with LRU."""

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.jit import compiled
from tierfleet.planning.traffic.requests import Requests, whole_bytes


def static_optimum(
    requests_per_tenant: NDArray[np.float64] | NDArray[np.int64], resident_mib: NDArray[np.float64], capacity_mib: float
) -> float:
    """The hit ratio when the models with the most requests per MiB are in memory for good.

    With equal sizes that is the best fixed set. With unequal ones the best is a knapsack; this takes models in falling
    order of requests per MiB and skips the ones that do not fit, which misses at most one model's requests.
    """
    fill, hits = 0, 0.0
    capacity = int(capacity_mib * 2**20 * (1 + 1e-12))
    size_bytes = whole_bytes(resident_mib)
    for tenant in np.argsort(-requests_per_tenant / size_bytes, kind="stable"):
        if fill + size_bytes[tenant] <= capacity:
            fill += int(size_bytes[tenant])
            hits += float(requests_per_tenant[tenant])
    return hits / float(requests_per_tenant.sum())


def belady(requests: Requests, capacity_models: int, *, counted_from: int = 0) -> float:
    """The best hit ratio any cache of so many models of equal size can have; it knows the future.

    Evicts the model whose next request is furthest away (Belady 1966; optimal for equal sizes if each request's model
    must be loaded, as here). counted_from: the index of the first request that counts.
    """
    following = _next_request(np.asarray(requests.tenant), len(requests.tenants))
    hits = _furthest_first(np.asarray(requests.tenant), following, len(requests.tenants), capacity_models, counted_from)
    return hits / (len(requests) - counted_from)


def resource_bound(
    requests: Requests, resident_mib: NDArray[np.float64], capacities_mib: NDArray[np.float64], *, counted_from: int = 0
) -> NDArray[np.float64]:
    """A hit ratio that no cache exceeds, whatever its policy and with unequal sizes; one per capacity.

    To hit, a model must stay in memory since its last request: it uses size x requests in between. All hits together
    can use no more than capacity x requests, so taking the cheapest hits first gives the bound (PFOO-L of Berger,
    Beckmann, Harchol-Balter: Practical bounds on optimal caching with variable object sizes, SIGMETRICS 2018). For
    equal sizes `belady` is tighter. Needs 24 bytes of memory per request.
    """
    tenant = np.asarray(requests.tenant)
    following = _next_request(tenant, len(requests.tenants))
    start = np.flatnonzero((following < len(requests)) & (following >= counted_from))
    length = following[start] - np.maximum(start, counted_from)
    used = np.sort(length * whole_bytes(resident_mib)[tenant[start]].astype(np.float64))
    counted = len(requests) - counted_from
    budget = capacities_mib * 2**20 * counted
    return np.searchsorted(np.cumsum(used), budget, "right") / counted


@compiled
def _next_request(tenant: NDArray[np.int32], tenants: int) -> NDArray[np.int64]:
    """The index of the tenant's next request; beyond the end, a different number for each tenant."""
    upcoming = len(tenant) + np.arange(tenants)
    following = np.empty(len(tenant), np.int64)
    for index in range(len(tenant) - 1, -1, -1):
        following[index] = upcoming[tenant[index]]
        upcoming[tenant[index]] = index
    return following


@compiled
def _furthest_first(
    tenant: NDArray[np.int32], following: NDArray[np.int64], tenants: int, capacity: int, counted_from: int
) -> int:
    # A binary heap of the cached tenants, the furthest next request on top; place[t] is -1 outside.
    heap = np.empty(capacity + 1, np.int32)
    key = np.empty(tenants, np.int64)
    place = np.full(tenants, -1, np.int64)
    size, hits = 0, 0
    for index in range(len(tenant)):
        who = tenant[index]
        if place[who] >= 0:
            hits += index >= counted_from
            at = place[who]
        else:
            if size == capacity:
                # The new model takes the place of the one that is needed last.
                place[heap[0]] = -1
                at = 0
            else:
                at = size
                size += 1
            heap[at] = who
        key[who] = following[index]
        # A request's next one lies further away than any that was due before, mostly: up first, then down.
        while at > 0 and key[heap[(at - 1) // 2]] < key[who]:
            heap[at] = heap[(at - 1) // 2]
            place[heap[at]] = at
            at = (at - 1) // 2
        while True:
            child = 2 * at + 1
            if child >= size:
                break
            if child + 1 < size and key[heap[child + 1]] > key[heap[child]]:
                child += 1
            if key[heap[child]] <= key[who]:
                break
            heap[at] = heap[child]
            place[heap[at]] = at
            at = child
        heap[at] = who
        place[who] = at
    return hits
