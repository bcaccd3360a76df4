"""Alarms on the local emulator's clock: dimensions, periods, missing data, metric math, composite, suppressor."""

from typing import Any

import pytest
from aws_requests import put_alarm, put_composite

from local_cloud.testing.account import Account, error_of


@pytest.fixture
def stopped(account: Account) -> Account:
    """An account with a clock that does not run."""
    account.stop_clock()
    return account


def test_alarm_sees_only_its_own_dimensions(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html"""
    put_alarm(stopped, Dimensions=[{"Name": "EndpointName", "Value": "a"}, {"Name": "VariantName", "Value": "x"}])

    stopped.put_metric("Test", "Errors", 9, EndpointName="b", VariantName="x")
    stopped.put_metric("Test", "Errors", 9, EndpointName="a")
    others = stopped.alarm_state("errors")
    stopped.put_metric("Test", "Errors", 9, EndpointName="a", VariantName="x")

    assert others == "INSUFFICIENT_DATA"
    assert stopped.alarm_state("errors") == "ALARM"


def test_alarm_fires_on_m_of_n_periods_and_recovers(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""
    put_alarm(stopped, EvaluationPeriods=3, DatapointsToAlarm=2)

    states = []
    for value in (9, 1, 9, 1, 1):
        stopped.put_metric("Test", "Errors", value)
        states.append(stopped.alarm_state("errors"))
        stopped.advance(60)

    assert states == ["OK", "OK", "ALARM", "OK", "OK"]


@pytest.mark.parametrize(
    ("treatment", "state"),
    [
        ("missing", "INSUFFICIENT_DATA"),
        ("notBreaching", "OK"),
        ("breaching", "ALARM"),
        ("ignore", "INSUFFICIENT_DATA"),
    ],
)
def test_missing_data_is_treated_as_told(stopped: Account, treatment: str, state: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html"""
    put_alarm(stopped, TreatMissingData=treatment)

    stopped.advance(120)

    assert stopped.alarm_state("errors") == state


def test_ignored_missing_data_keeps_the_state(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html"""
    put_alarm(stopped, TreatMissingData="ignore")
    stopped.put_metric("Test", "Errors", 9)

    stopped.advance(3600)

    assert stopped.alarm_state("errors") == "ALARM"


def hit_ratio(guard: int) -> list[dict[str, Any]]:
    """The expression precedes the metrics that it names, as the CDK renders it."""

    def stat(id: str, statistic: str) -> dict[str, Any]:
        metric = {"Namespace": "AWS/SageMaker", "MetricName": "ModelCacheHit", "Dimensions": []}
        return {
            "Id": id,
            "ReturnData": False,
            "MetricStat": {"Metric": metric, "Period": 300, "Stat": statistic},
        }

    expression = {"Id": "ratio", "Expression": f"IF(n >= {guard}, h / n)", "ReturnData": True}
    return [expression, stat("h", "Sum"), stat("n", "SampleCount")]


def test_metric_math_alarm_with_a_traffic_guard(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html"""
    put_alarm(
        stopped,
        Metrics=hit_ratio(guard=4),
        Threshold=0.85,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="notBreaching",
    )

    states = []
    for hit in (0, 0, 0, 0, 1):
        stopped.put_metric("AWS/SageMaker", "ModelCacheHit", hit)
        states.append(stopped.alarm_state("errors"))
    stopped.advance(301)

    assert states == ["OK", "OK", "OK", "ALARM", "ALARM"]
    assert stopped.alarm_state("errors") == "OK"
    [alarm] = stopped.client("cloudwatch").describe_alarms(AlarmNames=["errors"])["MetricAlarms"]
    assert [m["Id"] for m in alarm["Metrics"]] == ["ratio", "h", "n"]


def test_metric_math_the_local_emulator_cannot_do_is_refused(stopped: Account) -> None:
    """Never a guess: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html"""
    queries = hit_ratio(guard=1)
    queries[0]["Expression"] = "ANOMALY_DETECTION_BAND(h, 2)"

    code, message = error_of(put_alarm, account=stopped, Metrics=queries)

    assert code == "ValidationError"
    assert "unsupported function" in message


def test_forced_state_holds_for_a_minute(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html"""
    put_alarm(stopped, TreatMissingData="notBreaching")
    stopped.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="test")

    stopped.advance(30)
    forced = stopped.alarm_state("errors")
    stopped.advance(31)

    assert forced == "ALARM"
    assert stopped.alarm_state("errors") == "OK"


def test_composite_follows_its_rule_over_real_states(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-combining.html"""
    put_alarm(stopped, "a", MetricName="A", TreatMissingData="notBreaching")
    put_alarm(stopped, "b", MetricName="B", TreatMissingData="notBreaching")
    put_composite(stopped, "ALARM(a) AND NOT ALARM(b)")

    quiet = stopped.alarm_state("any")
    stopped.put_metric("Test", "A", 9)
    one = stopped.alarm_state("any")
    stopped.put_metric("Test", "B", 9)
    both = stopped.alarm_state("any")

    assert (quiet, one, both) == ("OK", "ALARM", "OK")


def test_composite_over_an_absent_alarm_is_refused(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html"""
    code, _ = error_of(put_composite, account=stopped, rule="ALARM(absent)")

    assert code == "ValidationError"


SUPPRESSED = {
    "ActionsSuppressor": "warming",
    "ActionsSuppressorWaitPeriod": 60,
    "ActionsSuppressorExtensionPeriod": 120,
}


def composite_with_suppressor(account: Account) -> None:
    put_alarm(account, "a", MetricName="A", TreatMissingData="ignore")
    put_alarm(account, "warming", MetricName="Warming", TreatMissingData="notBreaching", Threshold=0)
    put_composite(account, "ALARM(a)", **SUPPRESSED)


def fired(account: Account) -> bool:
    entries = account.cloud.admin(f"events?account={account.id}")
    return any(e["action"] == "AlarmActions" and e["resource"] == "any" and e["state"] == "ALARM" for e in entries)


def test_suppressor_in_alarm_holds_the_actions_until_the_extension_is_over(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-suppression.html"""
    composite_with_suppressor(stopped)
    stopped.put_metric("Test", "Warming", 1)
    stopped.put_metric("Test", "A", 9)

    [composite] = stopped.client("cloudwatch").describe_alarms(AlarmNames=["any"], AlarmTypes=["CompositeAlarm"])[
        "CompositeAlarms"
    ]
    during = fired(stopped)
    stopped.advance(61)  # the suppressor leaves ALARM
    left = stopped.alarm_state("warming")
    stopped.advance(118)
    extended = fired(stopped)
    stopped.advance(62)

    assert composite["StateValue"] == "ALARM"
    assert composite["ActionsSuppressor"] == "warming"
    assert composite["ActionsSuppressedBy"] == "Alarm"
    assert left == "OK"
    assert (during, extended, fired(stopped)) == (False, False, True)


def test_actions_wait_for_a_suppressor_that_may_still_come(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-suppression.html"""
    composite_with_suppressor(stopped)
    stopped.put_metric("Test", "A", 9)

    at_once = fired(stopped)
    stopped.advance(61)

    assert (at_once, fired(stopped)) == (False, True)


def test_suppressor_needs_both_periods(stopped: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html"""
    put_alarm(stopped, "a")

    code, message = error_of(put_composite, account=stopped, rule="ALARM(a)", ActionsSuppressor="a")

    assert code == "ValidationError"
    assert "ActionsSuppressorExtensionPeriod, ActionsSuppressorWaitPeriod required" in message
