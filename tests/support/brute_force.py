"""An LRU cache in the plainest Python, to hold the fast ones against; and small traces."""

from collections import OrderedDict

import numpy as np
from hypothesis import strategies as st

from tierfleet.planning.traffic.requests import Requests

MIB = 2**20


class PlainCache:
    """Evicts the least recently used until the new object fits; never admits one bigger than itself."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: OrderedDict[int, int] = OrderedDict()
        self.evicted: list[int] = []

    def request(self, key: int, size: int) -> bool:
        if key in self.held:
            self.held.move_to_end(key)
            return True
        if size <= self.capacity:
            while sum(self.held.values()) + size > self.capacity:
                self.evicted.append(self.held.popitem(last=False)[0])
            self.held[key] = size
        return False


def requests_of(tenants: list[int], seconds: list[float] | None = None, count: int | None = None) -> Requests:
    """A trace of tenant numbers, one a second unless times are given."""
    names = count or max(tenants) + 1
    return Requests(
        tenants=tuple(f"t{number:04}" for number in range(names)),
        tenant=np.array(tenants, np.int32),
        seconds=np.arange(len(tenants), dtype=np.float64) if seconds is None else np.array(seconds, np.float64),
        model_bytes=np.full(names, np.nan),
    )


# (sizes in bytes, tenants): up to 12 models, some much bigger than others, and up to 120 requests.
sized_traces = st.lists(st.integers(1, 40), min_size=1, max_size=12).flatmap(
    lambda sizes: st.tuples(st.just(sizes), st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=120))
)
