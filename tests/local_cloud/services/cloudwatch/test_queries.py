"""GetMetricData and GetMetricStatistics of the local emulator: metric math, percentiles, order, pages, refusals."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud.testing.account import Account, error_of

# Far ahead of the clock: what is older than two weeks is forgotten.
START = datetime(2099, 1, 1, 8, tzinfo=UTC)


@pytest.fixture
def measured(account: Account) -> Account:
    """Five minutes of A = 10, 20, 30, 40, 50 and of B = 2, 4, nothing, 8, 0, each on one dimension."""
    values = {"A": (10, 20, 30, 40, 50), "B": (2, 4, None, 8, 0)}
    for name, series in values.items():
        put(account, name, series, "x")
        put(account, name, [1000] * 5, "other")
    return account


def put(account: Account, name: str, series: Any, dimension: str) -> None:
    account.client("cloudwatch").put_metric_data(
        Namespace="Test",
        MetricData=[
            {
                "MetricName": name,
                "Timestamp": START + timedelta(minutes=minute),
                "Value": value,
                "Dimensions": [{"Name": "D", "Value": dimension}],
            }
            for minute, value in enumerate(series)
            if value is not None
        ],
    )


def stat(name: str, statistic: str = "Sum", period: int = 60, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": "Test", "MetricName": name, "Dimensions": [{"Name": "D", "Value": "x"}]}
    return {"Id": name.lower(), "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}, **more}


def math(expression: str, id: str = "e") -> dict[str, Any]:
    return {"Id": id, "Expression": expression}


def query(*queries: dict[str, Any], minutes: int = 5, **more: Any) -> dict[str, Any]:
    end = START + timedelta(minutes=minutes)
    return {"MetricDataQueries": list(queries), "StartTime": START, "EndTime": end, **more}


def get(account: Account, *queries: dict[str, Any], **more: Any) -> dict[str, list[float]]:
    answer = account.client("cloudwatch").get_metric_data(**query(*queries, **more))
    return {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("a / b", [5, 5, 5]),  # a missing operand and a division by zero leave a gap
        ("100 * b / a", [20, 20, 20, 0]),
        ("IF(a >= 30, a, 0)", [0, 0, 30, 40, 50]),
        ("FILL(b, 7)", [2, 4, 7, 8, 0]),
        ("FILL(b, REPEAT)", [2, 4, 4, 8, 0]),
        ("SUM([a, b])", [12, 24, 30, 48, 50]),
        ("MAX([a, b])", [10, 20, 30, 40, 50]),
        ("a - AVG(a)", [-20, -10, 0, 10, 20]),
        ("SUM(b)", [14] * 5),
        ("RATE(a) * PERIOD(a)", [10, 10, 10, 10]),
        ("DIFF(b)", [2, 4, -8]),
        ("CEIL(a / 15) + FLOOR(a / 15)", [1, 3, 4, 5, 7]),
        ("a > 20 AND b > 0", [0, 0, 1, 0]),
    ],
)
def test_metric_math_of_a_query(measured: Account, expression: str, values: list[float]) -> None:
    series = get(measured, math(expression), stat("A", ReturnData=False), stat("B", ReturnData=False))

    assert list(series) == ["e"]
    assert series["e"][::-1] == pytest.approx(values)


def test_expressions_name_each_other_in_any_order(measured: Account) -> None:
    series = get(measured, math("f * 2"), math("a + 1", "f"), stat("A"))

    assert series == {"e": [102, 82, 62, 42, 22], "f": [51, 41, 31, 21, 11], "a": [50, 40, 30, 20, 10]}


def test_newest_first_unless_told_otherwise_and_each_query_has_its_period(measured: Account) -> None:
    answer = measured.client("cloudwatch").get_metric_data(
        **query(stat("A"), stat("B", "Maximum", 300, Label="most"), ScanBy="TimestampAscending")
    )

    a, b = answer["MetricDataResults"]
    assert a["Values"] == [10, 20, 30, 40, 50]
    assert a["Timestamps"] == [START + timedelta(minutes=minute) for minute in range(5)]
    assert (b["Label"], b["Values"], b["Timestamps"], b["StatusCode"]) == ("most", [8], [START], "Complete")


def test_pages_continue_where_they_ended(measured: Account) -> None:
    paginator = measured.client("cloudwatch").get_paginator("get_metric_data")
    pages = list(paginator.paginate(**query(stat("A"), stat("B")), PaginationConfig={"PageSize": 3}))

    shown = [[(r["Id"], r["Values"], r["StatusCode"]) for r in page["MetricDataResults"]] for page in pages]
    assert shown == [
        [("a", [50, 40, 30], "PartialData")],
        [("a", [20, 10], "Complete"), ("b", [0], "PartialData")],
        [("b", [8, 4, 2], "Complete")],
    ]


def test_a_metric_without_dimensions_is_another_metric(measured: Account) -> None:
    bare = {"Namespace": "Test", "MetricName": "A"}
    data = get(measured, {"Id": "bare", "MetricStat": {"Metric": bare, "Period": 60, "Stat": "Sum"}})
    statistics = measured.client("cloudwatch").get_metric_statistics(
        **bare, StartTime=START, EndTime=START + timedelta(hours=1), Period=60, Statistics=["Sum"]
    )

    assert data == {"bare": []}
    assert statistics["Datapoints"] == []


def test_values_and_counts_have_every_statistic(account: Account) -> None:
    account.client("cloudwatch").put_metric_data(
        Namespace="Test",
        MetricData=[{"MetricName": "A", "Timestamp": START, "Values": [1, 2, 100], "Counts": [50, 49, 1]}],
    )
    request = {"Namespace": "Test", "MetricName": "A", "Period": 60}
    [point] = account.client("cloudwatch").get_metric_statistics(
        **request,
        StartTime=START,
        EndTime=START + timedelta(minutes=1),
        Statistics=["Sum", "Average", "SampleCount", "Maximum", "Minimum"],
        ExtendedStatistics=["p50", "p99", "p100"],
    )["Datapoints"]

    assert (point["Sum"], point["Average"], point["SampleCount"]) == (248, 2.48, 100)
    assert (point["Minimum"], point["Maximum"], point["Unit"]) == (1, 100, "None")
    assert point["ExtendedStatistics"] == {"p50": 1.5, "p99": pytest.approx(2.98), "p100": 100}


@pytest.mark.parametrize(
    ("queries", "told"),
    [
        ([math("ANOMALY_DETECTION_BAND(a, 2)"), stat("A")], "unsupported function"),
        ([math("a + z"), stat("A")], "unknown ids ['z']"),
        ([math("e2 + 1"), math("e + 1", "e2")], "name each other"),
        ([math("MAX(a, b)"), stat("A"), stat("B")], "MAX takes 1 argument(s)"),
        ([math("a + b"), stat("A"), stat("B", period=300)], "of one period, got [60, 300]"),
        ([stat("A", "TM99")], "no statistic 'TM99'"),
        ([{"Id": "e"}], "query e: either MetricStat or Expression"),
        ([{**stat("A"), "Expression": "1"}], "query a: either MetricStat or Expression"),
    ],
)
def test_what_the_local_emulator_cannot_answer_is_an_error(account: Account, queries: Any, told: str) -> None:
    code, message = error_of(account.client("cloudwatch").get_metric_data, **query(*queries))

    assert code == "ValidationError"
    assert told in message


def test_a_time_range_must_have_an_extent(account: Account) -> None:
    code, message = error_of(account.client("cloudwatch").get_metric_data, **query(stat("A"), minutes=0))

    assert (code, "StartTime must be less" in message) == ("ValidationError", True)
