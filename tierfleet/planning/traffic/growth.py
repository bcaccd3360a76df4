"""Growth and launches in a trace, and what they come to in so many days.

    growth = growth_of(requests)          # None for a trace of less than two weeks
    growth.factor                         # the last week's calls as a multiple of the first week's
    growth.forecast(days=90.0)            # calls of each tenant in a week then, with the uncertainty of the whole

Counts are by whole weeks, back from the last call, so that weekends do not look like growth. Each tenant has a linear
trend. Few calls say little about one, so it is drawn towards the trend of the whole fleet, the more the less tenants
differ beyond their noise (empirical Bayes). A tenant that is new counts from its first whole week on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.traffic.requests import Requests
from tierfleet.text import counted, percent

Array = NDArray[np.float64]

WEEK_SECONDS: Final = 7 * 86_400.0
_MIN_WEEKS: Final = 2
# The first week is whole if so much of it or less is missing: logs begin and end with a call.
_MISSING_SHARE: Final = 0.01
# Weeks differ by so much of their calls for no reason: the least that is assumed, as few weeks cannot show it.
_NOISE_OF_WEEKS: Final = 0.03
# Trends change, by so much of the calls a week from one week to the next: an assumption, since weeks that are still to
# come show nothing. Its effect grows with the time to the power of 1.5 (a local linear trend).
_TREND_CHANGES: Final = 0.005
# Standard deviations on each side of the forecast: four of five outcomes are expected between the ends.
_Z80: Final = 1.2815515655446004
# A tenant is new if so many of its calls would be missing in the weeks before its first one.
_MISSED_CALLS: Final = 5.0
# A tenant is worth a word with so much of the last week's calls, if that is so many times its share before.
_WORTH_A_WORD: Final = 0.05
_TIMES_BEFORE: Final = 2.0
# A fleet's growth is worth a word beyond this factor.
_GROWN: Final = 1.2
_MAX_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Calls in a week, some time after the trace."""

    days: float
    """After the end of the trace."""
    weekly_calls: Array
    """Expected, one a tenant of the trace."""
    factor: float
    """All of them, and those of tenants that join, as a multiple of the last week's."""
    low: float
    """The same factor at the lower end of the interval."""
    high: float
    """The same factor at the upper end."""
    new_tenants: int
    """That join until then, at the rate at which tenants joined; they are not in `weekly_calls`."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What the weeks of a trace show."""

    tenants: tuple[str, ...]
    weekly: NDArray[np.int64]
    """Calls [tenant, week], whole weeks, the last one last."""
    joined: NDArray[np.int64]
    """Of each tenant, the first week that counts: 0, or the first whole one after its first call."""
    net_new_per_week: float
    """Tenants that joined, less tenants that left."""

    @property
    def factor(self) -> float:
        """The last week's calls as a multiple of the first week's; infinite where that had none."""
        totals = self.weekly.sum(axis=0)
        return float(totals[-1] / totals[0]) if totals[0] else float("inf")

    def forecast(self, days: float) -> Forecast:
        """Calls in a week, `days` after the end of the trace."""
        weeks = self.weekly.shape[1]
        level, slope, error = self._trends()
        ahead = days / 7
        expected = np.maximum(level + slope * ahead, 0.0)
        last = max(float(self.weekly[:, -1].sum()), 1.0)
        known_trend = error * ahead * float(self.weekly.sum()) / weeks / last
        spread = _Z80 * float(np.hypot(known_trend, _TREND_CHANGES * ahead**1.5 / np.sqrt(3)))
        new_tenants = max(round(self.net_new_per_week * ahead), 0)
        # They call as the others do.
        joining = 1 + new_tenants / max(int((expected > 0).sum()), 1)
        total = float(expected.sum()) * joining / last
        return Forecast(
            days=days,
            weekly_calls=expected,
            factor=total,
            low=max(total - spread, 0.0),
            high=total + spread,
            new_tenants=new_tenants,
        )

    def _trends(self) -> tuple[Array, Array, float]:
        """Of each tenant its calls in the last week by its trend, and their change a week; the error of the whole
        fleet's change a week, as a share of its mean.
        """
        weeks = self.weekly.shape[1]
        at = np.arange(weeks, dtype=np.float64)
        counted = at[None, :] >= self.joined[:, None]
        counts = np.where(counted, self.weekly, 0).astype(np.float64)
        number = counted.sum(axis=1)
        mean = counts.sum(axis=1) / number
        middle = (counted * at).sum(axis=1) / number
        spread = (counted * (at - middle[:, None]) ** 2).sum(axis=1)
        steep = np.divide(
            (counted * (at - middle[:, None]) * counts).sum(axis=1), spread, out=np.zeros(len(mean)), where=spread > 0
        )
        # As a share of the mean; a count's variance is the count (Poisson), and the noise of weeks.
        relative = np.divide(steep, mean, out=np.zeros(len(mean)), where=mean > 0)
        known = (spread > 0) & (mean > 0)
        noise = np.full(len(mean), np.inf)
        noise[known] = (1 / mean[known] + _NOISE_OF_WEEKS**2) / spread[known]
        old = self.joined == 0
        fleet, error = _of_fleet(counts[old].sum(axis=0) if old.any() else counts.sum(axis=0))
        differs = 0.0
        if known.any():
            excess = (relative[known] - fleet) ** 2 - noise[known]
            differs = max(float(np.average(excess, weights=1 / noise[known])), 0.0)
        own = np.where(known, differs / (differs + noise), 0.0)
        drawn = own * relative + (1 - own) * fleet
        # The trend at the last week, and from there.
        level = np.maximum(mean * (1 + drawn * (weeks - 1 - middle)), 0.0)
        return level, mean * drawn, error


