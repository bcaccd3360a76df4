"""Traces of every form become the same requests, and broken ones one clear message."""

import gzip
import json

import duckdb
import numpy as np
import pytest

from tierfleet.errors import InputError
from tierfleet.planning.traffic.duckdb_session import allow_s3
from tierfleet.planning.traffic.trace import read_trace
from tierfleet.planning.traffic.trace_columns import Columns
from tierfleet.planning.traffic.trace_sql import TimeForm
from tierfleet.runtime import metrics
from tierfleet.runtime.client.metrics import CallMetrics

ROWS = [
    ("m02", "2026-11-02T08:00:01Z", 20, 4.5),
    ("m01", "2026-11-02T08:00:00Z", 10, 5.5),
    ("m02", "2026-11-02T09:30:00Z", 20, 6.5),
]
EIGHT = 1793606400.0


def csv(tmp_path, *lines, name="trace.csv"):
    file = tmp_path / name
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def read(source, tmp_path, **options):
    return read_trace(source, tmp_path / "work", **options)


def _write(tmp_path, ending):
    file = tmp_path / f"trace{ending}"
    plain = "".join(
        json.dumps({"tenant": t, "timestamp": at, "bytes": b, "latency": ms}) + "\n" for t, at, b, ms in ROWS
    )
    if ending == ".jsonl":
        file.write_text(plain)
    elif ending == ".jsonl.gz":
        file.write_bytes(gzip.compress(plain.encode()))
    else:
        form = "FORMAT parquet" if ending == ".parquet" else "FORMAT csv, HEADER"
        compression = ", COMPRESSION zstd" if ending.endswith(".zst") else ""
        values = ", ".join(f"('{t}', TIMESTAMPTZ '{at}', {b}, {ms})" for t, at, b, ms in ROWS)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            table = f'(SELECT * FROM (VALUES {values}) AS v(tenant, "timestamp", bytes, latency))'
            connection.execute(f"COPY {table} TO '{file}' ({form}{compression})")
    return str(file)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.zst", ".jsonl", ".jsonl.gz"])
def test_every_format_gives_the_same_requests_in_time_order(tmp_path, ending):
    trace = read(_write(tmp_path, ending), tmp_path, strict=True)
    requests = trace.requests
    assert requests.tenants == ("m01", "m02")
    assert requests.tenant.tolist() == [0, 1, 1]
    assert requests.tenant.dtype == np.int32
    assert (requests.seconds - EIGHT).tolist() == [0, 1, 5400]
    assert requests.model_bytes.tolist() == [10, 20]
    assert trace.latency_milliseconds[50] == pytest.approx(5.5)
    assert trace.notices == ()


def test_a_pattern_reads_many_files(tmp_path):
    csv(tmp_path, "tenant,timestamp", "b,2026-11-02T08:00:01Z", name="part-1.csv")
    csv(tmp_path, "tenant,timestamp", "a,2026-11-02T08:00:00Z", name="part-2.csv")
    assert read(str(tmp_path / "part-*.csv"), tmp_path).requests.tenant.tolist() == [0, 1]


@pytest.mark.parametrize(
    "moment", ["1793606400", "1793606400.0", "1793606400000", "1793606400000000", "2026-11-02T08:00:00Z",
               "2026-11-02 09:00:00+01:00", "2026-11-02T03:00:00-0500", "2026-11-02 08:00:00 UTC"],
)  # fmt: skip
def test_times_in_every_unit_and_zone(tmp_path, moment):
    trace = read(csv(tmp_path, "tenant,timestamp", f"a,{moment}", f"b,{moment}"), tmp_path)
    assert trace.requests.seconds.tolist() == [EIGHT, EIGHT]
    assert trace.notices == ("all requests have the same time: nothing per hour can be said",)


def test_times_without_a_zone_are_utc_unless_said(tmp_path):
    source = csv(tmp_path, "tenant,timestamp", "a,2026-07-01 08:00:00", "b,2026-07-01 08:00:01")
    utc = read_trace(source, tmp_path / "1")
    london = read_trace(source, tmp_path / "2", timezone="Europe/London")
    assert utc.requests.seconds[0] - london.requests.seconds[0] == 3600
    assert "read as UTC; --timezone" in utc.notices[0]
    assert london.notices == ()


def test_a_parquet_column_without_a_zone_takes_the_one_that_is_said(tmp_path):
    with duckdb.connect() as connection:
        values = "('a', TIMESTAMP '2026-07-01 08:00:00'), ('b', TIMESTAMP '2026-07-01 09:00:00')"
        connection.execute(
            f"COPY (SELECT * FROM (VALUES {values}) AS v(tenant, ts)) TO '{tmp_path}/t.parquet' (FORMAT parquet)"
        )
    trace = read(f"{tmp_path}/t.parquet", tmp_path, timezone="Europe/London")
    assert trace.requests.seconds[0] == 1782889200.0


