"""The files of a trace as one SQL relation: Parquet, CSV, JSON lines, our client's metric logs, CloudTrail."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from tierfleet.errors import InputError
from tierfleet.planning.traffic.duckdb_session import allow_s3, identifier, quoted
from tierfleet.planning.traffic.trace_columns import KEY_COLUMNS, Columns, find_columns
from tierfleet.runtime import metrics
from tierfleet.runtime.client import metrics as call_metrics

_COMPRESSED: Final = (".gz", ".zst")
_LINES: Final = (".jsonl", ".ndjson", ".json", ".log", ".txt")
_SAMPLE_LINES: Final = 200
# CloudTrail writes one JSON document a file; this is more than its largest.
_MOST_DOCUMENT_BYTES: Final = 256 << 20

EMF: Final = "tierfleet's metric log"
CLOUDTRAIL: Final = "CloudTrail data events"


@dataclass(frozen=True)
class Relation:
    """A SELECT with the columns tenant, moment, model_bytes, latency (NULL if absent), refused and line.

    refused: why a row that can be read must still be left out. line: the row as it is; NULL for a table.
    moment_type: the DuckDB type of `moment`.
    """

    sql: str
    moment_type: str
    has_bytes: bool
    has_latency: bool
    shape: str
    assumed: tuple[str, ...] = ()


def relation(connection: duckdb.DuckDBPyConnection, source: str, columns: Columns) -> Relation:
    """Find out what the files are and how to read them. Raises InputError."""
    if source.startswith(("s3://", "s3a://")):
        allow_s3(connection, source)
    elif not any(character in source for character in "*?[") and not Path(source).is_file():
        raise InputError(f"{source} is no file; give a file, or a pattern such as 'logs/*.parquet' in quotes")
    elif Path(source).is_file() and not Path(source).stat().st_size:
        raise InputError(f"{source} is empty: it has 0 rows, and a plan needs requests")
    endings = [ending.lower() for ending in Path(source).suffixes]
    ending = next((e for e in reversed(endings) if e not in _COMPRESSED), "")
    try:
        if ending == ".parquet":
            return _table(connection, source, f"read_parquet({quoted(source)}, union_by_name = true)", columns)
        if ending in (".csv", ".tsv"):
            reader = f"read_csv({quoted(source)}, all_varchar = true, header = true, "
            return _table(connection, source, reader + "store_rejects = true)", columns)
        if ending in _LINES:
            return _json(connection, source, columns)
    except duckdb.Error as error:
        raise InputError(f"{source} cannot be read: {str(error).splitlines()[0]}") from error
    raise InputError(
        f"{source}: the ending {ending or 'is missing, it'!s} does not say what it is; "
        "known are .parquet, .csv, .tsv, .jsonl, .ndjson, .json, .log and .txt, the text ones also with .gz or .zst"
    )


def _table(connection: duckdb.DuckDBPyConnection, source: str, reader: str, columns: Columns) -> Relation:
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()}
    roles = find_columns(source, list(kinds), columns)
    values = {role: identifier(name) for role, name in roles.items()}
    values["tenant"], assumed = _tenant(roles["tenant"], f"CAST({values['tenant']} AS VARCHAR)")
    # DuckDB numbers columns of one name.
    twice = [name for name in roles.values() if f"{name}_1" in kinds]
    assumed += tuple(f"the column {name} is read, not {name}_1" for name in twice)
    return _select(values, reader, kinds[roles["timestamp"]], "a table", assumed=assumed)


def _json(connection: duckdb.DuckDBPyConnection, source: str, columns: Columns) -> Relation:
    documents = (
        f"read_json({quoted(source)}, columns = {{'Records': 'JSON[]'}}, "
        f"maximum_object_size = {_MOST_DOCUMENT_BYTES}, ignore_errors = true)"
    )
    if _is_cloudtrail_file(connection, source):
        return _cloudtrail(f"(SELECT unnest(Records) AS line FROM {documents})")
    lines = (
        f"read_csv({quoted(source)}, columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, "
        "delim = '\x01', quote = '', escape = '')"
    )
    sample = [row[0] for row in connection.execute(f"SELECT line FROM {lines} LIMIT {_SAMPLE_LINES}").fetchall()]
    if any(line and '"CloudWatchMetrics"' in line for line in sample):
        return _metric_log(lines)
    keys: dict[str, None] = {}
    for line in sample:
        try:
            keys.update(dict.fromkeys(json.loads(line or "")))
        except (ValueError, TypeError, RecursionError):
            continue
    if {"eventName", "requestParameters"} <= keys.keys():
        return _cloudtrail(f"(SELECT line::JSON AS line FROM {lines} WHERE json_valid(line))")
    if not keys:
        raise InputError(
            f"{source}: none of the first {_SAMPLE_LINES} lines is a JSON object; write one a line, without an array"
        )
    roles = find_columns(source, list(keys), columns)
    values = {role: f"json_extract_string(line, {quoted(_path(name))})" for role, name in roles.items()}
    values["tenant"], assumed = _tenant(roles["tenant"], values["tenant"])
    checked = f"(SELECT line, json_valid(line) AS valid FROM {lines} WHERE trim(line) <> '')"
    valid = {role: f"CASE WHEN valid THEN {value} END" for role, value in values.items()}
    refused = "IF(valid, NULL, 'a line that is not JSON')"
    return _select(valid, checked, "VARCHAR", "JSON lines", line="line", refused=refused, assumed=assumed)


def _tenant(column: str, value: str) -> tuple[str, tuple[str, ...]]:
    """The SQL of a tenant, and what that assumes: a column of model keys names a tenant before the first slash."""
    if column.strip().lower() not in KEY_COLUMNS:
        return value, ()
    return _tenant_of_key(value), (f"the tenant is {column} up to its first slash",)


def _tenant_of_key(key: str) -> str:
    return f"regexp_replace(regexp_extract({key}, '^/?([^/]+)', 1), '\\.tar\\.gz$', '')"


def _path(name: str) -> str:
    return '$."' + name.replace('"', '\\"') + '"'


def _is_cloudtrail_file(connection: duckdb.DuckDBPyConnection, source: str) -> bool:
    first = connection.execute(f"SELECT file FROM glob({quoted(source)}) ORDER BY file LIMIT 1").fetchone()
    if first is None:
        raise InputError(f"{source} matches no file")
    reader = f"read_json({quoted(first[0])}, columns = {{'Records': 'JSON[]'}}, maximum_object_size = "
    try:
        row = connection.execute(f"SELECT Records IS NOT NULL FROM {reader}{_MOST_DOCUMENT_BYTES}) LIMIT 1").fetchone()
    except duckdb.Error:
        return False
    return row is not None and bool(row[0])


def _metric_log(lines: str) -> Relation:
    """tierfleet.runtime.client.metrics: a line per tenant and 10 s, with the latency of each of its calls."""
    # An export from CloudWatch Logs puts a time before each line.
    metric = rf"""(
        SELECT regexp_extract(line, '\{{.*\}}') AS line FROM {lines} WHERE contains(line, '"CloudWatchMetrics"')
    )"""
    parts = f"""(
        SELECT line, json_extract_string(line, '$.Tenant') AS tenant,
            TRY_CAST(json_extract_string(line, '$._aws.Timestamp') AS BIGINT) AS moment,
            TRY_CAST(json_extract_string(line, '$.{metrics.CALLS}') AS BIGINT) AS calls,
            TRY_CAST(json_extract(line, '$.{metrics.CALL_LATENCY}') AS DOUBLE[]) AS latencies
        FROM {metric}
    )"""
    each = f"""(
        SELECT line, tenant, moment, unnest(
            CASE WHEN len(latencies) = calls THEN latencies
                ELSE list_transform(range(calls), lambda i: NULL::DOUBLE) END
        ) AS latency
        FROM {parts} WHERE tenant IS NOT NULL AND calls > 0
    )"""
    refused = (
        f"IF(tenant = {quoted(call_metrics.OTHER_TENANTS)}, "
        "'a call that names no tenant (raise named_tenants of the client)', NULL)"
    )
    values = {"tenant": "tenant", "timestamp": "moment", "latency": "latency"}
    return _select(
        values,
        each,
        "BIGINT",
        EMF,
        line="line",
        refused=refused,
        assumed=("the calls of a line happened at its time; the client writes every 10 s",),
    )


def _cloudtrail(events: str) -> Relation:
    target = "json_extract_string(line, '$.requestParameters.targetModel')"
    endpoint = "json_extract_string(line, '$.requestParameters.endpointName')"
    tenant = f"""CASE
        WHEN {target} IS NOT NULL THEN {_tenant_of_key(target)}
        WHEN regexp_matches({endpoint}, '--dedicated-') THEN split_part({endpoint}, '--', 4)
    END"""
    error = "json_extract_string(line, '$.errorCode')"
    refused = f"""CASE
        WHEN regexp_matches({error}, 'AccessDenied|Throttl|Validation') THEN 'a call that was refused before any model'
        WHEN {tenant} IS NULL THEN 'a call without targetModel' END"""
    calls = f"(SELECT line FROM {events} WHERE json_extract_string(line, '$.eventName') = 'InvokeEndpoint')"
    values = {"tenant": tenant, "timestamp": "json_extract_string(line, '$.eventTime')"}
    return _select(
        values,
        calls,
        "VARCHAR",
        CLOUDTRAIL,
        line="line",
        refused=refused,
        assumed=(
            "the tenant is requestParameters.targetModel up to its first slash, or the fourth word of the name of a "
            "dedicated endpoint; CloudTrail's times are whole seconds",
        ),
    )


def _select(
    values: dict[str, str],
    reader: str,
    moment_type: str,
    shape: str,
    *,
    line: str = "NULL::VARCHAR",
    refused: str = "NULL::VARCHAR",
    assumed: tuple[str, ...] = (),
) -> Relation:
    sql = (
        f"SELECT trim(CAST({values['tenant']} AS VARCHAR)) AS tenant, {values['timestamp']} AS moment, "
        f"{values.get('model_bytes', 'NULL')} AS model_bytes, {values.get('latency', 'NULL')} AS latency, "
        f"{refused} AS refused, {line} AS line FROM {reader}"
    )
    return Relation(sql, moment_type, "model_bytes" in values, "latency" in values, shape, assumed)
