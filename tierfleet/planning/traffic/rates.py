"""Per-tenant rates: what there is when no trace can be had, or when it is too big for one machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.sessions import GAP_COLUMNS, INDEPENDENT, Sessions, fit_sessions

# Working days and weekends, by the hour.
_PERIODS: Final = 48
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Rates:
    """How often each tenant calls.

    tenants: names. requests_per_day: float64 per tenant. model_bytes: float64 per tenant, NaN where unknown.
    sessions: how the calls cluster; the same for all tenants.
    rhythm: float64 [tenant, period], the rate in a period of the week as a multiple of the tenant's mean.
    period_share: float64 per period, its share of the time.
    """

    tenants: tuple[str, ...]
    requests_per_day: NDArray[np.float64]
    model_bytes: NDArray[np.float64]
    sessions: Sessions
    rhythm: NDArray[np.float64]
    period_share: NDArray[np.float64]

    @property
    def per_second(self) -> NDArray[np.float64]:
        """float64 [tenant, period]."""
        return self.requests_per_day[:, None] / 86400 * self.rhythm

    def of(self, chosen: NDArray[np.bool_]) -> "Rates":
        """The rates of some tenants."""
        names = tuple(np.array(self.tenants, object)[chosen])
        daily, sizes, rhythm = self.requests_per_day[chosen], self.model_bytes[chosen], self.rhythm[chosen]
        return Rates(names, daily, sizes, self.sessions, rhythm, self.period_share)


def steady_rates(
    tenants: tuple[str, ...],
    requests_per_day: NDArray[np.float64],
    model_bytes: NDArray[np.float64] | None = None,
    sessions: Sessions = INDEPENDENT,
) -> Rates:
    """Rates that are the same at every hour."""
    sizes = np.full(len(tenants), np.nan) if model_bytes is None else model_bytes
    return Rates(tenants, requests_per_day, sizes, sessions, np.ones((len(tenants), 1)), np.ones(1))


def rates_sql() -> str:
    """The query that makes the rates table, for DuckDB and for Athena."""
    return (files("tierfleet.planning.traffic") / "sql" / "rates.sql").read_text()


def rates_of(requests: Requests) -> Rates:
    """The rates and the burstiness of a trace: those of the table that `rates_sql` makes of it."""
    if requests.duration_seconds == 0:
        raise InputError("all requests have the same time; rates need a trace that takes some")
    counts = np.zeros(len(requests.tenants) * _PERIODS, np.int64)
    gaps = dict.fromkeys(GAP_COLUMNS, 0)
    last_seen = np.full(len(requests.tenants), -np.inf)
    # Small numbers are sorted much faster.
    narrow = np.uint16 if len(requests.tenants) <= 1 << 16 else np.int32
    for start in range(0, len(requests), _CHUNK):
        tenant, seconds = requests.tenant[start : start + _CHUNK], requests.seconds[start : start + _CHUNK]
        period = _period(seconds // 3600)
        counts += np.bincount(tenant.astype(np.int64) * _PERIODS + period, minlength=len(counts))
        order = np.argsort(tenant.astype(narrow), kind="stable")
        who, at = tenant[order], seconds[order]
        first = np.flatnonzero(np.diff(who, prepend=-1))
        since = np.diff(at, prepend=0.0)
        since[first] = at[first] - last_seen[who[first]]
        ends = np.append(first[1:], len(who)) - 1
        last_seen[who[ends]] = at[ends]
        for name, length in GAP_COLUMNS.items():
            gaps[name] += int(np.count_nonzero(since <= length))
    first_seconds, last_seconds = float(requests.seconds[0]), float(requests.seconds[-1])
    by_period = counts.reshape(-1, _PERIODS)
    return _rates(requests.tenants, by_period, gaps, first_seconds, last_seconds, requests.model_bytes)


def rates_from_table(
    tenants: tuple[str, ...], index: NDArray[np.int64], table: Mapping[str, Any], model_bytes: NDArray[np.float64]
) -> Rates:
    """The rates and the burstiness that the columns of sql/rates.sql hold. index: the tenant of each of its rows."""
    counts = np.zeros((len(tenants), _PERIODS), np.int64)
    period = 24 * np.asarray(table["weekend"], np.int64) + np.asarray(table["hour_of_day"], np.int64)
    np.add.at(counts, (index, period), np.asarray(table["requests"], np.int64))
    gaps = {name: int(np.sum(table[name])) for name in GAP_COLUMNS}
    first, last = float(table["first_seconds"][0]), float(table["last_seconds"][0])
    return _rates(tenants, counts, gaps, first, last, model_bytes)


def _rates(
    tenants: tuple[str, ...],
    counts: NDArray[np.int64],
    gaps: Mapping[str, int],
    first: float,
    last: float,
    model_bytes: NDArray[np.float64],
) -> Rates:
    """counts: [tenant, period]. gaps: of all tenants, by column. first, last: Unix seconds of the trace's ends."""
    period_share = _period_shares(first, last)
    counts, period_share = counts[:, period_share > 0], period_share[period_share > 0]
    totals = counts.sum(axis=1)
    rhythm = _smooth(counts) / period_share
    daily = totals / (last - first) * 86400
    sessions = fit_sessions(counts, daily[:, None] / 86400 * rhythm, last - first, gaps)
    return Rates(tenants, daily, model_bytes, sessions, rhythm, period_share)


def _period(hours: NDArray[np.float64]) -> NDArray[np.int64]:
    """The period of each hour since 1970: the hour of the day, 24 more at weekends."""
    whole = hours.astype(np.int64)
    # Unix time began on a Thursday.
    weekend = (whole // 24 + 3) % 7 >= 5
    periods: NDArray[np.int64] = 24 * weekend + whole % 24
    return periods


def _smooth(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each tenant's requests by period: its own as far as tenants differ, else the fleet's.

    A tenant's shares are taken as drawn around the fleet's (Dirichlet); how far they scatter is found from the chi
    square of all tenants, and decides how many requests of the fleet are mixed into each tenant's.
    """
    totals = counts.sum(axis=1, keepdims=True)
    fleet = counts.sum(axis=0) / counts.sum()
    expected = totals * fleet
    called, freedom = expected > 0, max(len(fleet) - 1, 1)
    scatter = float(((counts - expected)[called] ** 2 / expected[called]).sum())
    excess = scatter - freedom * len(totals)
    mixed_in = min(max((freedom * float(totals.sum()) - scatter) / excess, 0.0), 1e6) if excess > 0 else 1e6
    return np.asarray((counts + mixed_in * fleet) / (totals + mixed_in))


def _period_shares(first: float, last: float) -> NDArray[np.float64]:
    """The share of the time that falls into each hour of working days, then of weekends."""
    hours = np.arange(first // 3600, last // 3600 + 1)
    inside = np.minimum((hours + 1) * 3600, last) - np.maximum(hours * 3600, first)
    shares = np.bincount(_period(hours), inside, _PERIODS)
    return np.asarray(shares / shares.sum())
