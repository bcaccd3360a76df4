"""Rates as a file holds them: a table of calls a day, or the one that sql/rates.sql makes of a trace."""

import json
import math
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tierfleet.cost.rate_rows import read_rows
from tierfleet.errors import InputError
from tierfleet.planning.traffic.rates import Rates, rates_from_table, steady_rates
from tierfleet.planning.traffic.sessions import GAP_COLUMNS, INDEPENDENT, Sessions

# What a table by the hour must have for rates, besides what a bill needs.
_FOR_RATES: Final = ("weekend", *GAP_COLUMNS)
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
    sessions: instead of what the file says. Raises InputError with every mistake that was found.
    """
    file = Path(source)
    rates = _of_rows(file) if file.suffix == ".csv" else _of_document(file)
    return rates if sessions is None else replace(rates, sessions=sessions)


def _of_rows(file: Path) -> Rates:
    table = read_rows(file, also=_FOR_RATES)
    counted = "requests" if table.by_hour else "requests_per_day"
    if not any(row.numbers[counted] for row in table.rows):
        raise InputError(f"{file}: {counted} is 0 in every row; give the calls of one tenant or more")
    tenants = [row.tenant for row in table.rows]
    if not table.by_hour:
        daily = np.array([row.numbers["requests_per_day"] for row in table.rows])
        sizes = np.array([row.numbers.get("model_bytes", math.nan) for row in table.rows])
        return steady_rates(tuple(tenants), daily, sizes, INDEPENDENT)
    values = {name: np.array([row.numbers[name] for row in table.rows]) for name in table.rows[0].numbers}
    names, index = np.unique(tenants, return_inverse=True)
    return rates_from_table(tuple(names.tolist()), index, values, np.full(len(names), np.nan))


def _of_document(file: Path) -> Rates:
    try:
        text = file.read_text(encoding="utf-8-sig")
        return _read_tables(str(file), tomllib.loads(text) if file.suffix == ".toml" else json.loads(text))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start:,}") from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise InputError(f"{file}: {error}") from error


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
    problems += [f"duplicate tenant {tenant}" for tenant, rows in Counter(tenants).items() if rows > 1]
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
