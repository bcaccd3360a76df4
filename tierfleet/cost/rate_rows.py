"""Rows of a table of rates (CSV), checked: one reader for bills and for plans.

table = read_rows(Path("rates.csv"))
table.by_hour             # False: tenant and requests_per_day; True: the table that sql/rates.sql makes of a trace
table.rows[0].numbers     # {"requests_per_day": 1000.0, "model_bytes": nan}
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tierfleet.errors import InputError

_MAX_MISTAKES_SHOWN: Final = 10
_OF_A_DAY: Final = ("requests_per_day",)
_OF_AN_HOUR: Final = ("hour_of_day", "requests", "first_seconds", "last_seconds")
# The cells of a row that no column has.
_MORE: Final = "more"
# More is a mistake: ten times the calls a day that any fleet of ours could serve, and a terabyte.
MOST_OF: Final[Mapping[str, float]] = {"requests_per_day": 1e10, "requests": 1e13, "model_bytes": 1e12}
# May be left out, or empty where the number is not known.
_OPTIONAL: Final = frozenset({"model_bytes"})
# Whole numbers from 0 up to this one.
_WHOLE_UP_TO: Final[Mapping[str, int]] = {"hour_of_day": 23, "weekend": 1}


@dataclass(frozen=True)
class RateRow:
    """One row. numbers: by column, 0 or more; NaN where an optional one is not given."""

    line: int
    tenant: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class RateTable:
    """by_hour: a row is a tenant in an hour of the day; else it is a tenant."""

    by_hour: bool
    rows: tuple[RateRow, ...]


def read_rows(file: Path, *, also: Sequence[str] = ()) -> RateTable:
    """Read a CSV file. Other columns are left alone.

    also: columns that a table by the hour must have besides; of a table by the day, `model_bytes` is read if it is
    there. Raises InputError with every mistake (the first ten of many).
    """
    try:
        # Spreadsheets put a mark before the first column's name.
        with file.open(newline="", encoding="utf-8-sig") as lines:
            header = lines.readline()
            lines.seek(0)
            reader = csv.DictReader(lines, delimiter=max(",;\t", key=header.count), restkey=_MORE)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            columns = tuple(reader.fieldnames)
            read = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} cannot be read: it is not UTF-8 text: {error.reason} at byte {error.start:,}; save it as UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{file} cannot be read: {error}; give a CSV file") from error
    by_hour = set(columns) >= {"tenant", *_OF_AN_HOUR}
    needed = (*_OF_AN_HOUR, *also) if by_hour else _OF_A_DAY
    if missing := [name for name in ("tenant", *needed) if name not in columns]:
        raise InputError(
            f"{file}: no column {' and no column '.join(missing)}; it has {', '.join(sorted(columns)) or 'none'}. "
            "Write tenant,requests_per_day, or give the rates table of a trace (sql/rates.sql)"
        )
    wanted = [*needed, *(name for name in (*sorted(_OPTIONAL), *_WHOLE_UP_TO) if name in columns)]
    rows: list[RateRow] = []
    mistakes: list[str] = []
    seen: dict[tuple[object, ...], int] = {}
    for line, row in read:
        rate_row, wrong = _row(line, row, dict.fromkeys(wanted))
        wrong += _times(rate_row.numbers) if not wrong and by_hour else []
        key = (rate_row.tenant, rate_row.numbers.get("weekend"), rate_row.numbers.get("hour_of_day"))
        if not wrong and (first := seen.setdefault(key, line)) != line:
            wrong.append(f"duplicate tenant {rate_row.tenant}{_hour(row)}, as in line {first}; write one row for it")
        mistakes += [f"{file}, line {line}: {text}" for text in wrong]
        rows.append(rate_row)
    if not rows:
        raise InputError(f"{file} has no rows, so 0 tenants; write one a tenant")
    if mistakes:
        raise InputError("\n".join(_shown(mistakes)))
    return RateTable(by_hour, tuple(rows))


def _row(line: int, row: Mapping[str, Any], columns: Mapping[str, None]) -> tuple[RateRow, list[str]]:
    tenant, wrong, numbers = (row["tenant"] or "").strip(), list[str](), dict[str, float]()
    if not tenant:
        wrong.append("no tenant; write its name")
    if row.get(_MORE):
        wrong.append("more cells than columns; write 180000, not 180,000")
    for name in columns:
        text = (row[name] or "").strip()
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if name in _OPTIONAL and not text:
            numbers[name] = math.nan
            continue
        most = _WHOLE_UP_TO.get(name)
        if most is not None and not (number.is_integer() and 0 <= number <= most):
            wrong.append(f"{name} = {text!r}; write a whole number from 0 to {most}")
        elif not 0 <= number <= MOST_OF.get(name, math.inf) or math.isinf(number):
            most_of = f" to {MOST_OF[name]:g}" if name in MOST_OF else ""
            wrong.append(f"{name} = {text!r}; write a number from 0{most_of}")
        numbers[name] = number
    return RateRow(line, tenant, numbers), wrong


def _times(numbers: Mapping[str, float]) -> list[str]:
    if numbers["last_seconds"] > numbers["first_seconds"]:
        return []
    return [f"last_seconds = {numbers['last_seconds']:g} is not after first_seconds; a trace must take some time"]


def _hour(row: Mapping[str, str | None]) -> str:
    hour = row.get("hour_of_day")
    return "" if hour is None else f" in hour {hour}"


def _shown(mistakes: Sequence[str]) -> Iterator[str]:
    yield from mistakes[:_MAX_MISTAKES_SHOWN]
    if (more := len(mistakes) - _MAX_MISTAKES_SHOWN) > 0:
        yield f"and {more:,} more"
