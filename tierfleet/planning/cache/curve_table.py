"""Hit ratios at a few capacities side by side: LRU, Che, the static optimum, Belady."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tierfleet import text
from tierfleet.errors import InputError
from tierfleet.planning.cache.bounds import belady, resource_bound, static_optimum
from tierfleet.planning.cache.che import CHE_NOTICE, che_per_instance
from tierfleet.planning.cache.lru import instance_by_hash
from tierfleet.planning.cache.miss_ratio_curve import MissRatioCurve, miss_ratio_curve
from tierfleet.planning.traffic.rates import Rates, rates_of
from tierfleet.planning.traffic.rates_files import is_rates_file, read_rates
from tierfleet.planning.traffic.requests import Progress, refuse_huge
from tierfleet.planning.traffic.sessions import Sessions
from tierfleet.planning.traffic.trace import Reading


@dataclass(frozen=True)
class CurveRow:
    """One capacity per instance. models: how many of the average size it holds. None: not known from the input.

    belady: of models of one size on one instance, the optimum. bound: of unequal sizes on one instance, a ratio that no
    cache exceeds, whatever it knows. lru and evictions_per_hour: only from a trace.
    """

    capacity_mib: float
    models: float
    lru: float | None
    evictions_per_hour: float | None
    che: float
    static: float | None
    belady: float | None
    bound: float | None = None


@dataclass(frozen=True)
class CurveTable:
    """The rows, what they are about in one line, and what a reader should know."""

    summary: str
    rows: tuple[CurveRow, ...]
    notices: tuple[str, ...]
    calls_per_session: float
    mean_gap_seconds: float


def tabulate(
    source: str,
    folder: Path,
    *,
    resident_mib: float | None,
    capacities_mib: list[float],
    capacities_models: list[float],
    instances: int,
    skip_days: float,
    with_belady: bool,
    sessions: Sessions | None,
    reading: Reading,
    progress: Progress | None = None,
) -> CurveTable:
    """The table of a trace or of a rates file. resident_mib: of every model; None takes the size of its artefact.

    capacities_mib, capacities_models: per instance; ten between the biggest model and all of them if both are empty.
    with_belady: only for a trace and one instance. sessions: burstiness instead of what the source says. Raises
    InputError.
    """
    if is_rates_file(source):
        rates = read_rates(source, sessions=sessions)
        notices: tuple[str, ...] = (CHE_NOTICE,)
        sizes = _resident(rates.tenants, rates.model_bytes, resident_mib)
        instance_of = instance_by_hash(rates.tenants, instances)
        rows = curve_from_rates(rates, sizes, instance_of, _capacities(sizes, capacities_mib, capacities_models))
        counted = f"{rates.requests_per_day.sum():,.0f} requests a day"
    else:
        trace = reading.trace(source, folder, progress)
        requests, notices = trace.requests, trace.notices
        if trace.latency_milliseconds:
            measured = ", ".join(
                f"p{percent} {text.milliseconds(ms / 1000)}" for percent, ms in trace.latency_milliseconds.items()
            )
            notices = (*notices, f"the trace's own latency: {measured}")
        sizes = _resident(requests.tenants, requests.model_bytes, resident_mib)
        days = requests.duration_seconds / 86_400
        if skip_days and skip_days >= days:
            raise InputError(f"the trace has {text.days(days)}, and the first {skip_days:g} are skipped; skip fewer")
        curve = miss_ratio_curve(
            requests,
            sizes,
            counted_from_seconds=float(requests.seconds[0]) + skip_days * 86400,
            instance_of=instance_by_hash(requests.tenants, instances),
        )
        rates = rates_of(requests)
        if sessions is not None:
            rates = replace(rates, sessions=sessions)
        capacities = _capacities(sizes, capacities_mib, capacities_models)
        rows = curve_from_trace(curve, rates, capacities, with_belady=with_belady)
        counted = (
            f"{curve.counted:,} requests counted, {curve.cold_misses / curve.counted:.2%} of them a tenant's first"
        )
    calls, gap = rates.sessions.calls, rates.sessions.mean_gap_seconds
    burst = f"sessions of {calls:.1f} calls, {gap:,.0f} s apart" if calls > 1 else "independent calls"
    summary = f"{len(rates.tenants):,} tenants, {counted}; {burst}; {instances} instance{'s' * (instances > 1)}"
    return CurveTable(summary, tuple(rows), notices, calls, gap)


def _resident(
    tenants: tuple[str, ...], model_bytes: NDArray[np.float64], resident_mib: float | None
) -> NDArray[np.float64]:
    if resident_mib is not None:
        sizes = np.full(len(tenants), resident_mib)
        refuse_huge(tenants, sizes)
        return sizes
    unknown = np.flatnonzero(~(model_bytes > 0))
    if len(unknown):
        raise InputError(
            f"the size of {len(unknown):,} of {len(tenants):,} models is not known, such as {tenants[unknown[0]]}'s; "
            "give --resident-mib, or a column of sizes"
        )
    refuse_huge(tenants, model_bytes / 1e6)
    return model_bytes / 2**20


def _capacities(sizes: NDArray[np.float64], mib: list[float], models: list[float]) -> list[float]:
    wrong = [value for value in (*mib, *models) if not value > 0]
    if wrong:
        raise InputError(f"a capacity is {wrong[0]}; give numbers above 0")
    asked = sorted([*mib, *(value * float(sizes.mean()) for value in models)])
    return asked or capacities_between(sizes)


def capacities_between(resident_mib: NDArray[np.float64], steps: int = 10) -> list[float]:
    """Capacities from the biggest model to all models, each the same factor above the one before."""
    return [float(value) for value in np.geomspace(resident_mib.max(), resident_mib.sum(), steps)]


def curve_from_trace(
    curve: MissRatioCurve, rates: Rates, capacities_mib: list[float], *, with_belady: bool
) -> list[CurveRow]:
    """Rows for a trace's curve. rates: of the same trace, for the approximation next to it."""
    requests, sizes = curve.requests, curve.resident_mib
    counts = np.bincount(requests.tenant[curve.counted_from :], minlength=len(requests.tenants))
    one_cache = int(curve.instance_of.max()) == 0
    same_size = bool((sizes == sizes[0]).all())
    rows = []
    bounds = np.zeros(0)
    if with_belady and one_cache and not same_size:
        bounds = resource_bound(requests, sizes, np.array(capacities_mib), counted_from=curve.counted_from)
    for place, capacity in enumerate(capacities_mib):
        best = None
        if with_belady and one_cache and same_size:
            models = max(int(capacity / sizes[0] * (1 + 1e-12)), 1)
            best = belady(requests, min(models, len(sizes)), counted_from=curve.counted_from)
        rows.append(
            CurveRow(
                capacity_mib=capacity,
                models=capacity / float(sizes.mean()),
                lru=curve.hit_ratio(capacity),
                evictions_per_hour=curve.evictions_per_hour(capacity),
                che=che_per_instance(rates, sizes, capacity, curve.instance_of),
                static=static_optimum(counts, sizes, capacity) if one_cache else None,
                belady=best,
                bound=float(bounds[place]) if len(bounds) else None,
            )
        )
    return rows


def curve_from_rates(
    rates: Rates, resident_mib: NDArray[np.float64], instance_of: NDArray[np.int16], capacities_mib: list[float]
) -> list[CurveRow]:
    """Rows for rates alone: the approximation, and the best fixed set."""
    rows = []
    one_cache = int(instance_of.max()) == 0
    for capacity in capacities_mib:
        models = capacity / float(resident_mib.mean())
        hit_ratio = che_per_instance(rates, resident_mib, capacity, instance_of)
        static = static_optimum(rates.requests_per_day, resident_mib, capacity) if one_cache else None
        rows.append(CurveRow(capacity, models, None, None, hit_ratio, static, None))
    return rows
