"""CloudWatch metric alarms on our clock: dimensions, M of N periods, missing data, metric math.

ministack's own evaluation ignores dimensions, periods, DatapointsToAlarm and TreatMissingData.
"""

import operator
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.services.cloudwatch import metric_math, store
from local_cloud.services.cloudwatch import periods as metric_periods
from local_cloud.services.cloudwatch.metric_functions import Series

# A state forced by SetAlarmState holds until the alarm's next evaluation, which AWS makes once a minute.
FORCED_STATE_SECONDS = 60.0

# How late SageMaker's metrics arrive. 0: a request counts at once, and alarms are evaluated all the time. Above 0: as
# on AWS, alarms are evaluated once a minute, at the whole minutes whose metrics have arrived.
metric_delay_seconds = 0.0
_SAGEMAKER = ("AWS/SageMaker", "/aws/sagemaker/Endpoints")

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def state_of(alarm_name: str) -> str | None:
    """The state of a metric or composite alarm as of now; None when there is no such alarm."""
    if (alarm := cloudwatch._alarms.get(alarm_name)) is not None:
        evaluate(alarm)
        return str(alarm["StateValue"])
    composite = cloudwatch._composite_alarms.get(alarm_name)
    if composite is None:
        return None
    for child in cloudwatch._composite_children(composite):
        state_of(child)
    return str(composite["StateValue"])


def evaluate_all() -> None:
    """Evaluate every metric alarm of the current account and region."""
    for alarm in cloudwatch._alarms.values():
        evaluate(alarm)


def evaluate(alarm: dict[str, Any]) -> None:
    """Set one metric alarm to the state that its data requires."""
    if clock.now() < alarm.get("_forced_until", 0.0) or _too_few_samples(alarm):
        return
    values = datapoints(alarm)
    state = _state(alarm, values)
    if state in (None, alarm["StateValue"]):
        return
    reason = f"Threshold {alarm['Threshold']} {alarm['ComparisonOperator']}; datapoints, newest first: {values}"
    set_state(alarm, str(state), reason)


def set_state(alarm: dict[str, Any], state: str, reason: str) -> None:
    previous = alarm["StateValue"]
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(clock.now()))
    event_log.record("AlarmState", alarm["AlarmName"], state=state)
    cloudwatch._record_history(alarm["AlarmName"], previous, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, previous, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def datapoints(alarm: dict[str, Any]) -> Series:
    """One value per evaluation period, newest first.

    Periods end now (AWS aligns them to the minute), unless `metric_delay_seconds` is set. What SageMaker publishes
    counts once its slot is over, so that a period holds whole slots.
    """
    periods = int(alarm["EvaluationPeriods"])
    if not alarm.get("Metrics"):
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
        return _series(alarm, int(alarm["Period"]), statistic, periods)
    returned = next(query["Id"] for query in alarm["Metrics"] if query.get("ReturnData", True))
    stats = {query["Id"]: stat for query in alarm["Metrics"] if (stat := query.get("MetricStat"))}
    series = {id: _series(stat["Metric"], int(stat["Period"]), stat["Stat"], periods) for id, stat in stats.items()}
    expressions = {query["Id"]: query["Expression"] for query in alarm["Metrics"] if "Expression" in query}
    period = min((int(stat["Period"]) for stat in stats.values()), default=60)
    return metric_math.evaluate_all(expressions, series, periods, period)[returned]


def _too_few_samples(alarm: dict[str, Any]) -> bool:
    """Whether a percentile alarm that ignores small samples has one. Then it keeps its state.

    We read "during the evaluation period" as all of its periods together.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html
    """
    if alarm.get("EvaluateLowSampleCountPercentile") != "ignore" or not alarm.get("ExtendedStatistic", "").startswith(
        "p"
    ):
        return False
    rank = float(alarm["ExtendedStatistic"][1:]) / 100
    needed = 10 / (1 - rank) if 0.5 <= rank < 1 else 10 / rank if 0 < rank < 0.5 else 0
    counts = _series(alarm, int(alarm["Period"]), "SampleCount", int(alarm["EvaluationPeriods"]))
    return 0 < sum(count or 0 for count in counts) < round(needed, 6)


def _series(metric: dict[str, Any], period: int, statistic: str, periods: int) -> Series:
    key = store.key_of(metric["Namespace"], metric["MetricName"], metric.get("Dimensions") or [])
    now = _end_of_newest_period(metric["Namespace"], period)
    oldest = now - periods * period - store.MINUTE_SECONDS - store.SLOT_SECONDS
    inside: list[list[store.Point]] = [[] for _ in range(periods)]
    for point in store.between(key, oldest):
        age = store.age(point, now)
        if 0 <= age < periods * period:
            inside[int(age // period)].append(point)
    return [metric_periods.statistic_of(points, statistic) for points in inside]


def _end_of_newest_period(namespace: str, period: int) -> float:
    """Up to which moment an alarm sees metrics of this namespace; whole periods if SageMaker's metrics are late."""
    now = clock.now()
    if not metric_delay_seconds or namespace not in _SAGEMAKER:
        return now
    evaluated_at = now // store.MINUTE_SECONDS * store.MINUTE_SECONDS
    return (evaluated_at - metric_delay_seconds) // period * period


def _state(alarm: dict[str, Any], values: Series) -> str | None:
    """ALARM, OK, INSUFFICIENT_DATA, or None for no change."""
    # CloudWatch's guide, "Configuring how CloudWatch alarms treat missing data".
    treatment = alarm.get("TreatMissingData") or "missing"
    compare, threshold = _COMPARE[alarm["ComparisonOperator"]], float(alarm["Threshold"])
    if all(value is None for value in values) and treatment in ("missing", "ignore"):
        return "INSUFFICIENT_DATA" if treatment == "missing" else None
    breaching = sum(treatment == "breaching" if value is None else compare(value, threshold) for value in values)
    needed = int(alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"])
    if breaching >= needed:
        return "ALARM"
    if alarm["StateValue"] == "ALARM" and treatment in ("missing", "ignore"):
        present = sum(value is not None for value in values)
        if present < needed:
            return None  # too little data to say it recovered
    return "OK"
