"""Rates as a file holds them: a table of calls a day, or the one that sql/rates.sql makes of a trace."""

import csv
import json
import math
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tierfleet.errors import InputError
from tierfleet.planning.traffic.rates import Rates, rates_from_table, steady_rates
from tierfleet.planning.traffic.sessions import GAP_COLUMNS, INDEPENDENT, Sessions

_TABLE_COLUMNS: Final = {"tenant", "weekend", "hour_of_day", "requests", "first_seconds", "last_seconds", *GAP_COLUMNS}
# Mistakes that are told of many.
_MOST_TOLD: Final = 10


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
    sessions: instead of what the file says. Raises InputError with every problem that was found.
    """
    file = Path(source)
    try:
        # Spreadsheets put a mark before the first column's name.
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is no UTF-8 text: {error.reason} at byte {error.start:,}") from error
    try:
        if file.suffix == ".csv":
            rates = _read_csv(source, text)
        else:
            rates = _read_tables(source, tomllib.loads(text) if file.suffix == ".toml" else json.loads(text))
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{source}: {error}") from error
    return rates if sessions is None else replace(rates, sessions=sessions)


def _read_csv(source: str, text: str) -> Rates:
    rows = list(csv.DictReader(text.splitlines()))
    if rows and rows[0].keys() >= _TABLE_COLUMNS:
        return _read_table(source, rows)
    missing = [name for name in ("tenant", "requests_per_day") if rows and name not in rows[0]]
    if missing:
        raise InputError(f"{source} has no column {' and no column '.join(missing)}")
    pairs = [(row["tenant"], row["requests_per_day"], row.get("model_bytes")) for row in rows]
    return _checked(source, pairs, INDEPENDENT)


def _read_table(source: str, rows: list[dict[str, str]]) -> Rates:
    numbers = sorted(_TABLE_COLUMNS - {"tenant"})
    problems: list[str] = []
    values = {name: np.zeros(len(rows)) for name in numbers}
    for line, row in enumerate(rows, 2):
        for name in numbers:
            values[name][line - 2] = _number(problems, f"line {line}", name, row[name])
    _refuse(source, problems)
    for name, most in (("weekend", 1), ("hour_of_day", 23)):
        wrong = np.flatnonzero((values[name] > most) | (values[name] % 1 != 0))
        problems += [f"{name} of line {i + 2} is {values[name][i]:g}; give 0 to {most}" for i in wrong]
    problems += [f"line {line} names no tenant" for line, row in enumerate(rows, 2) if not row["tenant"]]
    if not problems and not values["last_seconds"][0] > values["first_seconds"][0]:
        problems.append("all requests have the same time; rates need a trace that takes some")
    if not problems and not values["requests"].any():
        problems.append("every count of requests is 0")
    _refuse(source, problems)
    names, index = np.unique([row["tenant"] for row in rows], return_inverse=True)
    return rates_from_table(tuple(names.tolist()), index, values, np.full(len(names), np.nan))


def _read_tables(source: str, document: Any) -> Rates:
    unknown = set(document) - {"requests_per_day", "model_bytes", "sessions"} if isinstance(document, dict) else None
    if unknown is None or unknown or not isinstance(document.get("requests_per_day"), dict):
        also = f" (unknown: {', '.join(sorted(unknown))})" if unknown else ""
        raise InputError(
            f"{source} must hold a table requests_per_day of tenant to number, and may hold model_bytes and "
            f"sessions{also}"
        )
    sizes = document.get("model_bytes", {})
    if not isinstance(sizes, dict):
        raise InputError(f"{source}: model_bytes is {sizes!r}; give a table of tenant to number")
    pairs = [(tenant, rate, sizes.get(tenant)) for tenant, rate in document["requests_per_day"].items()]
    try:
        sessions = Sessions(**document.get("sessions", {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: sessions: {error}") from error
    return _checked(source, pairs, sessions)


def _checked(source: str, pairs: list[tuple[str, Any, Any]], sessions: Sessions) -> Rates:
    problems: list[str] = []
    if not pairs:
        problems.append("it has 0 tenants")
    tenants = [tenant for tenant, _, _ in pairs]
    if not all(tenants):
        problems.append("a row names no tenant")
    problems += [f"{tenant} stands there more than once" for tenant, rows in Counter(tenants).items() if rows > 1]
    rates = [_number(problems, tenant, "requests_per_day", rate) for tenant, rate, _ in pairs]
    sizes = [math.nan if s in (None, "") else _number(problems, tenant, "model_bytes", s) for tenant, _, s in pairs]
    if pairs and not problems and sum(rates) == 0:
        problems.append("every rate is 0")
    _refuse(source, problems)
    return steady_rates(tuple(tenants), np.array(rates), np.array(sizes, np.float64), sessions)


def _refuse(source: str, problems: list[str]) -> None:
    if problems:
        more = len(problems) - _MOST_TOLD
        told = "; ".join(problems[:_MOST_TOLD]) + (f"; and {more:,} more" if more > 0 else "")
        raise InputError(f"{source}: {told}")


def _number(problems: list[str], tenant: str, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        problems.append(f"{key} of {tenant} is {value!r}; give a number of at least 0")
    return number
