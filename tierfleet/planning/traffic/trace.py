"""Read a trace of any size: DuckDB reads, checks and sorts it out of core; big ones become arrays on disk."""

import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError
from tierfleet.planning.traffic.duckdb_session import MEMORY_MIB, connect, quoted
from tierfleet.planning.traffic.requests import Progress, Requests
from tierfleet.planning.traffic.trace_columns import Columns
from tierfleet.planning.traffic.trace_files import Relation, relation
from tierfleet.planning.traffic.trace_notices import trace_notices
from tierfleet.planning.traffic.trace_sql import (
    INFERRED,
    RAW,
    UNREAD_TIME,
    TimeForm,
    given,
    reason_of,
    seconds_of,
    zone_of,
)

# Longer traces are kept in files and mapped, so that the system may drop what is not read.
_MOST_IN_MEMORY: Final = 8_000_000
_CHUNK: Final = 2_000_000
_SAMPLES: Final = 3

Number = TypeVar("Number", np.int32, np.float64)


@dataclass(frozen=True)
class BadRows:
    """Rows that were left out for one reason, and some of them unchanged."""

    reason: str
    count: int
    samples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.count:,} with {self.reason}, such as {self.samples[0]}"


@dataclass(frozen=True)
class Trace:
    """Requests, and what there is to say about where they come from.

    shape: what the files were taken for. notices: what a reader should know, most important first.
    latency_milliseconds: percentile to latency, of 50, 95 and 99; empty if the trace has none.
    """

    requests: Requests
    shape: str
    rows: int
    bad_rows: tuple[BadRows, ...]
    notices: tuple[str, ...]
    latency_milliseconds: dict[int, float]


def read_trace(
    source: str,
    folder: Path,
    *,
    columns: Columns | None = None,
    timezone: str | None = None,
    strict: bool = False,
    form: TimeForm = INFERRED,
    memory_mib: int = MEMORY_MIB,
    progress: Progress | None = None,
) -> Trace:
    """Read a file, a pattern of files, or either on S3.

    folder: must be new or empty, and stay as long as the Trace is used: big traces are mapped from it.
    timezone: of times without a zone, for example Europe/London; then some may have a zone and some not.
    strict: rows that cannot be used are an error, not left out. form: how the times are written.
    Raises InputError for a trace that cannot be planned with.
    """
    if timezone is not None and timezone not in zoneinfo.available_timezones():
        raise InputError(f"{timezone!r} is no time zone; give one such as Europe/London")
    with connect(folder, memory_mib=memory_mib) as connection:
        connection.execute(f"SET TimeZone = {quoted(timezone or 'UTC')}")
        files = relation(connection, source, columns or Columns())
        try:
            _stage(connection, files, timezone or "UTC", form)
            rows, bad_rows = _bad_rows(connection)
            _refuse(source, rows, bad_rows, strict)
            notices = [*_zone_notices(connection, source, timezone, form), *files.assumed]
            requests = _requests(connection, folder, progress)
            latency = _latency(connection) if files.has_latency else {}
        except duckdb.Error as error:
            raise InputError(f"{source} cannot be read: {str(error).splitlines()[0]}") from error
    if bad_rows:
        listed = "; ".join(str(bad) for bad in bad_rows)
        notices.insert(0, f"left out {sum(bad.count for bad in bad_rows):,} of {rows:,} rows: {listed}")
    notices = [*trace_notices(requests), *notices]
    return Trace(requests, files.shape, rows, bad_rows, tuple(notices), latency)


@dataclass(frozen=True)
class Reading:
    """How a trace is read; see `read_trace`."""

    columns: Columns
    timezone: str | None
    strict: bool
    form: TimeForm = INFERRED

    def trace(self, source: str, folder: Path, progress: Progress | None = None) -> Trace:
        """The trace of `read_trace`, read in this way."""
        return read_trace(
            source,
            folder,
            columns=self.columns,
            timezone=self.timezone,
            strict=self.strict,
            form=self.form,
            progress=progress,
        )


def _stage(connection: duckdb.DuckDBPyConnection, files: Relation, timezone: str, form: TimeForm) -> None:
    """The table `staged`: seconds, model_bytes and latency as numbers, and why a row is bad."""
    # NaN is how data frames write that a number is not known.
    connection.execute(f"""
        CREATE TABLE staged AS
        WITH source AS ({files.sql}),
        read_ AS (
            SELECT * EXCLUDE (model_bytes, latency), {given("moment", files.moment_type)} AS time_given,
                {seconds_of("moment", files.moment_type, timezone, form)} AS seconds,
                {zone_of("moment", files.moment_type, form)} AS zone,
                model_bytes AS model_bytes_read, TRY_CAST(model_bytes AS DOUBLE) AS model_bytes,
                latency AS latency_read, TRY_CAST(latency AS DOUBLE) AS latency
            FROM source
        ),
        checked AS (SELECT *, {reason_of(files.has_bytes, files.has_latency)} AS reason FROM read_)
        SELECT tenant, seconds, zone, nullif(model_bytes, 'NaN'::DOUBLE) AS model_bytes,
            nullif(latency, 'NaN'::DOUBLE) AS latency, reason, CASE WHEN reason IS NOT NULL THEN {RAW} END AS raw
        FROM checked
    """)


