"""Per-tenant rates: what there is when no trace can be had, or when it is too big for one machine."""

import csv
import json
import math
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.duck import connect
from tierfleet.planning.errors import PlanningInputError
from tierfleet.planning.requests import Requests
from tierfleet.planning.sessions import GAP_COLUMNS, INDEPENDENT, Sessions, fit_sessions

# Working days and weekends, by the hour.
_PERIODS: Final = 48
_TABLE_COLUMNS: Final = {"tenant", "weekend", "hour_of_day", "requests", "first_seconds", "last_seconds", *GAP_COLUMNS}


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
    return (files("tierfleet.planning") / "sql" / "rates.sql").read_text()


def rates_of(requests: Requests) -> Rates:
    """The rates and the burstiness of a trace, by the query of `rates_sql`."""
    if requests.duration_seconds == 0:
        raise PlanningInputError("all requests have the same time; rates need a trace that takes some")
    # DuckDB finds these by their names.
    trace = {"id": np.asarray(requests.tenant), "seconds": np.asarray(requests.seconds)}
    with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, connect(Path(folder)) as connection:
        connection.register("trace", trace)
        connection.execute("CREATE VIEW requests AS SELECT id AS tenant, seconds FROM trace")
        table = connection.execute(rates_sql()).fetchnumpy()
    return _from_table(requests.tenants, np.asarray(table["tenant"]), table, requests.model_bytes)


def _from_table(
    tenants: tuple[str, ...], index: NDArray[np.int64], table: Mapping[str, Any], model_bytes: NDArray[np.float64]
) -> Rates:
    """index: the tenant of each row of the table that sql/rates.sql makes."""
    first, last = float(table["first_seconds"][0]), float(table["last_seconds"][0])
    counts = np.zeros((len(tenants), _PERIODS), np.int64)
    period = 24 * np.asarray(table["weekend"], np.int64) + np.asarray(table["hour_of_day"], np.int64)
    np.add.at(counts, (index, period), np.asarray(table["requests"], np.int64))
    period_share = _period_shares(first, last)
    counts, period_share = counts[:, period_share > 0], period_share[period_share > 0]
    totals = counts.sum(axis=1)
    rhythm = _smooth(counts) / period_share
    daily = totals / (last - first) * 86400
    gaps = {name: int(np.sum(table[name])) for name in GAP_COLUMNS}
    sessions = fit_sessions(counts, daily[:, None] / 86400 * rhythm, last - first, gaps)
    return Rates(tenants, daily, model_bytes, sessions, rhythm, period_share)


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
    # Unix time began on a Thursday.
    weekend = (hours // 24 + 3) % 7 >= 5
    shares = np.bincount((24 * weekend + hours % 24).astype(np.int64), inside, _PERIODS)
    return np.asarray(shares / shares.sum())


def is_rates_file(source: str) -> bool:
    """Whether a file holds rates rather than requests: TOML, or `requests_per_day` or `hour_of_day` at its start."""
    file = Path(source)
    if file.suffix == ".toml":
        return file.is_file()
    if file.suffix not in (".csv", ".json") or not file.is_file():
        return False
    with file.open("rb") as opened:
        start = opened.read(4096)
    return b"requests_per_day" in start or b"hour_of_day" in start


def read_rates(source: str, *, sessions: Sessions | None = None) -> Rates:
    """Read rates from CSV, JSON or TOML.

    CSV: columns tenant and requests_per_day, optionally model_bytes, or the table that sql/rates.sql makes, from which
    the burstiness is found. JSON and TOML: `requests_per_day` is a table of tenant to number; optionally `model_bytes`,
    another, and `sessions` with `calls` and `mean_gap_seconds`.
    sessions: instead of what the file says. Raises PlanningInputError with every problem that was found.
    """
    file = Path(source)
    try:
        text = file.read_text()
    except OSError as error:
        raise PlanningInputError(f"{source} cannot be read: {error.strerror}") from error
    try:
        if file.suffix == ".csv":
            rates = _read_csv(source, text)
        else:
            rates = _read_tables(source, tomllib.loads(text) if file.suffix == ".toml" else json.loads(text))
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise PlanningInputError(f"{source}: {error}") from error
    return rates if sessions is None else replace(rates, sessions=sessions)


def _read_csv(source: str, text: str) -> Rates:
    rows = list(csv.DictReader(text.splitlines()))
    if rows and rows[0].keys() >= _TABLE_COLUMNS:
        return _read_table(source, rows)
    missing = [name for name in ("tenant", "requests_per_day") if rows and name not in rows[0]]
    if missing:
        raise PlanningInputError(f"{source} has no column {' and no column '.join(missing)}")
    pairs = [(row["tenant"], row["requests_per_day"], row.get("model_bytes")) for row in rows]
    return _checked(source, pairs, INDEPENDENT)


def _read_table(source: str, rows: list[dict[str, str]]) -> Rates:
    names, index = np.unique([row["tenant"] for row in rows], return_inverse=True)
    try:
        table = {name: np.array([float(row[name]) for row in rows]) for name in _TABLE_COLUMNS - {"tenant"}}
    except (TypeError, ValueError) as error:
        raise PlanningInputError(f"{source}: {error}") from error
    if not table["last_seconds"][0] > table["first_seconds"][0]:
        raise PlanningInputError(f"{source}: all requests have the same time; rates need a trace that takes some")
    return _from_table(tuple(names.tolist()), index, table, np.full(len(names), np.nan))


def _read_tables(source: str, document: Any) -> Rates:
    unknown = set(document) - {"requests_per_day", "model_bytes", "sessions"} if isinstance(document, dict) else None
    if unknown is None or unknown or not isinstance(document.get("requests_per_day"), dict):
        also = f" (unknown: {', '.join(sorted(unknown))})" if unknown else ""
        raise PlanningInputError(
            f"{source} must hold a table requests_per_day of tenant to number, and may hold model_bytes and "
            f"sessions{also}"
        )
    sizes = document.get("model_bytes", {})
    pairs = [(tenant, rate, sizes.get(tenant)) for tenant, rate in document["requests_per_day"].items()]
    try:
        sessions = Sessions(**document.get("sessions", {}))
    except (TypeError, ValueError) as error:
        raise PlanningInputError(f"{source}: sessions: {error}") from error
    return _checked(source, pairs, sessions)


def _checked(source: str, pairs: list[tuple[str, Any, Any]], sessions: Sessions) -> Rates:
    problems: list[str] = []
    if not pairs:
        problems.append("it has 0 tenants")
    tenants = [tenant for tenant, _, _ in pairs]
    twice = (
        sorted({tenant for tenant in tenants if tenants.count(tenant) > 1}) if len(set(tenants)) < len(pairs) else []
    )
    problems += [f"{tenant} stands there more than once" for tenant in twice]
    rates = [_number(problems, tenant, "requests_per_day", rate) for tenant, rate, _ in pairs]
    sizes = [math.nan if s in (None, "") else _number(problems, tenant, "model_bytes", s) for tenant, _, s in pairs]
    if pairs and not problems and sum(rates) == 0:
        problems.append("every rate is 0")
    if problems:
        raise PlanningInputError(f"{source}: {'; '.join(problems[:10])}")
    return steady_rates(tuple(tenants), np.array(rates), np.array(sizes, np.float64), sessions)


def _number(problems: list[str], tenant: str, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        problems.append(f"{key} of {tenant} is {value!r}; give a number of at least 0")
    return number
