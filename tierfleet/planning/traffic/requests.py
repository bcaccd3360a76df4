"""What every cache model reads: requests in time order, as arrays."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_FOLLOWED: Final = 3_000_000
"""So many calls of a trace are followed one by one at most, the last ones: for each fleet that is looked at."""

Progress = Callable[[int], None]
"""Called with the number of requests that were done since the last call."""


@dataclass(frozen=True)
class Requests:
    """A trace in memory, or mapped from files when it is big.

    tenants: the names, in sorted order; an index into it is a tenant everywhere in the planner.
    tenant: int32, one index per request, in time order.
    seconds: float64, the Unix time of each request; never falls.
    model_bytes: float64, the size of each tenant's artefact; NaN where the trace does not say.
    """

    tenants: tuple[str, ...]
    tenant: NDArray[np.int32]
    seconds: NDArray[np.float64]
    model_bytes: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.tenant) == len(self.seconds) > 0:
            raise ValueError(f"{len(self.tenant)} tenants and {len(self.seconds)} times; give one of each per request")
        if len(self.model_bytes) != len(self.tenants):
            raise ValueError(f"{len(self.model_bytes)} model sizes for {len(self.tenants)} tenants")

    def __len__(self) -> int:
        return len(self.tenant)

    @property
    def duration_seconds(self) -> float:
        """From the first request to the last."""
        return float(self.seconds[-1] - self.seconds[0])

    def index_at(self, seconds: float) -> int:
        """The index of the first request at or after a Unix time; len(self) if there is none."""
        return int(np.searchsorted(self.seconds, seconds))

    def requests_per_tenant(self) -> NDArray[np.int64]:
        """int64, one count per tenant."""
        counts = np.zeros(len(self.tenants), np.int64)
        step = 1 << 22
        for start in range(0, len(self), step):
            counts += np.bincount(self.tenant[start : start + step], minlength=len(self.tenants))
        return counts


def requests_of(requests: Requests, chosen: NDArray[np.bool_]) -> Requests | None:
    """The requests of some of the tenants, a boolean for each; None where they have none."""
    if chosen.all():
        return requests
    index = np.cumsum(chosen).astype(np.int32) - 1
    kept = chosen[requests.tenant]
    if not kept.any():
        return None
    names = tuple(name for name, keep in zip(requests.tenants, chosen.tolist(), strict=True) if keep)
    tenant = index[requests.tenant[kept]]
    return Requests(names, tenant, np.asarray(requests.seconds[kept]), requests.model_bytes[chosen])


def latest(requests: Requests, most: int) -> Requests:
    """The last `most` requests, or all if there are fewer; the arrays are shared."""
    if len(requests) <= most:
        return requests
    return replace(requests, tenant=requests.tenant[-most:], seconds=requests.seconds[-most:])


def filled_at(requests: Requests, followed: Requests) -> float:
    """Unix seconds from which on the caches count as filled, where only the last requests are followed: by a third of
    them. Minus infinity where all are.
    """
    return -math.inf if len(followed) == len(requests) else float(followed.seconds[len(followed) // 3])


def whole_bytes(mib: NDArray[np.float64]) -> NDArray[np.int64]:
    """Resident sizes in MiB -> whole bytes, at least one. Raises ValueError where a size is not positive."""
    wrong = np.flatnonzero(~(np.isfinite(mib) & (mib > 0)))
    if len(wrong):
        raise ValueError(f"the resident size of tenant {wrong[0]} is {mib[wrong[0]]} MiB; give a number above 0")
    return np.maximum(np.rint(mib * 2**20), 1).astype(np.int64)
