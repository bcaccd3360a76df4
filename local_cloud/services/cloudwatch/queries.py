"""GetMetricData with metric math and pages, GetMetricStatistics: dimensions match as a whole.

ministack's have no expressions and one order only, merge all metrics of a name if a query has no dimensions, and
answer Average for an unknown statistic.
"""

import base64
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch

from local_cloud.core.errors import ServiceError
from local_cloud.services.cloudwatch import metric_math
from local_cloud.services.cloudwatch.metric_functions import Series
from local_cloud.services.cloudwatch.periods import by_period, check_statistic, statistic_of

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_DATAPOINTS = 100_800
MAX_STATISTICS_DATAPOINTS = 1_440

Request = dict[str, Any]


def handle_get_metric_data(params: Any, request: Request, is_cbor: bool, is_json: bool = False) -> Any:
    """GetMetricData on the wire. boto3 speaks CBOR; the old Query protocol stays ministack's."""
    if not (is_cbor or is_json):
        return _ministack_get_metric_data(params, request, is_cbor, is_json)
    return _answer(get_metric_data, request, is_cbor, is_json)


def handle_get_metric_statistics(params: Any, request: Request, is_cbor: bool, is_json: bool = False) -> Any:
    """GetMetricStatistics on the wire, as above."""
    if not (is_cbor or is_json):
        return _ministack_get_metric_statistics(params, request, is_cbor, is_json)
    return _answer(get_metric_statistics, request, is_cbor, is_json)


def get_metric_data(request: Request) -> dict[str, Any]:
    """One result for each query that returns data, newest datapoint first unless told otherwise."""
    start, end = _range(request)
    queries = request["MetricDataQueries"]
    try:
        periods = _periods(queries)
        slots: dict[int, list[float]] = {}
        series: dict[str, Series] = {}
        for period in set(periods.values()):
            slots[period] = _slots(start, end, period)
            alike = [query for query in queries if periods[query["Id"]] == period]
            known = {q["Id"]: _series(q["MetricStat"], slots[period], period) for q in alike if "MetricStat" in q}
            expressions = {query["Id"]: query["Expression"] for query in alike if query.get("Expression")}
            series |= metric_math.evaluate_all(expressions, known, len(slots[period]), period)
    except metric_math.UnsupportedExpressionError as error:
        raise ServiceError("ValidationError", str(error)) from None
    oldest_first = request.get("ScanBy") == "TimestampAscending"
    results = [
        _result(query, slots[periods[query["Id"]]], series[query["Id"]], oldest_first=oldest_first)
        for query in queries
        if query.get("ReturnData", True)
    ]
    return _paged(results, request)


def get_metric_statistics(request: Request) -> dict[str, Any]:
    """One datapoint for each period with data."""
    start, end = _range(request)
    period = int(request["Period"])
    statistics, extended = request.get("Statistics") or [], request.get("ExtendedStatistics") or []
    if not statistics and not extended:
        raise ServiceError(
            "InvalidParameterCombination", "At least one of Statistics or ExtendedStatistics is required"
        )
    for statistic in (*statistics, *extended):
        check_statistic(statistic)
    if (end - start) / period > MAX_STATISTICS_DATAPOINTS:
        raise ServiceError(
            "InvalidParameterCombination",
            f"You have requested up to {(end - start) / period:.0f} datapoints, which exceeds the limit of "
            f"{MAX_STATISTICS_DATAPOINTS}. You may reduce the datapoints requested by increasing Period, or "
            "decreasing the time range.",
        )
    points_by_period = by_period({"Metric": request, "Unit": request.get("Unit")}, start, end, period)
    datapoints = [
        {
            "Timestamp": moment,
            "Unit": points[0]["Unit"],
            **{statistic: statistic_of(points, statistic) for statistic in statistics},
            "ExtendedStatistics": {s: value for s in extended if (value := statistic_of(points, s)) is not None}
            or None,
        }
        for moment, points in sorted(points_by_period.items())
    ]
    return {"Label": request["MetricName"], "Datapoints": datapoints}


def _answer(operation: Callable[[Request], dict[str, Any]], request: Request, is_cbor: bool, is_json: bool) -> Any:
    try:
        answer = operation(request)
    except ServiceError as error:
        return cloudwatch._error(error.code, error.message, error.status, use_json=is_json, use_cbor=is_cbor)
    return cloudwatch._cbor_ok(_with_cbor_timestamps(answer)) if is_cbor else cloudwatch._json_ok(answer)


