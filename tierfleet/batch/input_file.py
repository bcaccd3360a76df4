"""The file of a backfill: rows of numbers, as CSV or Parquet, checked as a whole before the first one is sent."""

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

from tierfleet.errors import InputError
from tierfleet.runtime.number_text import is_plain

MISSING: Final = "nan"
_SUFFIXES: Final = (".csv", ".parquet")
_SHOWN_PROBLEMS: Final = 10
_FETCHED_ROWS: Final = 10_000
# DuckDB's names: TINYINT to HUGEINT with and without a sign, and the decimals' without their width. "NULL", in quotes,
# is a column without any value, as pandas writes one of missing values only.
_NUMERIC: Final = re.compile(r'U?(TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|FLOAT|DOUBLE|REAL|DECIMAL(\(.*\))?|BOOLEAN|"NULL"')
# pandas' own name for the column of an index without a name.
_PANDAS_INDEX: Final = re.compile(r"__index_level_[0-9]+__")
_WITHOUT_INDEX: Final = "the file has the index of a data frame, which is no feature; write it with index=False"
_BEGINS_AS_NUMBER: Final = re.compile(r"[+-]?\.?[0-9]")
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A checked file.

    `check_file(Path("rows.csv"))` of two rows `0.3,1.0` has rows=2 and features=2. A first line in which no cell is a
    number is a header. An empty cell is a missing value.
    """

    path: Path
    sha256: str
    """Of the file's bytes."""
    rows: int
    features: int
    longest_row_bytes: int
    """Of one row as it is sent, with its line break."""


def check_file(path: Path) -> InputFile:
    """Read the whole file. Raises InputError with every problem, the first ten of many, and OSError."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path} is neither CSV nor Parquet by its name; allowed: {' or '.join(_SUFFIXES)}")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    rows = longest = features = 0
    problems: list[str] = []
    more = 0
    for number, cells in enumerate(_cells(path), 1):
        features = features or len(cells)
        for problem in _row_problems(number, cells, features):
            if len(problems) < _SHOWN_PROBLEMS:
                problems.append(problem)
            else:
                more += 1
        rows += 1
        longest = max(longest, len(_line(cells)) + 1)
    if not rows:
        problems.append("it has no rows")
    if problems:
        rest = f"; and {more:,} more" if more else ""
        raise InputError(f"{path}: {'; '.join(problems)}{rest}; correct the file")
    return InputFile(path=path, sha256=sha256, rows=rows, features=features, longest_row_bytes=longest)


def read_rows(file: InputFile) -> Iterator[str]:
    """Each row as a line of `text/csv`, without a header; a missing value is `nan`."""
    return (_line(cells) for cells in _cells(file.path))


def in_chunks(rows: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` rows; the last one may be shorter."""
    source = iter(rows)
    while chunk := list(islice(source, size)):
        yield chunk


def _row_problems(number: int, cells: list[str], features: int) -> Iterator[str]:
    if len(cells) != features:
        yield f"row {number} has {len(cells)} cells, allowed: {features}, as in row 1"
    for column, cell in enumerate(cells, 1):
        value = _number(cell)
        if value is None:
            yield f"row {number}, column {column} is {cell[:40]!r}, allowed: a number, or nothing for a missing value"
        elif math.isinf(value):
            yield f"row {number}, column {column} is infinite, allowed: a number, or nothing for a missing value"


def _number(cell: str) -> float | None:
    """nan for a missing value; None for anything but a number."""
    if not cell:
        return math.nan
    return _float(cell) if is_plain(cell) else None


def _float(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _line(cells: list[str]) -> str:
    return ",".join(cell or MISSING for cell in cells)


def _cells(path: Path) -> Iterator[list[str]]:
    return _parquet_cells(path) if path.suffix.lower() == ".parquet" else _csv_cells(path)


def _lines(path: Path, stream: TextIO) -> Iterator[list[str]]:
    """The cells of each line that is not empty."""
    empty = 0
    reader = csv.reader(stream)
    for line in reader:
        if not line:
            empty = empty or reader.line_num
            continue
        if empty and len(line) == 1:
            raise InputError(
                f"{path}: line {empty} is empty, which may be a missing value or no row; write nan, or delete the line"
            )
        yield [cell.strip() for cell in line]


def _is_header(cells: list[str]) -> bool:
    """Whether no cell is a number. A row with 1_000 or 1;5 is a row with a problem, not a header."""
    return all(cell and _float(cell) is None for cell in cells) and not all(map(_BEGINS_AS_NUMBER.match, cells))


def _is_header_of_an_index(cells: list[str]) -> bool:
    """Whether it is a header but for cells without a name, as pandas writes an index."""
    named = [cell for cell in cells if cell]
    return bool(named) and len(named) < len(cells) and _is_header(named)


def _csv_cells(path: Path) -> Iterator[list[str]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark first.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = _lines(path, stream)
            first = next(lines, None)
            if first is None:
                return
            if _is_header_of_an_index(first):
                raise InputError(f"{path}: {_WITHOUT_INDEX}")
            if _is_header(first):
                header, first = first, next(lines, None)
                if first is None:
                    return
                if len(first) != len(header):
                    raise InputError(
                        f"{path}: the header has {len(header)} cells and the row below it {len(first)}; correct the "
                        "file"
                    )
            yield first
            yield from lines
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not CSV in UTF-8: {error}; save it again as such") from error


def _parquet_cells(path: Path) -> Iterator[list[str]]:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: reading Parquet needs duckdb; pip install 'tierfleet[planning]', or give a CSV file"
        ) from error
    # This one file, whatever its name: DuckDB takes * ? [ for a pattern, and a folder called year=2027 for a column.
    name = _PATTERN.sub(r"[\g<0>]", str(path))
    rows_of_it = "SELECT * FROM read_parquet(?, hive_partitioning = false)"
    try:
        with duckdb.connect() as connection:
            columns = connection.execute("DESCRIBE " + rows_of_it, [name]).fetchall()
            wrong = [f"{name} ({kind})" for name, kind, *_ in columns if not _NUMERIC.fullmatch(kind)]
            if any(_PANDAS_INDEX.fullmatch(name) for name, *_ in columns):
                raise InputError(f"{path}: {_WITHOUT_INDEX}")
            if wrong:
                raise InputError(f"{path}: columns {', '.join(wrong[:_SHOWN_PROBLEMS])} are not numbers; remove them")
            connection.execute(rows_of_it, [name])
            while rows := connection.fetchmany(_FETCHED_ROWS):
                for row in rows:
                    yield [_text(value) for value in row]
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value))
