"""The curve of the shared tier as one cache, with its bounds, and published claims beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tierfleet.cost.prices import HOURS_PER_MONTH, PriceTable
from tierfleet.instance_types import describe
from tierfleet.planning.cache.bounds import belady, static_optimum
from tierfleet.planning.cache.che import che
from tierfleet.planning.cache.miss_ratio_curve import MissRatioCurve, miss_ratio_curve
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.plan import Claim, CurvePoint
from tierfleet.planning.traffic.workload import Workload

_POINTS = 16
# Belady's bound is computed for traces up to this length: it needs a pass per point.
_MOST_FOR_BELADY = 5_000_000


def curve_points(workload: Workload, models: Sequence[float] = ()) -> tuple[CurvePoint, ...]:
    """One cache that holds so many models of one size each; some steps up to all where none are named.

    The approximation stands beside the exact ratio only where models are named: it takes as long as the rest.
    All models count as one size here, so that the curve is about calls alone.
    """
    tenants = len(workload.tenants)
    if not tenants:
        return ()
    wanted = sorted(models) or sorted({round(n) for n in np.geomspace(min(8, tenants), tenants, _POINTS)})
    curve, counts = _exact(workload)
    ones = np.ones(tenants)
    found = []
    for count in wanted:
        lru = best = None
        if curve is not None and workload.requests is not None:
            lru = curve.hit_ratio(float(count))
            if curve.counted <= _MOST_FOR_BELADY:
                fit = min(max(int(count), 1), tenants)
                best = belady(workload.requests, fit, counted_from=curve.counted_from)
        found.append(
            CurvePoint(
                models=float(count),
                lru=lru,
                che=min(che(workload.rates, ones, float(count)).hit_ratio, 1.0) if models or lru is None else None,
                static=static_optimum(counts, ones, float(count)),
                belady=best,
            )
        )
    return tuple(found)


def claims(
    workload: Workload,
    claimed: Mapping[int, float | None],
    profiles: Sequence[Profile],
    prices: PriceTable,
    region: str,
    types: Sequence[str],
    least_instances: int,
) -> tuple[Claim, ...]:
    """Each claimed count of models: what a cache of it hits, the memory it takes, the cheapest instances that hold it.

    claimed: models to hit ratio, None where only the computed one is wanted.
    """
    points = curve_points(workload, list(claimed)) if claimed else ()
    size = float(np.average(workload.model_mb)) if len(workload.model_mb) else 0.0
    found = []
    for (models, ratio), point in zip(sorted(claimed.items()), points, strict=True):
        memory, cheapest, usd = {}, {}, {}
        for profile in profiles:
            memory[profile.name] = models * profile.resident_mib(size)
            choice = _cheapest(models, profile, size, prices, region, types, least_instances)
            cheapest[profile.name] = None if choice is None else f"{choice[1]} x {choice[2]}"
            usd[profile.name] = None if choice is None else choice[0]
        found.append(Claim(models, ratio, point, memory, cheapest, usd))
    return tuple(found)


def _exact(workload: Workload) -> tuple[MissRatioCurve | None, NDArray[np.float64]]:
    if workload.requests is None:
        return None, workload.calls_per_day
    curve = miss_ratio_curve(
        workload.requests,
        np.ones(len(workload.tenants)),
        counted_from_seconds=min(workload.counted_from_seconds, float(workload.requests.seconds[-1])),
    )
    counted = workload.requests.tenant[curve.counted_from :]
    return curve, np.bincount(counted, minlength=len(workload.tenants)).astype(np.float64)


def _cheapest(
    models: int,
    profile: Profile,
    size: float,
    prices: PriceTable,
    region: str,
    types: Sequence[str],
    least_instances: int,
) -> tuple[float, int, str] | None:
    choices = []
    for name in types:
        each = profile.models_per_instance(describe(name).memory_gib, size)
        if each:
            count = max(-(-models // each), least_instances)
            choices.append((count * prices.hourly_price(name, region).usd * HOURS_PER_MONTH, count, name))
    return min(choices, default=None)