def test_columns_by_name(tmp_path):
    source = csv(tmp_path, "Who,When,Weight", "a,2026-11-02T08:00:00Z,7", "b,2026-11-02T08:00:01Z,8")
    columns = Columns(tenant="who", timestamp="When", model_bytes="Weight")
    assert read(source, tmp_path, columns=columns).requests.model_bytes.tolist() == [7, 8]


def test_another_encoding_is_not_called_a_wrong_number_of_columns(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_bytes("tenant,timestamp\nm1,2026-11-02T08:00:00Z\nmü,2026-11-02T08:00:01Z\n".encode("latin-1"))
    assert {bad.reason: bad.count for bad in read(str(file), tmp_path).bad_rows} == {"characters that are not UTF-8": 1}


def test_times_in_another_form_are_answered_with_the_option_for_them(tmp_path):
    source = csv(tmp_path, "tenant,timestamp", "a,02/11/2026 08:00:00", "b,02/11/2026 08:00:01")
    with pytest.raises(InputError, match="say how the times are written, such as --time-format '%d/%m/%Y"):
        read(source, tmp_path)


def test_a_unit_of_times_that_are_text_has_no_effect(tmp_path):
    notices = read(
        csv(tmp_path, "tenant,timestamp", *(f"{t},{at}" for t, at, _, _ in ROWS)), tmp_path, form=TimeForm("ms")
    ).notices
    assert "--time-unit ms has no effect: the times are text or timestamps" in notices


def test_bad_rows_are_counted_and_shown(tmp_path):
    source = csv(
        tmp_path, "tenant,timestamp,bytes", "a,2026-11-02T08:00:00Z,5", "b,2026-11-02T08:00:01Z,-5",
        "c,yesterday,5", ",2026-11-02T08:00:01Z,5", "d,2026-11-02T08:00:02Z,big", "e,,5", "f,2026-11-02T08:00:09Z,",
        "g,2026-11-02T08:00:02Z,5,6,7,8",
    )  # fmt: skip
    trace = read(source, tmp_path)
    assert trace.requests.tenants == ("a", "f")
    assert trace.rows == 8
    assert {bad.reason: bad.count for bad in trace.bad_rows} == {
        "a negative size": 1, "a time that cannot be read": 1, "no tenant": 1, "no time": 1,
        "a size that is no number": 1, "the wrong number of columns": 1,
    }  # fmt: skip
    assert trace.notices[0].startswith("left out 6 of 8 rows: ")
    assert "model_bytes=-5" in next(bad for bad in trace.bad_rows if bad.reason == "a negative size").samples[0]


def test_a_size_or_latency_of_nan_is_one_that_is_not_known(tmp_path):
    file = tmp_path / "frame.parquet"
    rows = "('a', 1, '5', 'nan'), ('a', 2, 'nan', '7'), ('b', 3, 'nan', 'nan'), ('c', 4, 'inf', '1')"
    with duckdb.connect() as connection:
        table = f"(SELECT tenant, seconds, bytes::DOUBLE AS bytes, latency::DOUBLE AS latency FROM (VALUES {rows})"
        connection.execute(f"COPY {table} AS v(tenant, seconds, bytes, latency)) TO '{file}' (FORMAT parquet)")
    trace = read(str(file), tmp_path)
    assert trace.requests.tenants == ("a", "b")
    np.testing.assert_array_equal(trace.requests.model_bytes, [5, np.nan])
    assert trace.latency_milliseconds[50] == 7
    assert [(bad.reason, bad.count) for bad in trace.bad_rows] == [("a size that is no number", 1)]


def test_spaces_around_names_are_no_part_of_them(tmp_path):
    source = csv(
        tmp_path, "tenant, timestamp", " a,2026-11-02T08:00:00Z", "a, 2026-11-02T08:00:01Z", " ,2026-11-02T08:00:02Z"
    )
    trace = read(source, tmp_path)
    assert trace.requests.tenants == ("a",)
    assert len(trace.requests) == 2
    assert [bad.reason for bad in trace.bad_rows] == ["no tenant"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_column_of_model_keys_names_tenants_before_the_slash(tmp_path, ending):
    keys = ["m01/2026-11-14.tar.gz", "/m01/2026-11-20.tar.gz", "m02.tar.gz"]
    rows = [(key, f"2026-11-02T08:00:0{n}Z") for n, key in enumerate(keys)]
    lines = [json.dumps({"TargetModel": key, "time": at}) for key, at in rows]
    if ending == ".csv":
        lines = ["TargetModel,time", *map(",".join, rows)]
    trace = read(csv(tmp_path, *lines, name=f"keys{ending}"), tmp_path)
    assert trace.requests.tenants == ("m01", "m02")
    assert trace.requests.tenant.tolist() == [0, 0, 1]
    assert "the tenant is TargetModel up to its first slash" in trace.notices


def test_of_two_columns_of_one_name_the_first_is_read_and_that_is_said(tmp_path):
    trace = read(
        csv(tmp_path, "tenant,timestamp,tenant", "a,2026-11-02T08:00:00Z,x", "b,2026-11-02T08:00:01Z,y"), tmp_path
    )
    assert trace.requests.tenants == ("a", "b")
    assert "the column tenant is read, not tenant_1" in trace.notices


@pytest.mark.parametrize("name", ["empty.csv", "empty.jsonl", "empty.parquet"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="is empty: it has 0 rows"):
        read(str(tmp_path / name), tmp_path)


def test_a_time_far_off_the_others_is_pointed_at(tmp_path):
    usual = [f"m{n % 3},{EIGHT + 60 * n}" for n in range(200)]
    assert read(csv(tmp_path, "tenant,timestamp", *usual), tmp_path).notices == ()
    source = csv(tmp_path, "tenant,timestamp", *usual, "m1,0", name="off.csv")
    trace = read_trace(source, tmp_path / "off")
    assert trace.notices[0].startswith(
        "no request from 1970-01-01 to 2026-11-02, 20,759 of 20,759 days (1 requests before"
    )


def test_times_that_count_from_somewhere_else_are_pointed_at(tmp_path):
    trace = read(csv(tmp_path, "tenant,timestamp", "a,0", "b,7200"), tmp_path)
    assert trace.notices[0].startswith("the times count from 0: this is a relative trace; hours of the day")


def _lines(*rows):
    return ("tenant,timestamp,bytes", *rows)


GOOD = "a,2026-11-02T08:00:00Z,5"


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (("who,timestamp", "a,1"), {}, r"no tenant column .*--tenant-column; its columns are who, timestamp$"),
        (("who,when", "a,1"), {}, r"no tenant column .*; no timestamp column .*--timestamp-column"),
        (("tenant,timestamp", "a,1"), {"columns": Columns(tenant="x")}, r"no column 'x', which --tenant-column names"),
        (_lines(GOOD, "b,2026-11-02 08:00:00,5"), {}, r"mixes times with a zone \(1 rows\) and without \(1 rows\)"),
        (_lines(GOOD, "b,2026-11-02T08:00:01Z,-5"), {"strict": True}, r"1 of 2 rows cannot be used: 1 with a negative"),
        (_lines("b,2026-11-02T08:00:01Z,-5"), {}, r"none of 1 rows can be used: 1 with a negative size"),
        (_lines(), {}, r"has 0 rows; a plan needs requests"),
        (_lines(GOOD), {"timezone": "Europe/Nowhere"}, r"'Europe/Nowhere' is no time zone"),
    ],
)
def test_a_broken_trace_gets_one_clear_message(tmp_path, lines, options, message):
    with pytest.raises(InputError, match=message):
        read(csv(tmp_path, *lines), tmp_path, **options)


def test_mixed_zones_are_fine_once_the_zone_is_said(tmp_path):
    source = csv(tmp_path, *_lines(GOOD, "b,2026-11-02 08:00:01,5"))
    assert read(source, tmp_path, timezone="UTC").requests.seconds.tolist() == [EIGHT, EIGHT + 1]


def test_one_tenant_is_said_first(tmp_path):
    trace = read(csv(tmp_path, *_lines(GOOD, "a,2026-11-02T08:00:01Z,5")), tmp_path)
    assert trace.notices[0].startswith("all 2 requests are for one tenant, a: a cache of models cannot be planned")


@pytest.mark.parametrize("source", ["nowhere.csv", "nowhere-*.csv", "nowhere-*.jsonl"])
def test_a_file_that_is_not_there(tmp_path, source):
    with pytest.raises(InputError, match=r"is no file|[Nn]o files|matches no file"):
        read(str(tmp_path / source), tmp_path)


def test_an_ending_that_says_nothing(tmp_path):
    with pytest.raises(InputError, match=r"\.xlsx does not say what it is; known are \.parquet"):
        read(csv(tmp_path, "x", name="trace.xlsx"), tmp_path)


def test_lines_that_are_no_json(tmp_path):
    with pytest.raises(InputError, match="none of the first 200 lines is a JSON object"):
        read(csv(tmp_path, "hello", "world", name="trace.jsonl"), tmp_path)
    good = [json.dumps({"tenant": t, "timestamp": at}) for t, at, _, _ in ROWS]
    trace = read_trace(csv(tmp_path, *good, "{broken", name="some.jsonl"), tmp_path / "some")
    assert [(bad.reason, bad.count) for bad in trace.bad_rows] == [("a line that is not JSON", 1)]


def test_s3_without_the_extension_says_what_to_do():
    class Offline:
        def execute(self, text):
            raise duckdb.IOException(f'Failed to download extension "httpfs" for {text}')

    with pytest.raises(InputError, match=r"s3://b/t.parquet is on S3, .* cannot be loaded .*aws s3 cp"):
        allow_s3(Offline(), "s3://b/t.parquet")


@pytest.mark.parametrize("exported", ["", "2026-11-02T08:00:00.000Z "])
def test_the_clients_metric_log(tmp_path, exported):
    lines: list[str] = []
    calls = CallMetrics(lines.append, fleet="fraud", environment="prod", named_tenants=2)
    for tenant, count in (("m01", 150), ("m02", 30), ("m03", 5)):
        for number in range(count):
            calls.call(tenant, 0.001 * number, answered=True)
    calls.route(metrics.ROUTE_FALLBACK)
    calls.flush()
    file = csv(tmp_path, "START RequestId: 1", *(exported + line for line in lines), name="app.log")
    trace = read(file, tmp_path)
    assert trace.shape == "tierfleet's metric log"
    requests = trace.requests
    assert dict(zip(requests.tenants, requests.requests_per_tenant().tolist(), strict=True)) == {"m01": 150, "m02": 30}
    # A tenant beyond the named ones cannot be told apart.
    assert [(bad.count, bad.reason.split(" (")[0]) for bad in trace.bad_rows] == [(5, "a call that names no tenant")]
    assert trace.latency_milliseconds[99] == pytest.approx(148, abs=2)
    assert "the client writes every 10 s" in trace.notices[-1]


def _event(
    target, at="2026-11-02T08:00:00Z", endpoint="fraud--prod--tail--all--mme-m5-xlarge", name="InvokeEndpoint", **more
):
    parameters = {"endpointName": endpoint, **({"targetModel": target} if target else {})}
    return {"eventName": name, "eventTime": at, "requestParameters": parameters, **more}


@pytest.mark.parametrize("form", ["file", "lines"])
def test_cloudtrail_data_events(tmp_path, form):
    events = [
        _event("m07/2026-11-14.tar.gz"),
        _event("m08.tar.gz", at="2026-11-02T08:00:01Z"),
        _event(None, endpoint="fraud--prod--whale--m01--dedicated-m5-large", at="2026-11-02T08:00:02Z"),
        _event(None, endpoint="something-else"),
        _event("m09/1.tar.gz", errorCode="ThrottlingException"),
        _event("m07/1.tar.gz", name="DescribeEndpoint"),
    ]
    if form == "file":
        file = tmp_path / "trail.json.gz"
        file.write_bytes(gzip.compress(json.dumps({"Records": events}).encode()))
    else:
        file = tmp_path / "trail.jsonl"
        file.write_text("".join(json.dumps(event) + "\n" for event in events))
    trace = read(str(file), tmp_path)
    assert trace.shape == "CloudTrail data events"
    assert trace.requests.tenants == ("m01", "m07", "m08")
    assert (trace.requests.seconds - EIGHT).tolist() == [0, 1, 2]
    assert {bad.reason: bad.count for bad in trace.bad_rows} == {
        "a call that was refused before any model": 1,
        "a call without targetModel": 1,
    }
    assert "targetModel up to its first slash" in trace.notices[-1]


def test_a_long_trace_is_mapped_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tierfleet.planning.traffic.trace._MOST_IN_MEMORY", 2)
    trace = read(_write(tmp_path, ".parquet"), tmp_path)
    assert (tmp_path / "work" / "tenant").stat().st_size == 12
    assert type(trace.requests.tenant) is np.ndarray
    assert trace.requests.tenant.tolist() == [0, 1, 1]


def test_a_trace_whose_tenants_hardly_call_twice_is_asked_about(tmp_path):
    lines = [f"req-{number:05},2026-11-{1 + number % 28:02}T00:00:00Z" for number in range(1200)]
    trace = read(csv(tmp_path, "tenant,timestamp", *sorted(lines, key=lambda line: line[10:])), tmp_path)
    assert any("is the tenant column the right one, or does it hold a request's id?" in note for note in trace.notices)
