"""The trace of some weeks as it may look later: the same tenants at the hours they call, as often as is forecast.

Each call of the last four weeks is kept, left out or repeated until its tenant's week has the calls that are forecast
for it. A repeated call goes to the same hour of another of those weeks. A tenant that is newer than a week calls in it
as it does in the weeks after. Tenants that will join are like ones drawn at random.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.traffic.growth import WEEK_SECONDS, Forecast, Growth
from tierfleet.planning.traffic.requests import Requests

Array = NDArray[np.float64]

_MAX_WEEKS: Final = 4
# Repeated calls come so many seconds earlier or later in the other week, so that a burst stays one.
_JITTER_SECONDS: Final = 30.0
# A week with fewer calls of a tenant says nothing about its trend.
_MIN_FOR_A_WEEK: Final = 20
_NEW_NAME: Final = "joins-{:05}"


def projected(
    requests: Requests, model_mb: Array, growth: Growth, forecast: Forecast, factor: float, *, seed: int = 0
) -> tuple[Requests, Array]:
    """The requests, and the models' MB with those of the tenants that join.

    factor: all calls of a week as a multiple of the last week's, such as `forecast.high`. The same seed gives the same
    result.
    """
    random = np.random.default_rng(seed)
    weeks = min(growth.weekly.shape[1], _MAX_WEEKS)
    end = float(requests.seconds[-1])
    start = end - weeks * WEEK_SECONDS
    first = requests.index_at(start)
    tenant, seconds = np.asarray(requests.tenant[first:]), np.asarray(requests.seconds[first:])
    counts = growth.weekly[:, -weeks:]
    wanted = forecast.weekly_calls * (factor / forecast.factor if forecast.factor > 0 else 1.0)
    tenant, seconds = _filled(tenant, seconds, start, weeks, growth)
    week = np.minimum(((seconds - start) / WEEK_SECONDS).astype(np.int64), weeks - 1)
    there = np.bincount(tenant * weeks + week, minlength=counts.size).reshape(counts.shape)
    # All weeks of a tenant together get as many calls as so many are to have: single weeks of rare ones have none.
    times = np.divide(wanted * weeks, there.sum(axis=1), out=np.zeros(len(wanted)), where=there.any(axis=1))
    trend = np.divide(there.mean(axis=1)[:, None], there, out=np.ones(there.shape), where=there >= _MIN_FOR_A_WEEK)
    each = (times[:, None] * trend)[tenant, week]
    copies = each.astype(np.int64) + (random.random(len(each)) < each % 1)
    index = np.repeat(np.arange(len(tenant)), copies)
    number = np.arange(len(index)) - np.repeat(np.cumsum(copies) - copies, copies)
    tenant, seconds = tenant[index], seconds[index]
    again = number > 0
    moved = seconds[again] + WEEK_SECONDS * random.integers(1, weeks, int(again.sum()))
    moved += random.uniform(-_JITTER_SECONDS, _JITTER_SECONDS, len(moved))
    seconds[again] = start + (moved - start) % (weeks * WEEK_SECONDS)
    joined, sizes, names = _joining(tenant, seconds, start, weeks, model_mb, forecast.new_tenants, random)
    tenant, seconds = np.concatenate([tenant, joined[0]]), np.concatenate([seconds, joined[1]])
    order = np.argsort(seconds, kind="stable")
    more = replace(
        requests,
        tenants=(*requests.tenants, *names),
        tenant=tenant[order].astype(np.int32),
        seconds=seconds[order],
        model_bytes=np.concatenate([requests.model_bytes, np.full(len(names), np.nan)]),
    )
    return more, np.concatenate([model_mb, sizes])


def _filled(
    tenant: NDArray[np.int32], seconds: Array, start: float, weeks: int, growth: Growth
) -> tuple[NDArray[np.int32], Array]:
    """With the calls of new tenants in the weeks before they joined: those of the weeks after."""
    joined = growth.joined - (growth.weekly.shape[1] - weeks)
    tenants, times = [tenant], [seconds]
    week = np.minimum(((seconds - start) / WEEK_SECONDS).astype(np.int64), weeks - 1)
    for to in range(weeks):
        # The whole weeks after it joined are taken in turn.
        since = weeks - joined
        source = np.where(joined > to, joined + (to % np.maximum(since, 1)), -1)
        taken = source[tenant] == week
        tenants.append(tenant[taken])
        times.append(seconds[taken] + (to - week[taken]) * WEEK_SECONDS)
    partial = week < joined[tenant]
    tenants[0], times[0] = tenant[~partial], seconds[~partial]
    return np.concatenate(tenants), np.concatenate(times)


def _joining(
    tenant: NDArray[np.int32],
    seconds: Array,
    start: float,
    weeks: int,
    model_mb: Array,
    count: int,
    random: np.random.Generator,
) -> tuple[tuple[NDArray[np.int32], Array], Array, tuple[str, ...]]:
    """Calls, sizes and names of the tenants that join: each calls as a random one does, in other weeks."""
    there = np.unique(tenant)
    if not count or not len(there):
        return (np.zeros(0, np.int32), np.zeros(0)), np.zeros(0), ()
    like = random.choice(there, count)
    order = np.argsort(tenant, kind="stable")
    edges = np.searchsorted(tenant[order], [like, like + 1])
    tenants, times = [], []
    for number, (low, high) in enumerate(edges.T.tolist()):
        own = seconds[order[low:high]]
        shift = WEEK_SECONDS * random.integers(1, weeks + 1) + random.uniform(60, 1800)
        times.append(start + (own + shift - start) % (weeks * WEEK_SECONDS))
        tenants.append(np.full(len(own), len(model_mb) + number, np.int32))
    names = tuple(_NEW_NAME.format(number) for number in range(count))
    return (np.concatenate(tenants), np.concatenate(times)), model_mb[like], names
