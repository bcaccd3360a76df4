"""What every cache model reads: requests in time order, as arrays."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError

MAX_FOLLOWED: Final = 3_000_000
"""At most this many calls of a trace are simulated one by one, for each fleet that is evaluated."""

# A bigger model is a mistake.
_MOST_MEGABYTES: Final = 1e6

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
        # In pieces: bincount would copy a mapped trace into memory whole.
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


def busiest_stretch(
    requests: Requests, counted_from_seconds: float, most: int = MAX_FOLLOWED
) -> tuple[Requests, float]:
    """At most `most` requests in a row, and the Unix seconds from which they count. The arrays are shared.

    A longer trace is cut so that the counted hour in which the most tenants call is in it, with a third of the requests
    before that hour to fill the caches: models are loaded most often when the most tenants call. Otherwise the last
    requests are taken.
    """
    if len(requests) <= most:
        return requests, counted_from_seconds
    busiest = _hour_of_most_tenants(requests, requests.index_at(counted_from_seconds))
    start = max(min(len(requests) - most, busiest - most // 3), 0)
    part = replace(
        requests, tenant=requests.tenant[start : start + most], seconds=requests.seconds[start : start + most]
    )
    filled = min(start + most // 3, busiest)
    return part, max(counted_from_seconds, float(requests.seconds[filled]))


def _hour_of_most_tenants(requests: Requests, start: int) -> int:
    """The index of the first request of the hour in which the most tenants call, from index `start` on.

    Of hours with as many tenants, the one with the most calls.
    """
    best, first = (-1, -1), start
    at = start
    while at < len(requests):
        end = requests.index_at((float(requests.seconds[at]) // 3600 + 1) * 3600)
        tenants = int(np.count_nonzero(np.bincount(requests.tenant[at:end])))
        if (tenants, end - at) > best:
            best, first = (tenants, end - at), at
        at = end
    return min(first, len(requests) - 1)


def refuse_huge(tenants: tuple[str, ...], sizes_mb: NDArray[np.float64]) -> None:
    """Raises InputError for a model of more than a terabyte: the column or option is in another unit."""
    huge = np.flatnonzero(sizes_mb > _MOST_MEGABYTES)
    if len(huge):
        raise InputError(
            f"the size of {len(huge):,} of {len(tenants):,} models is above {_MOST_MEGABYTES:,.0f} MB, such as "
            f"{tenants[huge[0]]}'s of {sizes_mb[huge[0]]:.3g} MB; columns of sizes are in bytes, options say their unit"
        )


def whole_bytes(mib: NDArray[np.float64]) -> NDArray[np.int64]:
    """Resident sizes in MiB -> whole bytes, at least one. Raises ValueError where a size is not positive."""
    wrong = np.flatnonzero(~(np.isfinite(mib) & (mib > 0)))
    if len(wrong):
        raise ValueError(f"the resident size of tenant {wrong[0]} is {mib[wrong[0]]} MiB; give a number above 0")
    return np.maximum(np.rint(mib * 2**20), 1).astype(np.int64)
