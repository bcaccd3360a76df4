"""Call times of whole tiers, and their percentiles by class of call."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.profiles.latency import Latency, Network, Shares, latency
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.fleet_option import Percentiles, TierLatency
from tierfleet.planning.search.requirements import MIN_EVALUATED_SHARE

Array = NDArray[np.float64]

# No network between caller and container: what ModelLatency measures.
CONTAINER_ONLY: Final = Network(overhead_p50_ms=1e-3, overhead_p99_ms=2e-3)


def always_in_memory(profile: Profile, model_mb: Array, calls: Array, network: Network) -> Latency:
    """Call times of an endpoint where no call waits for a load. model_mb, calls: one value a tenant."""
    shares = Shares(1.0, 0.0, 0.0)
    return latency(profile, model_mb, shares, vcpus=1, loads_per_second=0.0, network=network, weights=calls)


def container_times(profile: Profile, model_mb: Array, calls: Array) -> Latency:
    """ModelLatency where every model is in memory."""
    return always_in_memory(profile, model_mb, calls, CONTAINER_ONLY)


def container_p99(profile: Profile, model_mb: Array, calls: Array) -> float:
    """Seconds: p99 of ModelLatency where every model is in memory."""
    return container_times(profile, model_mb, calls).percentile(99)


def loads_percentile(times: Latency, percent: float) -> float | None:
    """Seconds: of calls that wait for a load, their own or a running one; None if there are next to none."""
    loads = _loads(times)
    return None if loads is None else _weighted(*loads, percent)


def tier_latency(
    tier: str, times: Latency, container_p99_seconds: float, outside_share: float | None = None
) -> TierLatency:
    """The percentiles of one tier. outside_share: share of its calls that miss the requirements, 0 to 1."""
    warm = np.percentile(times.warm, [50, 95, 99])
    loads = _loads(times)
    return TierLatency(
        tier=tier,
        every=Percentiles(share=1.0, p50=times.percentile(50), p95=times.percentile(95), p99=times.percentile(99)),
        warm=Percentiles(share=times.shares.warm, p50=float(warm[0]), p95=float(warm[1]), p99=float(warm[2])),
        loads=None
        if loads is None
        else Percentiles(
            share=1 - times.shares.warm,
            p50=_weighted(*loads, 50),
            p95=_weighted(*loads, 95),
            p99=_weighted(*loads, 99),
        ),
        container_p99_seconds=container_p99_seconds,
        outside_share=outside_share,
    )


def _loads(times: Latency) -> tuple[Array, Array] | None:
    """Seconds and weights of the calls that wait for a load."""
    if 1 - times.shares.warm < MIN_EVALUATED_SHARE:
        return None
    weights = np.concatenate([np.full(len(seconds), share) for seconds, share in times.loads])
    return np.concatenate([seconds for seconds, _ in times.loads]), weights


def _weighted(seconds: Array, weights: Array, percent: float) -> float:
    order = np.argsort(seconds)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(seconds[order][min(int(np.searchsorted(reached, percent / 100 - 1e-12)), len(order) - 1)])
