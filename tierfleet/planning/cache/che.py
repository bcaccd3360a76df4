"""Che's approximation: the hit ratios of an LRU cache from rates alone, without a trace.

A model stays in the cache for a characteristic time T after its last call, the same for all models (Che, Tung, Wang:
Hierarchical Web caching systems, IEEE JSAC 2002). T is where the expected memory in use is the capacity:

    sum of resident size * O(T) = capacity

and a call hits if the previous one is at most T old: with probability H(T). For independent calls O(T) = H(T) =
1 - exp(-lambda T). For calls in sessions, O and H are those of `sessions`. A model bigger than the capacity is never
admitted. Exact in the limit of many models; for a few dozen it is off by a point or so.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from tierfleet.planning.traffic.rates import Rates
from tierfleet.planning.traffic.sessions import Sessions

# Measured against exact passes over public traces. Where every tenant calls in turn LRU hits nothing until all models
# fit, and the approximation does not know the order.
CHE_NOTICE: Final = (
    "hit ratios from rates are Che's approximation: up to 14 points off on public traces of models, and 38 or more "
    "where tenants call in turn, such as nightly batches; from a trace they are exact"
)


@dataclass(frozen=True)
class Approximation:
    """Hit ratios at one capacity.

    tenant_hit_ratios: float64 per tenant; 0 for a tenant that never calls.
    characteristic_seconds: float64 per period of the rates, how long a model stays after its last call; infinite where
    all fit. loads_per_hour: misses; in a full cache, as many evictions if sizes are equal.
    """

    hit_ratio: float
    tenant_hit_ratios: NDArray[np.float64]
    characteristic_seconds: NDArray[np.float64]
    loads_per_hour: float


def che(rates: Rates, resident_mib: NDArray[np.float64], capacity_mib: float) -> Approximation:
    """One cache. resident_mib: memory of each tenant's loaded model.

    Rates that follow the day are taken as steady within each period, so T must be well below a period's length.
    """
    per_second = rates.per_second
    hits = np.zeros(per_second.shape)
    seconds = np.full(len(rates.period_share), np.inf)
    for period in range(len(rates.period_share)):
        rate = per_second[:, period]
        admitted = (resident_mib <= capacity_mib) & (rate > 0)
        seconds[period] = _characteristic_seconds(rates.sessions, rate[admitted], resident_mib[admitted], capacity_mib)
        stays = np.isfinite(seconds[period])
        hits[admitted, period] = rates.sessions.gap_within(rate[admitted], seconds[period]) if stays else 1.0
    hit_rate = (per_second * hits) @ rates.period_share
    call_rate = per_second @ rates.period_share
    hit_ratio = float(hit_rate.sum() / call_rate.sum())
    per_tenant = np.divide(hit_rate, call_rate, out=np.zeros(len(call_rate)), where=call_rate > 0)
    return Approximation(hit_ratio, per_tenant, seconds, float(call_rate.sum()) * (1 - hit_ratio) * 3600)


def che_per_instance(
    rates: Rates, resident_mib: NDArray[np.float64], capacity_mib: float, instance_of: NDArray[np.int16]
) -> float:
    """The hit ratio of several caches of one capacity each, every tenant on its own instance."""
    hits = 0.0
    for instance in range(int(instance_of.max()) + 1):
        own = instance_of == instance
        called = float(rates.requests_per_day[own].sum())
        if called > 0:
            hits += che(rates.of(own), resident_mib[own], capacity_mib).hit_ratio * called
    return hits / float(rates.requests_per_day.sum())


def _characteristic_seconds(
    sessions: Sessions, per_second: NDArray[np.float64], resident_mib: NDArray[np.float64], capacity_mib: float
) -> float:
    if resident_mib.sum() <= capacity_mib:
        return float("inf")

    def excess(log_seconds: float) -> float:
        return float(resident_mib @ sessions.occupancy(per_second, float(np.exp(log_seconds)))) - capacity_mib

    # From a microsecond to a million times the mean gap of the rarest tenant.
    # In logarithms, since the answer may be milliseconds or months.
    return float(np.exp(brentq(excess, np.log(1e-6), np.log(1e6 / per_second.min()), xtol=1e-10)))
