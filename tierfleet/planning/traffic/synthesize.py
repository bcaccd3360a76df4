"""Make a trace of a shape: reproducible traffic to plan with, and to check the models against."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError
from tierfleet.files import check_writable, replacing
from tierfleet.planning.traffic.duckdb_session import connect, quoted
from tierfleet.planning.traffic.requests import Progress, Requests
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.shapes import MEGABYTE, Shape

_DAY: Final = 86400.0
MONDAY: Final = datetime(2026, 11, 2, tzinfo=UTC)
# Sessions that began before the trace still make calls in it.
_LEAD_GAPS: Final = 5.0
_FORMATS: Final = {".parquet": "FORMAT parquet", ".csv": "FORMAT csv, HEADER", ".jsonl": "FORMAT json"}
_COMPRESSIONS: Final = {"": "", ".gz": ", COMPRESSION gzip", ".zst": ", COMPRESSION zstd"}

Calls = tuple[NDArray[np.int32], NDArray[np.float64]]


def model_bytes(shape: Shape, *, seed: int) -> NDArray[np.float64]:
    """The artefact size of each tenant, whole bytes, evenly between the shape's two."""
    low, high = (megabytes * MEGABYTE for megabytes in shape.model_megabytes)
    return np.floor(np.random.default_rng([seed, 1]).uniform(low, high, len(shape.tenants)))


def synthesize(
    shape: Shape, *, days: float, seed: int, sessions: Sessions = INDEPENDENT, start: datetime = MONDAY
) -> Requests:
    """The requests of a shape, in memory. The same arguments give the same requests.

    Sessions begin at random, as often as the hour's weight says; each belongs to one tenant and has `sessions.calls`
    calls on average (the whole number below or above), with exponential gaps. A tenant's name index is its place in
    sorted order, as in a trace.
    """
    parts = list(_days(shape, days, seed, sessions, start.timestamp()))
    seconds = np.concatenate([seconds for _, seconds in parts])
    order = np.argsort(seconds, kind="stable")
    names = np.array(shape.tenants)
    by_name = np.argsort(names)
    rank = np.empty(len(names), np.int32)
    rank[by_name] = np.arange(len(names), dtype=np.int32)
    tenant = rank[np.concatenate([tenant for tenant, _ in parts])[order]]
    return Requests(tuple(names[by_name].tolist()), tenant, seconds[order], model_bytes(shape, seed=seed)[by_name])


def write_trace(
    shape: Shape,
    file: Path,
    *,
    days: float,
    seed: int,
    sessions: Sessions = INDEPENDENT,
    start: datetime = MONDAY,
    progress: Progress | None = None,
) -> int:
    """Write the requests of `synthesize` to Parquet, CSV or JSON lines (by the file's ending); returns their number.

    Columns: tenant, timestamp (UTC), model_bytes. Works day by day, so the trace may be bigger than memory.
    Raises InputError for an ending or a place that it cannot write.
    """
    compression = file.suffix if file.suffix in (".gz", ".zst") else ""
    ending = Path(file.stem).suffix if compression else file.suffix
    if ending not in _FORMATS or (ending == ".parquet" and compression):
        raise InputError(f"{file}: give it the ending .parquet, .csv or .jsonl; text also with .gz or .zst")
    check_writable(file, "--out")
    form = _FORMATS[ending] + (", COMPRESSION zstd" if ending == ".parquet" else _COMPRESSIONS[compression])
    with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, connect(Path(folder)) as connection:
        names = {"name": np.array(shape.tenants, object), "size": model_bytes(shape, seed=seed)}
        connection.register("listed", names)
        connection.execute("CREATE TABLE names AS SELECT row_number() OVER () - 1 AS id, * FROM listed")
        connection.execute("CREATE TABLE calls (id INTEGER, seconds DOUBLE)")
        for tenant, seconds in _days(shape, days, seed, sessions, start.timestamp()):
            connection.register("part", {"id": tenant, "seconds": seconds})
            connection.execute("INSERT INTO calls SELECT * FROM part")
            connection.unregister("part")
            if progress is not None:
                progress(len(seconds))
        with replacing(file) as beside:
            written = connection.execute(f"""
                COPY (
                    SELECT names.name AS tenant, make_timestamptz(CAST(round(seconds * 1e6) AS BIGINT)) AS "timestamp",
                        CAST(names.size AS BIGINT) AS model_bytes
                    FROM calls JOIN names USING (id) ORDER BY seconds, calls.rowid
                ) TO {quoted(str(beside))} ({form})
            """).fetchone()
    return 0 if written is None else int(written[0])


def _days(shape: Shape, days: float, seed: int, sessions: Sessions, start: float) -> Iterator[Calls]:
    """Index into shape.tenants and time of the calls, by the day on which their session began; none is out of range."""
    random = np.random.default_rng([seed, 0])
    lead = _LEAD_GAPS * sessions.calls * sessions.mean_gap_seconds
    end = start + days * _DAY
    at = start - lead
    while at < end:
        until = min(end, (at // _DAY + 1) * _DAY)
        tenant, seconds = _sessions_between(shape, sessions.calls, at, until, random)
        tenant, seconds = _calls(tenant, seconds, sessions, random)
        inside = (seconds >= start) & (seconds < end)
        yield tenant[inside], seconds[inside]
        at = until


def _sessions_between(
    shape: Shape, calls: float, begin: float, end: float, random: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    hours = np.arange(begin // 3600, -(-end // 3600))
    # Unix time began on a Thursday.
    of_week = ((hours + 72) % 168).astype(np.int64)
    low, high = np.maximum(hours * 3600, begin), np.minimum((hours + 1) * 3600, end)
    tenants, times, offset = [], [], 0
    for group in shape.groups:
        weight = group.hours[of_week] / group.hours.mean()
        expected = shape.requests_per_day / _DAY * group.share / calls * weight * (high - low)
        counts = random.poisson(expected)
        hour = np.repeat(np.arange(len(hours)), counts)
        times.append(random.uniform(low[hour], high[hour]))
        drawn = np.searchsorted(np.cumsum(group.popularity())[:-1], random.random(len(hour)), "right")
        tenants.append((drawn + offset).astype(np.int32))
        offset += len(group.tenants)
    seconds = np.concatenate(times)
    order = np.argsort(seconds)
    return np.concatenate(tenants)[order], seconds[order]


def _calls(
    tenant: NDArray[np.int32], seconds: NDArray[np.float64], sessions: Sessions, random: np.random.Generator
) -> Calls:
    if sessions.calls == 1:
        return tenant, seconds
    whole = int(sessions.calls)
    counts = whole + (random.random(len(tenant)) < sessions.calls - whole)
    session = np.repeat(np.arange(len(tenant)), counts)
    gaps = random.exponential(sessions.mean_gap_seconds, len(session))
    first = np.cumsum(counts) - counts
    gaps[first] = 0
    since_first = np.cumsum(gaps)
    return tenant[session], seconds[session] + since_first - since_first[first][session]