def _with_cbor_timestamps(answer: dict[str, Any]) -> dict[str, Any]:
    if "Datapoints" in answer:
        return {**answer, "Datapoints": [cloudwatch._cbor_datapoint(point) for point in answer["Datapoints"]]}
    results = [cloudwatch._cbor_metric_data_result(result) for result in answer["MetricDataResults"]]
    return {**answer, "MetricDataResults": results}


def _range(request: Request) -> tuple[float, float]:
    start, end = (cloudwatch._parse_ts(request.get(name)) for name in ("StartTime", "EndTime"))
    if start is None or end is None:
        raise ServiceError("ValidationError", "The parameters StartTime and EndTime are required.")
    if start >= end:
        raise ServiceError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
    return start, end


def _periods(queries: list[Request]) -> dict[str, int]:
    """The period of each query; that of an expression is the common one of its metrics."""
    for query in queries:
        if bool(query.get("MetricStat")) == bool(query.get("Expression")):
            raise ServiceError("ValidationError", f"query {query['Id']}: either MetricStat or Expression is required")
        if query.get("MetricStat") and int(query["MetricStat"]["Period"]) < 1:
            raise ServiceError("ValidationError", f"query {query['Id']}: Period must be at least 1 second")
    periods = {query["Id"]: int(query["MetricStat"]["Period"]) for query in queries if "MetricStat" in query}
    expressions = {query["Id"]: query for query in queries if query.get("Expression")}
    ids = {query["Id"] for query in queries}
    while left := expressions.keys() - periods.keys():
        ready = [id for id in left if metric_math.names_in(expressions[id]["Expression"]) <= periods.keys()]
        if not ready:
            for id in left:
                metric_math.check(expressions[id]["Expression"], ids)
            raise metric_math.UnsupportedExpressionError(f"metric math expressions name each other: {sorted(left)}")
        for id in ready:
            text = expressions[id]["Expression"]
            metric_math.check(text, ids)
            distinct = {periods[name] for name in metric_math.names_in(text)} or {
                int(expressions[id].get("Period") or 60)
            }
            if len(distinct) > 1:
                raise metric_math.UnsupportedExpressionError(
                    "the local emulator evaluates an expression over metrics of one period, got "
                    f"{sorted(distinct)} seconds in {text!r}"
                )
            periods[id] = distinct.pop()
    return periods


def _slots(start: float, end: float, period: int) -> list[float]:
    """The start of every period that overlaps the range, newest first."""
    first = int(start // period)
    last = max(first, int(-(-end // period)) - 1)
    return [float(number * period) for number in range(last, first - 1, -1)]


def _series(stat: Request, slots: list[float], period: int) -> Series:
    check_statistic(stat["Stat"])
    points_by_period = by_period(stat, slots[-1], slots[0] + period, period)
    return [
        statistic_of(points_by_period[moment], stat["Stat"]) if moment in points_by_period else None for moment in slots
    ]


def _result(query: Request, slots: list[float], series: Series, *, oldest_first: bool) -> dict[str, Any]:
    datapoints = [(moment, value) for moment, value in zip(slots, series, strict=True) if value is not None]
    if oldest_first:
        datapoints.reverse()
    metric = query.get("MetricStat", {}).get("Metric", {})
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or metric.get("MetricName") or query["Id"],
        "Timestamps": [moment for moment, _ in datapoints],
        "Values": [value for _, value in datapoints],
        "StatusCode": "Complete",
    }


def _paged(results: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """At most MaxDatapoints of each page; a result that continues on the next one is PartialData."""
    left = int(request.get("MaxDatapoints") or MAX_DATAPOINTS)
    skipped = int(base64.b64decode(request["NextToken"])) if request.get("NextToken") else 0
    shown, passed = [], 0
    for result in results:
        count = len(result["Values"])
        begin = min(max(skipped - passed, 0), count)
        taken = min(count - begin, left)
        part = slice(begin, begin + taken)
        status = "Complete" if begin + taken == count else "PartialData"
        passed, left = passed + count, left - taken
        if taken or (not count and not skipped):
            values = {name: result[name][part] for name in ("Timestamps", "Values")}
            shown.append({**result, **values, "StatusCode": status})
    end = skipped + sum(len(result["Values"]) for result in shown)
    answer: dict[str, Any] = {"MetricDataResults": shown, "Messages": []}
    if end < passed:
        answer["NextToken"] = base64.b64encode(str(end).encode()).decode()
    return answer


_ministack_get_metric_data = cloudwatch._get_metric_data
_ministack_get_metric_statistics = cloudwatch._get_metric_statistics
