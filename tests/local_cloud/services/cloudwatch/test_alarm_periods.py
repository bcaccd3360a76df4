"""Alarms change by themselves: on the real clock by the ticker, on a manual one with each advance."""

from datetime import UTC, datetime
from typing import Any

from aws_requests import put_alarm, put_composite

from local_cloud.testing.account import Account

DIMENSIONS = [{"Name": "EndpointName", "Value": "tail"}, {"Name": "VariantName", "Value": "AllTraffic"}]


def put_latencies(account: Account, *milliseconds: float, **more: Any) -> None:
    values = [1000 * value for value in milliseconds]
    datum = {"MetricName": "ModelLatency", "Dimensions": DIMENSIONS, "Values": values, **more}
    account.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])


def put_latency_alarm(account: Account, **more: Any) -> None:
    account.client("cloudwatch").put_metric_alarm(
        AlarmName="slow",
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=DIMENSIONS,
        ExtendedStatistic="p99",
        Period=60,
        EvaluationPeriods=5,
        DatapointsToAlarm=3,
        Threshold=50_000,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        **more,
    )


def test_a_percentile_alarm_turns_red_and_green_with_the_minutes(account: Account) -> None:
    account.stop_clock()
    put_latency_alarm(account)
    states = []
    for slow in (0, 2, 2, 2, 0, 0, 0):
        put_latencies(account, 90, 10, Counts=[slow or 0.01, 100 - slow])
        account.advance(60)
        states.append(account.alarm_state("slow"))

    assert states == ["OK", "OK", "OK", "ALARM", "ALARM", "OK", "OK"]


def test_a_percentile_of_too_few_samples_is_ignored_if_so_told(account: Account) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html"""
    account.stop_clock()
    put_latency_alarm(account, EvaluateLowSampleCountPercentile="ignore")
    silent = account.alarm_state("slow")
    states = []
    for count in (300, 300, 300, 99, 1):  # 1,000 are needed for p99
        put_latencies(account, 90, Counts=[count])
        states.append(account.alarm_state("slow"))
        account.advance(60)
    account.advance(600)

    assert (silent, states) == ("OK", ["OK", "OK", "OK", "OK", "ALARM"])
    assert account.alarm_state("slow") == "OK"


def test_the_ticker_turns_alarms_and_their_composite_on_the_real_clock(account: Account) -> None:
    moment = account.cloud.admin("clock", {"mode": "manual"})["now"]
    put_alarm(account, "child", TreatMissingData="notBreaching")
    put_composite(account, "ALARM(child)")
    datum = {"MetricName": "Errors", "Value": 9, "Timestamp": datetime.fromtimestamp(moment - 58, UTC)}
    account.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=[datum])

    red = account.alarm_state("child"), account.alarm_state("any")
    account.cloud.admin("clock", {"mode": "real"})
    account.wait_for(lambda: account.alarm_state("any") == "OK")

    assert red == ("ALARM", "ALARM")
    assert account.alarm_state("child") == "OK"
    history = account.client("cloudwatch").describe_alarm_history(AlarmName="child")["AlarmHistoryItems"]
    assert "from ALARM to OK" in history[0]["HistorySummary"] or "from ALARM to OK" in history[-1]["HistorySummary"]


def test_a_red_latency_alarm_takes_an_update_back(account: Account) -> None:
    from aws_requests import create_config, create_model

    sagemaker = account.client("sagemaker")
    create_model(account)
    create_config(account, "old", "tail")
    create_config(account, "new", "tail")
    sagemaker.create_endpoint(EndpointName="tail", EndpointConfigName="old")
    sagemaker.describe_endpoint(EndpointName="tail")
    put_latency_alarm(account)
    account.stop_clock()
    sagemaker.update_endpoint(
        EndpointName="tail",
        EndpointConfigName="new",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                    "WaitIntervalInSeconds": 600,
                }
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "slow"}]},
        },
    )
    statuses = []
    for _ in range(5):
        put_latencies(account, 90)
        # Looked at before the clock moves: the ticker may look, too.
        statuses.append(sagemaker.describe_endpoint(EndpointName="tail")["EndpointStatus"])
        account.advance(60)
    account.advance(1)
    ended = sagemaker.describe_endpoint(EndpointName="tail")

    assert statuses == ["Updating", "Updating", "RollingBack", "InService", "InService"]
    assert (ended["EndpointStatus"], ended["EndpointConfigName"]) == ("InService", "old")
    assert "slow" in ended["FailureReason"]
