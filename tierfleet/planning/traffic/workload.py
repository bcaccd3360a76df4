"""What a fleet is planned for: who calls how often and when, and how big each model is."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet import text
from tierfleet.cost.usage import Traffic
from tierfleet.errors import InputError
from tierfleet.planning.traffic.rates import Rates, rates_of
from tierfleet.planning.traffic.requests import Requests, busiest_stretch, refuse_huge, requests_of
from tierfleet.planning.traffic.sessions import Sessions

Array = NDArray[np.float64]

HOURS_OF_WEEK: Final = 168
_CHUNK: Final = 1 << 20
_WEEK_SECONDS: Final = 7 * 86_400.0
# So many times its mean calls in the last week: a tenant that was launched or has grown.
_GROWN: Final = 2.0
# A smaller one is a mistake: no model of XGBoost is as short.
_LEAST_MEGABYTES: Final = 1e-4
_MOST_FILLING_DAYS: Final = 10.0
_FILLING_SHARE: Final = 1 / 3
# Less of an hour than this tells no rate.
_LEAST_SECONDS: Final = 1200.0
# 1 January 1970 was a Thursday; weeks start on Monday.
_FIRST_WEEKDAY: Final = 3


@dataclass(frozen=True)
class Workload:
    """One row a tenant, in the order of `tenants`.

    rates: requests a day and burstiness. model_mb: the model file, 10**6 bytes.
    calls_by_hour: [tenant, hour of the week], calls in that hour, Monday 00:00 UTC first.
    requests: the trace, None if only rates are known. counted_from_seconds: Unix time; earlier requests fill caches.
    """

    rates: Rates
    model_mb: Array
    calls_by_hour: Array
    requests: Requests | None
    counted_from_seconds: float
    upper: "Workload | None" = None
    """What it may come to at most where this is a forecast: the upper end of its interval."""
    pace: float = 1.0
    """How many times faster the calls come than `requests` says. The rates are those at this pace."""

    @property
    def tenants(self) -> tuple[str, ...]:
        return self.rates.tenants

    @property
    def calls_per_day(self) -> Array:
        return self.rates.requests_per_day

    @property
    def calls_per_day_now(self) -> Array:
        """The same for tenants that call much more often in the last week than in the whole trace: as in that week."""
        if self.requests is None or self.requests.duration_seconds < 1.99 * _WEEK_SECONDS:
            return self.calls_per_day
        start = self.requests.index_at(float(self.requests.seconds[-1]) - _WEEK_SECONDS)
        lately = np.bincount(self.requests.tenant[start:], minlength=len(self.tenants)) * self.pace / 7
        now: Array = np.where(lately >= _GROWN * self.calls_per_day, lately, self.calls_per_day)
        return now

    @property
    def peak_per_second(self) -> Array:
        """Calls a second of each tenant in its own busiest hour; from rates, in the busiest hour of its mean week."""
        return self._busiest_hours[0]

    @property
    def peak_together_per_second(self) -> float:
        """Calls a second of all tenants in their common busiest hour."""
        return self._busiest_hours[1]

    @cached_property
    def _busiest_hours(self) -> tuple[Array, float]:
        if self.requests is not None:
            return _busiest_hours(self.requests, self.pace)
        peaks: Array = self.calls_by_hour.max(axis=1, initial=0.0) / 3600
        return peaks, float(self.calls_by_hour.sum(axis=0).max()) / 3600

    @cached_property
    def followed(self) -> tuple[Requests, float] | None:
        """The requests to simulate one by one, at their pace, and the Unix seconds from which they count.

        None without a trace. Of a long trace, its busiest stretch (`requests.busiest_stretch`).
        """
        if self.requests is None:
            return None
        # With few tenants no call may be left to count; then the last one counts.
        counted_from = min(self.counted_from_seconds, float(self.requests.seconds[-1]))
        part, counted_from = busiest_stretch(self.requests, counted_from)
        if self.pace == 1:
            return part, counted_from
        first = float(part.seconds[0])
        return (
            replace(part, seconds=first + (part.seconds - first) / self.pace),
            first + (counted_from - first) / self.pace,
        )

    def busier(self, factor: float) -> "Workload":
        """The same calls in a shorter time. The trace is not copied."""
        rates = replace(self.rates, requests_per_day=self.rates.requests_per_day * factor)
        return replace(self, rates=rates, calls_by_hour=self.calls_by_hour * factor, pace=self.pace * factor)

    def only(self, chosen: NDArray[np.bool_]) -> "Workload":
        """The same for some of the tenants; a boolean for each."""
        rates = self.rates.of(chosen)
        requests = None if self.requests is None else requests_of(self.requests, chosen)
        return replace(
            self,
            rates=rates,
            model_mb=self.model_mb[chosen],
            calls_by_hour=self.calls_by_hour[chosen],
            requests=requests,
            upper=None if self.upper is None else self.upper.without(self._names(~chosen)),
        )

    def without(self, names: frozenset[str]) -> "Workload":
        """The same without these tenants."""
        return self.only(np.array([name not in names for name in self.tenants], np.bool_))

    def _names(self, chosen: NDArray[np.bool_]) -> frozenset[str]:
        return frozenset(name for name, one in zip(self.tenants, chosen.tolist(), strict=True) if one)

    def traffic(self) -> Traffic:
        """Calls in each hour of a mean day, for the cost."""
        days: Array = self.calls_by_hour.reshape(len(self.tenants), 7, 24).mean(axis=1)
        return Traffic({name: tuple(hours) for name, hours in zip(self.tenants, days.tolist(), strict=True)})


def workload_from_trace(
    requests: Requests, model_mb: Array, *, skip_days: float, sessions: Sessions | None = None
) -> Workload:
    """The workload of a trace. skip_days: the first days fill the caches and are not counted.

    sessions: burstiness for what is computed from rates, instead of the trace's own. Raises InputError.
    """
    counted_from = float(requests.seconds[0]) + skip_days * 86_400
    if requests.duration_seconds == 0:
        raise InputError("all requests have the same time; a plan needs a trace that takes some")
    if counted_from >= requests.seconds[-1]:
        days = requests.duration_seconds / 86_400
        raise InputError(f"the trace has {text.days(days)}, and the first {skip_days:g} are skipped; skip fewer")
    rates = rates_of(requests)
    if rates.tenants != requests.tenants:
        raise ValueError("the rates of a trace must name its tenants in its order")
    if sessions is not None:
        rates = replace(rates, sessions=sessions)
    return Workload(rates, model_mb, _calls_by_hour(requests), requests, counted_from)


def filling_days(days: float) -> float:
    """How much of a trace of `days` fills the caches first, if nothing else is asked for."""
    return min(_MOST_FILLING_DAYS, days * _FILLING_SHARE)


def workload_from_rates(rates: Rates, model_mb: Array) -> Workload:
    """The workload of rates alone: calls lie evenly over the week."""
    by_hour = np.repeat(rates.requests_per_day[:, None] / 24, HOURS_OF_WEEK, axis=1)
    if rates.rhythm.shape[1] == 48:
        # Working days, then weekends, by the hour.
        week = np.concatenate([np.tile(np.arange(24), 5), np.tile(np.arange(24, 48), 2)])
        by_hour = by_hour * rates.rhythm[:, week]
    return Workload(rates, model_mb, by_hour, None, 0.0)


def model_megabytes(
    tenants: tuple[str, ...],
    model_bytes: Array,
    default_megabytes: float | None,
    artefact_mb_per_model_mb: float | None = None,
) -> Array:
    """Model files in MB. default_megabytes: where the source does not say, or says 0.

    artefact_mb_per_model_mb: given if the source's sizes are those of packed artefacts. Raises InputError.
    """
    if default_megabytes is not None:
        model_bytes = np.where(model_bytes > 0, model_bytes, default_megabytes * 1e6)
    unknown = np.flatnonzero(~(model_bytes > 0))
    if len(unknown):
        raise InputError(
            f"the size of {len(unknown):,} of {len(tenants):,} models is not known, such as {tenants[unknown[0]]}'s; "
            "give --model-megabytes, or a column of sizes"
        )
    sizes: Array = model_bytes / 1e6 / (artefact_mb_per_model_mb or 1.0)
    refuse_huge(tenants, sizes)
    tiny = np.flatnonzero(sizes < _LEAST_MEGABYTES)
    if len(tiny):
        raise InputError(
            f"the size of {len(tiny):,} of {len(tenants):,} models is below {_LEAST_MEGABYTES * 1e6:.0f} bytes, such "
            f"as {tenants[tiny[0]]}'s of {sizes[tiny[0]] * 1e6:.3g} bytes; columns of sizes are in bytes"
        )
    return sizes


def idle_megabytes(model_bytes: Array, default_megabytes: float | None) -> list[str]:
    """A notice if --model-megabytes is given and the source says every size."""
    if default_megabytes is None or not (model_bytes > 0).all():
        return []
    return [f"--model-megabytes {default_megabytes:g} has no effect: the source has the size of every model"]


def _busiest_hours(requests: Requests, pace: float) -> tuple[Array, float]:
    """Calls a second of each tenant in its busiest hour, and of all in theirs: real hours, not means of some.

    pace: the calls come so many times faster than the requests say, so an hour has that many hours of the trace.
    """
    first = float(requests.seconds[0])
    last = first + (float(requests.seconds[-1]) - first) / pace
    most, together = np.zeros(len(requests.tenants)), 0.0
    hour = first // 3600
    at = 0
    while at < len(requests):
        ends = (hour + 1) * 3600
        # By rounding, the first call of an hour may lie before it.
        end = max(requests.index_at(first + (ends - first) * pace), at + 1)
        # The trace may begin or end within the hour; of too short a part the whole hour is assumed to be as quiet.
        covered = min(ends, last) - max(hour * 3600, first)
        seconds = covered if covered >= _LEAST_SECONDS else 3600.0
        counts = np.bincount(requests.tenant[at:end], minlength=len(most))
        np.maximum(most, counts / seconds, out=most)
        together = max(together, (end - at) / seconds)
        at = end
        hour = (first + (float(requests.seconds[at]) - first) / pace) // 3600 if at < len(requests) else hour
    return most, together


def _calls_by_hour(requests: Requests) -> Array:
    counts = np.zeros(len(requests.tenants) * HOURS_OF_WEEK)
    for start in range(0, len(requests), _CHUNK):
        hours = _hour_of_week(requests.seconds[start : start + _CHUNK] // 3600)
        index = requests.tenant[start : start + _CHUNK].astype(np.int64) * HOURS_OF_WEEK + hours
        counts += np.bincount(index, minlength=len(counts))
    covered = _seconds_covered(float(requests.seconds[0]), float(requests.seconds[-1]))
    by_hour = counts.reshape(-1, HOURS_OF_WEEK)
    # A trace of less than a week says little about some hours: they are like the same hour of other days, or the mean.
    days = covered.reshape(7, 24).sum(axis=0)
    of_day = by_hour.reshape(-1, 7, 24).sum(axis=1)
    mean = by_hour.sum(axis=1, keepdims=True) / covered.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        like_other_days = np.where(days >= _LEAST_SECONDS, of_day / days, mean)
        seen: Array = np.where(covered >= _LEAST_SECONDS, by_hour / covered, np.tile(like_other_days, 7))
    return seen * 3600


def _hour_of_week(hour: Array) -> NDArray[np.int64]:
    hours: NDArray[np.int64] = ((hour.astype(np.int64) + _FIRST_WEEKDAY * 24) % HOURS_OF_WEEK).astype(np.int64)
    return hours


def _seconds_covered(first: float, last: float) -> Array:
    """How long the trace lasts within each hour of the week."""
    hours = np.arange(first // 3600, last // 3600 + 1)
    seconds = np.minimum((hours + 1) * 3600, last) - np.maximum(hours * 3600, first)
    covered: Array = np.bincount(_hour_of_week(hours), weights=seconds, minlength=HOURS_OF_WEEK).astype(np.float64)
    return covered
