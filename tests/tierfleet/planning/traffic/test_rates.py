"""Rates from files and from the query that also runs in Athena."""

import csv
import re

import duckdb
import numpy as np
import pytest

from tierfleet.errors import InputError
from tierfleet.planning.traffic.rates import rates_of, rates_sql
from tierfleet.planning.traffic.rates_files import is_rates_file, read_rates
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.sessions import GAP_COLUMNS, INDEPENDENT, Sessions
from tierfleet.planning.traffic.shapes import varied
from tierfleet.planning.traffic.synthesize import synthesize


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rates.csv", "tenant,requests_per_day,model_bytes\nm01,1000,50\nm02,10,\n"),
        ("rates.toml", "[requests_per_day]\nm01 = 1000\nm02 = 10\n[model_bytes]\nm01 = 50\n"),
        ("rates.json", '{"requests_per_day": {"m01": 1000, "m02": 10}, "model_bytes": {"m01": 50}}'),
    ],
)
def test_reads_rates_of_every_form(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert is_rates_file(str(file))
    rates = read_rates(str(file))
    assert rates.tenants == ("m01", "m02")
    assert rates.requests_per_day.tolist() == [1000, 10]
    assert rates.model_bytes[0] == 50
    assert np.isnan(rates.model_bytes[1])
    assert rates.sessions == INDEPENDENT
    assert read_rates(str(file), sessions=Sessions(3, 60)).sessions == Sessions(3, 60)


def test_a_rates_file_says_how_calls_cluster(tmp_path):
    file = tmp_path / "rates.toml"
    file.write_text("[requests_per_day]\nm01 = 1\n[sessions]\ncalls = 3.5\nmean_gap_seconds = 90\n")
    assert read_rates(str(file)).sessions == Sessions(3.5, 90)


def _table(**changed):
    """The rates table of a trace, of one row."""
    row = {"tenant": "a", "weekend": 0, "hour_of_day": 8, "requests": 5, "first_seconds": 0, "last_seconds": 86400}
    row |= dict.fromkeys(GAP_COLUMNS, 1) | changed
    return ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.csv", "tenant,requests_per_day\n", "has no rows, so 0 tenants"),
        (
            "r.csv",
            "tenant,requests_per_day\na,-1\nb,x\n",
            r"line 2: requests_per_day = '-1'; write a number from 0 to .*\n.*line 3: requests_per_day = 'x'",
        ),
        ("r.csv", "tenant,requests_per_day\na,1\na,2\n", "line 3: duplicate tenant a, as in line 2"),
        ("r.csv", "tenant,requests_per_day\na,0\n", "requests_per_day is 0 in every row"),
        ("r.csv", "tenant,requests_per_day\n,5\n", "line 2: no tenant; write its name"),
        (
            "r.toml",
            "model_bytes = 45\n[requests_per_day]\na = 1\n",
            "model_bytes is 45; give a table of tenant to number",
        ),
        ("r.csv", _table(hour_of_day=24), "line 2: hour_of_day = '24'; write a whole number from 0 to 23"),
        ("r.csv", _table(weekend=0.5), r"line 2: weekend = '0\.5'; write a whole number from 0 to 1"),
        ("r.csv", _table(requests="many"), "line 2: requests = 'many'; write a number from 0"),
        ("r.csv", _table(requests=0), "requests is 0 in every row"),
        ("r.csv", _table(tenant=""), "line 2: no tenant; write its name"),
        ("r.csv", _table(last_seconds=0), "last_seconds = 0 is not after first_seconds"),
        ("r.csv", "who,requests_per_day\na,0\n", "no column tenant"),
        ("r.toml", "a = 1\n", r"must hold a table requests_per_day .* \(unknown: a\)"),
        ("r.toml", "a = \n", "r.toml: Invalid value"),
        ("r.json", "[]", "must hold a table requests_per_day"),
        ("r.json", '{"requests_per_day": {"a": 1}, "sessions": {"calls": 0}}', "sessions: a session has 0 calls"),
        ("r.json", '{"requests_per_day": {"a": 1, "a": 2}}', "duplicate a; write each once"),
        ("r.json", '{"requests_per_day": {"a": true}}', "requests_per_day of a is True"),
        (
            "r.json",
            '{"requests_per_day": {"a": 1' + "0" * 400 + "}}",
            "requests_per_day of a is a number of many digits",
        ),
        ("r.json", '{"requests_per_day": {"a": 1' + "0" * 5000 + "}}", "a number has too many digits"),
        ("r.json", "[" * 100_000 + "]" * 100_000, "brackets nest too deep"),
        ("r.toml", "a = " + "[" * 5000 + "]" * 5000, "brackets nest too deep"),
        ("r.json", '{"requests_per_day": {"a": 1}, "sessions": 3}', "sessions is 3; give a table with the numbers"),
        ("r.json", '{"requests_per_day": {"a": 1}, "sessions": {"calls": 1e300}}', "give at most 1,000,000"),
        ("r.csv", "tenant,requests_per_day\na,1e12\n", "requests_per_day = '1e12'; write a number from 0 to 1e"),
        ("r.csv", "tenant,requests_per_day\na,180,000\n", "more cells than columns; write 180000, not 180,000"),
    ],
)
def test_says_what_is_wrong_with_rates(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_rates(str(tmp_path / name))


def test_a_spreadsheet_s_mark_is_no_part_of_a_name_and_other_bytes_are_refused(tmp_path):
    file = tmp_path / "rates.csv"
    file.write_text("tenant,requests_per_day\na,1\n", encoding="utf-8-sig")
    assert read_rates(str(file)).tenants == ("a",)
    file.write_text("tenant,requests_per_day\nm\u00fcller,1\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"is not UTF-8 text: .* at byte 25"):
        read_rates(str(file))


@pytest.fixture(scope="module")
def requests():
    return synthesize(varied("fraud", requests_per_day=5000), days=9, seed=3, sessions=Sessions(2, 30))


def test_the_query_counts_what_it_says(requests):
    rates = rates_of(requests)
    assert rates.tenants == requests.tenants
    per_day = requests.requests_per_tenant() / (requests.duration_seconds / 86400)
    assert rates.requests_per_day == pytest.approx(per_day)
    # Each tenant's rhythm is a multiple of its mean, and a regular merchant rests at night.
    assert rates.rhythm @ rates.period_share == pytest.approx(np.ones(70))
    regular = rates.rhythm[rates.tenants.index("m02")]
    assert regular[10] > 1.5 > 0.5 > regular[3]


def test_the_table_that_athena_exports_is_the_same_as_our_own(requests, tmp_path):
    names = np.array(requests.tenants, object)
    trace = {"tenant": names[requests.tenant], "seconds": requests.seconds}
    with duckdb.connect() as connection:
        connection.register("requests", trace)
        answer = connection.execute(rates_sql())
        columns = [column[0] for column in answer.description]
        rows = answer.fetchall()
    # Each request is in one period. Each gap has an end, except the last one of each tenant.
    assert sum(row[columns.index("requests")] for row in rows) == len(requests)
    file = tmp_path / "rates.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerows([columns, *rows])
    assert is_rates_file(str(file))
    exported, own = read_rates(str(file)), rates_of(requests)
    assert exported.tenants == own.tenants
    assert exported.requests_per_day == pytest.approx(own.requests_per_day)
    assert exported.rhythm == pytest.approx(own.rhythm)
    assert exported.sessions.calls == pytest.approx(own.sessions.calls)


def test_the_query_keeps_to_what_both_dialects_know():
    words = set(re.findall(r"[A-Z_]{2,}(?=\()", rates_sql()))
    assert words <= {"CAST", "FLOOR", "LEAD", "MOD", "MIN", "MAX", "SUM", "COUNT", "OVER"}
    assert "?" not in rates_sql()
    assert "::" not in rates_sql()
    # Trino divides whole numbers to whole numbers and DuckDB to fractions; a double divides the same in both. By a
    # decimal literal such as 24.0 Trino rounds to one digit: 23 / 24.0 is 1.0, and the last hour fell on the next day.
    assert all("FLOOR(seconds / " in line for line in rates_sql().splitlines() if " / " in line)
    assert not re.search(r"\d\.\d", rates_sql())


def test_the_last_hour_of_a_day_belongs_to_that_day():
    # Friday and Sunday, 23:30; Saturday and Monday, 00:30.
    moments = {
        "fri": "2026-11-06 23:30",
        "sun": "2026-11-08 23:30",
        "sat": "2026-11-07 00:30",
        "mon": "2026-11-09 00:30",
    }
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE requests (tenant VARCHAR, seconds DOUBLE)")
        for name, moment in moments.items():
            connection.execute(f"INSERT INTO requests VALUES ('{name}', epoch(TIMESTAMP '{moment}'))")
        hours = connection.execute(f"SELECT tenant, weekend, hour_of_day FROM ({rates_sql()})").fetchall()
    assert sorted(hours) == [("fri", 0, 23), ("mon", 0, 0), ("sat", 1, 0), ("sun", 1, 23)]


def test_a_single_instant_has_no_rates(requests):
    from brute_force import requests_of

    with pytest.raises(InputError, match="all requests have the same time"):
        rates_of(requests_of([0, 1], seconds=[5, 5]))


@pytest.mark.parametrize("seed", range(4))
def test_few_independent_calls_of_a_short_trace_are_no_sessions(seed):
    random = np.random.default_rng(seed)
    seconds = np.sort(random.uniform(0, 7 * 86_400, 1500))
    requests = Requests(tuple("abcdefghijkl"), random.integers(0, 12, 1500).astype(np.int32), seconds, np.ones(12))
    assert rates_of(requests).sessions == INDEPENDENT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.CSV", "tenant,requests_per_day\nm01,180\n"),
        ("r.csv", "Tenant, Requests_Per_Day\n m01 , 180\n"),
        ("r.csv", "tenant;requests_per_day\nm01;180\n"),
        ("r.tsv", "tenant\trequests_per_day\nm01\t180\n"),
    ],
)
def test_a_table_of_rates_may_be_written_as_a_trace_may(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert is_rates_file(str(file))
    rates = read_rates(str(file))
    assert rates.tenants == ("m01",)
    assert rates.requests_per_day.tolist() == [180]


def test_a_table_in_utf_16_is_named(tmp_path):
    file = tmp_path / "r.csv"
    file.write_text("tenant,requests_per_day\nm01,180\n", encoding="utf-16")
    assert is_rates_file(str(file))
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_rates(str(file))
