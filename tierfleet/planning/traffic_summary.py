"""The traffic of a plan: who calls when, the shared tier's curve with its bounds, and published hit ratios."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tierfleet.cost.prices import HOURS_PER_MONTH
from tierfleet.planning.answer import Choice
from tierfleet.planning.cache.bounds import belady, static_optimum
from tierfleet.planning.cache.che import che
from tierfleet.planning.cache.miss_ratio_curve import MissRatioCurve, miss_ratio_curve
from tierfleet.planning.plan import TrafficSummary
from tierfleet.planning.plan_parts import CurvePoint, PublishedRatio
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.request import ResolvedRequest
from tierfleet.planning.search.search import Progress
from tierfleet.planning.traffic.workload import Workload

_POINTS = 16
# Belady's bound takes a pass for each point, so it is left out for longer traces.
_MAX_CALLS_FOR_BELADY = 5_000_000

# Called with 1 after each point of a curve.
Step = Callable[[int], None]


def traffic_summary(resolved: ResolvedRequest, choice: Choice, progress: Progress) -> TrafficSummary:
    """The traffic of the request, as the chosen fleet divides it."""
    request, tail = resolved.request, choice.tail
    workload, config = request.workload, request.config

    def step(done: int) -> None:
        progress("curve of the shared tier", done, 0)

    return TrafficSummary(
        source=request.source,
        tenants=len(workload.tenants),
        tail_tenants=len(tail.tenants),
        models_in_memory=choice.model.models_in_memory(choice.shown),
        calls_per_day=float(workload.calls_per_day.sum()),
        days=request.days,
        period=request.period,
        calls_per_session=workload.rates.sessions.calls,
        mean_gap_seconds=workload.rates.sessions.mean_gap_seconds,
        model_megabytes=(float(workload.model_mb.min()), float(workload.model_mb.max())),
        hours_by_tier=_hours_by_tier(workload, choice.dedicated, config.default_tier, resolved.joins),
        curve=curve_points(tail, step=step),
        published=published_ratios(resolved, tail, step),
        published_usd=request.published_usd,
    )


def curve_points(
    workload: Workload, models: Sequence[float] = (), step: Step = lambda _: None
) -> tuple[CurvePoint, ...]:
    """Hit ratios of one cache that holds so many models of one size; 16 steps up to all of them if none are given.

    Che's approximation is next to the exact ratio only where models are given: it takes as long as the rest.
    All models count as one size here, so that the curve shows the effect of the calls alone.
    """
    tenants = len(workload.tenants)
    if not tenants:
        return ()
    counts = sorted(models) or sorted({round(n) for n in np.geomspace(min(8, tenants), tenants, _POINTS)})
    curve, calls = _exact(workload)
    ones = np.ones(tenants)
    points = []
    for count in counts:
        lru = best = None
        if curve is not None and workload.requests is not None:
            lru = curve.hit_ratio(float(count))
            if curve.counted <= _MAX_CALLS_FOR_BELADY:
                fit = min(max(int(count), 1), tenants)
                best = belady(workload.requests, fit, counted_from=curve.counted_from)
        points.append(
            CurvePoint(
                models=float(count),
                lru=lru,
                che=min(che(workload.rates, ones, float(count)).hit_ratio, 1.0) if models or lru is None else None,
                static=static_optimum(calls, ones, float(count)),
                belady=best,
            )
        )
        step(1)
    return tuple(points)


def published_ratios(resolved: ResolvedRequest, tail: Workload, step: Step) -> tuple[PublishedRatio, ...]:
    """Each published number of models: its hit ratio, its memory, and the cheapest instances that hold it."""
    published = resolved.request.published
    points = curve_points(tail, list(published), step) if published else ()
    size = float(np.average(tail.model_mb)) if len(tail.model_mb) else 0.0
    ratios = []
    for (models, ratio), point in zip(sorted(published.items()), points, strict=True):
        memory, cheapest, usd = {}, {}, {}
        for profile in resolved.request.profiles.values():
            memory[profile.name] = models * profile.resident_mib(size)
            choice = _cheapest(models, profile, size, resolved)
            cheapest[profile.name] = None if choice is None else f"{choice[1]} x {choice[2]}"
            usd[profile.name] = None if choice is None else choice[0]
        ratios.append(PublishedRatio(models, ratio, point, memory, cheapest, usd))
    return tuple(ratios)


def _cheapest(models: int, profile: Profile, size: float, resolved: ResolvedRequest) -> tuple[float, int, str] | None:
    """US dollars a month, count and name of the cheapest instances that hold so many models."""
    request, choices = resolved.request, []
    for instance_type in resolved.bounds.types:
        each = profile.models_per_instance(instance_type.memory_gib, size)
        if each:
            count = max(-(-models // each), resolved.bounds.min_instances)
            hour = request.prices.hourly_price(instance_type.name, request.config.region)
            choices.append((count * hour.usd * HOURS_PER_MONTH, count, instance_type.name))
    return min(choices, default=None)


def _exact(workload: Workload) -> tuple[MissRatioCurve | None, NDArray[np.float64]]:
    """The exact curve, None without a trace; and the counted calls of each tenant."""
    if workload.requests is None:
        return None, workload.calls_per_day
    curve = miss_ratio_curve(
        workload.requests,
        np.ones(len(workload.tenants)),
        counted_from_seconds=min(workload.counted_from_seconds, float(workload.requests.seconds[-1])),
    )
    counted = workload.requests.tenant[curve.counted_from :]
    return curve, np.bincount(counted, minlength=len(workload.tenants)).astype(np.float64)


def _hours_by_tier(
    workload: Workload, dedicated: frozenset[str], tail_name: str, joins: str
) -> Mapping[str, tuple[float, ...]]:
    """Mean calls a second in each hour of a day, UTC."""
    own = np.array([name in dedicated for name in workload.tenants], np.bool_)
    hours = {}
    for name, chosen in ((tail_name, ~own), (joins, own)):
        if chosen.any():
            day = workload.calls_by_hour[chosen].sum(axis=0).reshape(7, 24).mean(axis=0) / 3600
            hours[name] = tuple(day.tolist())
    return hours