def _bad_rows(connection: duckdb.DuckDBPyConnection) -> tuple[int, tuple[BadRows, ...]]:
    rows = _one(connection, "SELECT count(*) FROM staged")
    relation = connection.execute(f"""
        SELECT reason, count(*), list(raw)[1:{_SAMPLES}] FROM staged WHERE reason IS NOT NULL
        GROUP BY reason ORDER BY count(*) DESC, reason
    """).fetchall()
    bad = [BadRows(reason, count, tuple(_short(raw) for raw in samples)) for reason, count, samples in relation]
    rejects = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_name = 'reject_errors'"
    ).fetchone()
    if rejects is not None and rejects[0]:
        lines = connection.execute("""
            SELECT file_id, line, any_value(csv_line), bool_or(error_type = 'INVALID ENCODING') FROM reject_errors
            GROUP BY file_id, line ORDER BY ALL
        """).fetchall()
        for other_encoding, reason in ((False, "the wrong number of columns"), (True, "characters that are not UTF-8")):
            of_reason = [(line, text) for _, line, text, encoding in lines if encoding == other_encoding]
            if of_reason:
                samples = tuple(f"line {line}: {_short(text)}" for line, text in of_reason[:_SAMPLES])
                bad.append(BadRows(reason, len(of_reason), samples))
        rows += len(lines)
    return rows, tuple(bad)


def _short(raw: str | None) -> str:
    text = " ".join((raw or "").split())
    return text if len(text) <= 120 else text[:117] + "..."


def _refuse(source: str, rows: int, bad_rows: tuple[BadRows, ...], strict: bool) -> None:
    if rows == 0:
        raise InputError(f"{source} has 0 rows; a plan needs requests")
    bad = sum(bad.count for bad in bad_rows)
    listed = "; ".join(str(item) for item in bad_rows)
    if bad == rows:
        form = any(item.reason == UNREAD_TIME for item in bad_rows)
        advice = "; say how the times are written, such as --time-format '%d/%m/%Y %H:%M:%S'" if form else ""
        raise InputError(f"{source}: none of {rows:,} rows can be used: {listed}{advice}")
    if bad and strict:
        raise InputError(f"{source}: {bad:,} of {rows:,} rows cannot be used: {listed}; --strict accepts none")


def _zone_notices(
    connection: duckdb.DuckDBPyConnection, source: str, timezone: str | None, form: TimeForm
) -> list[str]:
    good = "FROM staged WHERE reason IS NULL AND zone"
    with_zone = _one(connection, f"SELECT count(*) {good}")
    without = _one(connection, f"SELECT count(*) {good} = false")
    if with_zone and without and timezone is None:
        raise InputError(
            f"{source} mixes times with a zone ({with_zone:,} rows) and without ({without:,} rows); "
            "say which zone the latter are in with --timezone, for example --timezone UTC"
        )
    if form.unit is not None and not _one(
        connection, "SELECT count(*) FROM staged WHERE reason IS NULL AND zone IS NULL"
    ):
        return [f"--time-unit {form.unit} has no effect: the times are text or timestamps"]
    if without and timezone is None:
        return ["the times have no zone and were read as UTC; --timezone says otherwise"]
    if timezone is not None and not without:
        return [f"--timezone {timezone} has no effect: every time has a zone of its own, or is a Unix time"]
    return []


def _requests(connection: duckdb.DuckDBPyConnection, folder: Path, progress: Progress | None) -> Requests:
    connection.execute("""
        CREATE TABLE names AS
        SELECT tenant, CAST(row_number() OVER (ORDER BY tenant) - 1 AS INTEGER) AS id, max(model_bytes) AS model_bytes
        FROM staged WHERE reason IS NULL GROUP BY tenant
    """)
    # Rows of one time stay in the order of the files.
    connection.execute("""
        CREATE TABLE ordered AS
        SELECT names.id AS tenant, staged.seconds FROM staged JOIN names USING (tenant) WHERE reason IS NULL
        ORDER BY staged.seconds, staged.rowid
    """)
    names = connection.execute("SELECT tenant, model_bytes FROM names ORDER BY id").fetchall()
    count = _one(connection, "SELECT count(*) FROM ordered")
    tenant, seconds = _array(folder / "tenant", np.int32, count), _array(folder / "seconds", np.float64, count)
    for start in range(0, count, _CHUNK):
        end = min(start + _CHUNK, count)
        chunk = connection.execute(
            f"SELECT tenant, seconds FROM ordered WHERE rowid >= {start} AND rowid < {end} ORDER BY rowid"
        ).fetchnumpy()
        tenant[start:end], seconds[start:end] = chunk["tenant"], chunk["seconds"]
        if progress is not None:
            progress(end - start)
    sizes = np.array([np.nan if size is None else size for _, size in names], np.float64)
    return Requests(tuple(name for name, _ in names), tenant, seconds, sizes)


def _array(file: Path, kind: type[Number], length: int) -> NDArray[Number]:
    if length <= _MOST_IN_MEMORY:
        return np.empty(length, kind)
    # A plain array over the mapping: compiled code knows no np.memmap.
    return np.asarray(np.memmap(file, kind, "w+", shape=(length,)))


def _latency(connection: duckdb.DuckDBPyConnection) -> dict[int, float]:
    row = connection.execute(
        # Approximate: exact percentiles would need all latencies in memory.
        "SELECT approx_quantile(latency, [0.5, 0.95, 0.99]) FROM staged WHERE reason IS NULL AND latency IS NOT NULL"
    ).fetchone()
    return {} if row is None or row[0] is None else dict(zip((50, 95, 99), row[0], strict=True))


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return 0 if row is None else int(row[0])
