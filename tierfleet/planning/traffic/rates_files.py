"""Rates as a file holds them: a table of calls a day, or the one that sql/rates.sql makes of a trace."""

import json
import math
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tierfleet.cost.rate_rows import MOST_OF, read_rows
from tierfleet.errors import InputError
from tierfleet.planning.traffic.rates import Rates, rates_from_table, steady_rates
from tierfleet.planning.traffic.sessions import GAP_COLUMNS, INDEPENDENT, Sessions

# What a table by the hour must have for rates, besides what a bill needs.
_FOR_RATES: Final = ("weekend", *GAP_COLUMNS)
_TABLES: Final = (".csv", ".tsv")
# Mistakes that are told of many.
_MOST_TOLD: Final = 10
_MOST_SHOWN: Final = 40


def is_rates_file(source: str) -> bool:
    """Whether a file holds rates rather than requests: TOML, or `requests_per_day` or `hour_of_day` at its start."""
    file = Path(source)
    ending = file.suffix.lower()
    if ending == ".toml":
        return file.is_file()
    if ending not in (*_TABLES, ".json") or not file.is_file():
        return False
    with file.open("rb") as opened:
        # UTF-16 has a zero in each letter: the reader says that it wants UTF-8.
        start = opened.read(4096).replace(b"\0", b"").lower()
    return b"requests_per_day" in start or b"hour_of_day" in start


def read_rates(source: str, *, sessions: Sessions | None = None) -> Rates:
    """Read rates from CSV, JSON or TOML.

    CSV: columns tenant and requests_per_day, optionally model_bytes, or the table that sql/rates.sql makes, from which
    the burstiness is found. JSON and TOML: `requests_per_day` is a table of tenant to number; optionally `model_bytes`,
    another, and `sessions` with `calls` and `mean_gap_seconds`.
    sessions: instead of what the file says. Raises InputError with every mistake that was found.
    """
    file = Path(source)
    rates = _of_rows(file) if file.suffix.lower() in _TABLES else _of_document(file)
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
        toml = file.suffix.lower() == ".toml"
        document = tomllib.loads(text) if toml else json.loads(text, object_pairs_hook=_object)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start:,}") from error
    except RecursionError as error:
        raise InputError(f"{file}: brackets nest too deep; write tables of tenant to number") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, InputError) as error:
        raise InputError(f"{file}: {error}") from error
    except ValueError as error:
        raise InputError(f"{file}: a number has too many digits") from error
    return _read_tables(str(file), document)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose equal keys are an error. Raises InputError."""
    if twice := [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]:
        raise InputError(f"duplicate {', '.join(twice[:_MOST_TOLD])}; write each once")
    return dict(pairs)


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
    table = document.get("sessions", {})
    if not isinstance(table, dict) or not all(isinstance(n, int | float) and n is not True for n in table.values()):
        raise InputError(f"{source}: sessions is {table!r}; give a table with the numbers calls and mean_gap_seconds")
    try:
        sessions = Sessions(**table)
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
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= MOST_OF[key]:
        shown = f"{value!r}" if len(f"{value!r}") <= _MOST_SHOWN else "a number of many digits"
        problems.append(f"{key} of {tenant} is {shown}; give a number from 0 to {MOST_OF[key]:g}")
    return number
