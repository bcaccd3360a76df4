"""Rates from files and from the query that also runs in Athena."""

import csv
import re

import duckdb
import numpy as np
import pytest

from tierfleet.planning.errors import PlanningInputError
from tierfleet.planning.rates import is_rates_file, rates_of, rates_sql, read_rates
from tierfleet.planning.sessions import INDEPENDENT, Sessions
from tierfleet.planning.shapes import varied
from tierfleet.planning.synthesize import synthesize


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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.csv", "tenant,requests_per_day\n", "it has 0 tenants"),
        ("r.csv", "tenant,requests_per_day\na,-1\nb,x\n", "of a is '-1'; .*of b is 'x'; give a number of at least 0"),
        ("r.csv", "tenant,requests_per_day\na,1\na,2\n", "a stands there more than once"),
        ("r.csv", "tenant,requests_per_day\na,0\n", "every rate is 0"),
        ("r.csv", "who,requests_per_day\na,0\n", "no column tenant"),
        ("r.toml", "a = 1\n", r"must hold a table requests_per_day .* \(unknown: a\)"),
        ("r.toml", "a = \n", "r.toml: Invalid value"),
        ("r.json", "[]", "must hold a table requests_per_day"),
        ("r.json", '{"requests_per_day": {"a": 1}, "sessions": {"calls": 0}}', "sessions: a session has 0 calls"),
    ],
)
def test_says_what_is_wrong_with_rates(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(PlanningInputError, match=message):
        read_rates(str(tmp_path / name))


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
    # Every row of a request stands in one period, and every gap has an end but the last of each tenant.
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
    # Trino divides whole numbers to whole numbers, DuckDB to fractions.
    assert all(re.search(r"/ \d+\.\d|seconds / 3600", line) for line in rates_sql().splitlines() if " / " in line)


def test_a_single_instant_has_no_rates(requests):
    from brute_force import requests_of

    with pytest.raises(PlanningInputError, match="all requests have the same time"):
        rates_of(requests_of([0, 1], seconds=[5, 5]))