def growth_of(requests: Requests) -> Growth | None:
    """None for a trace of less than two weeks."""
    weeks = int(requests.duration_seconds / WEEK_SECONDS + _MISSING_SHARE)
    if weeks < _MIN_WEEKS:
        return None
    end = float(requests.seconds[-1])
    tenants = len(requests.tenants)
    weekly = np.zeros((tenants, weeks), np.int64)
    first = requests.index_at(end - weeks * WEEK_SECONDS)
    for week in range(weeks):
        until = len(requests) if week == weeks - 1 else requests.index_at(end - (weeks - 1 - week) * WEEK_SECONDS)
        weekly[:, week] = np.bincount(requests.tenant[first:until], minlength=tenants)
        first = until
    called = weekly > 0
    first_week, last_week = called.argmax(axis=1), weeks - 1 - called[:, ::-1].argmax(axis=1)
    half = weeks // 2
    # Who calls rarely seems to join late, and as often to leave early.
    called_at_all = called.any(axis=1)
    net = int((called_at_all & (first_week >= weeks - half)).sum()) - int((called_at_all & (last_week < half)).sum())
    # It is new if, at its rate since, it would have called before. The week of its first call is not whole.
    since = weekly.sum(axis=1) / (weeks - first_week)
    new = since * first_week >= _MISSED_CALLS
    joined = np.where(new, np.minimum(first_week + 1, weeks - 1), 0)
    return Growth(tenants=requests.tenants, weekly=weekly, joined=joined, net_new_per_week=net / half)


def growth_notices(growth: Growth, horizon: str | None = None) -> Iterator[str]:
    """What a reader should know about the weeks of a trace. horizon: as given, or None."""
    weeks = growth.weekly.shape[1]
    totals = growth.weekly.sum(axis=0)
    if growth.factor >= _GROWN or growth.factor <= 1 / _GROWN:
        yield (
            (
                f"the last week is {growth.factor:.2g} x the first, of {weeks}"
                if totals[0]
                else f"the first of {weeks} weeks has no call"
            )
            + (
                ""
                if horizon
                else ": the fleet is planned for the weeks as they were; --horizon 90d plans for what comes"
            )
        )
    last = growth.weekly[:, -1] / max(int(totals[-1]), 1)
    before = growth.weekly[:, :-1].sum(axis=1) / max(int(totals[:-1].sum()), 1)
    grown = np.flatnonzero((last >= _WORTH_A_WORD) & (last >= _TIMES_BEFORE * before))
    for tenant in grown[np.argsort(-last[grown])][:_MAX_NAMED]:
        yield (
            f"{growth.tenants[tenant]} makes {percent(float(last[tenant]))} of the calls of the last week, and "
            f"{percent(float(before[tenant]))} of those before"
        )
    # At its rate before, it would have called.
    stopped = np.flatnonzero((growth.weekly[:, -1] == 0) & (growth.weekly[:, :-1].mean(axis=1) >= _MISSED_CALLS))
    calls = growth.weekly[stopped].sum(axis=1)
    share = float(calls.sum() / max(int(totals.sum()), 1))
    if share >= _WORTH_A_WORD:
        most = growth.tenants[int(stopped[calls.argmax()])]
        yield (
            f"{counted(len(stopped), 'tenant')} with {percent(share)} of all calls, such as {most}, made none in the "
            "last week: the fleet is planned for them too; if they have left, leave their calls out"
        )
    if growth.net_new_per_week >= max(0.01 * len(growth.tenants), 1):
        yield f"{growth.net_new_per_week:.2g} tenants a week join, net of tenants that leave"


def _of_fleet(totals: Array) -> tuple[float, float]:
    """The change a week of all calls as a share of their mean, and its standard error."""
    weeks = len(totals)
    at = np.arange(weeks) - (weeks - 1) / 2
    mean = max(float(totals.mean()), 1e-9)
    spread = float((at**2).sum())
    steep = float((at * totals).sum()) / spread / mean
    residual = totals / mean - 1 - steep * at
    # Two parameters are fitted: two weeks leave no error to measure.
    freedom = weeks - 2
    variance = float((residual**2).sum()) / freedom if freedom > 0 else 0.0
    variance = max(variance, _NOISE_OF_WEEKS**2 + 1 / mean)
    return steep, float(np.sqrt(variance / spread))
