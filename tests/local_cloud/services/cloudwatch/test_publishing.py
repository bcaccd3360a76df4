"""What instances did, as CloudWatch shows it: namespaces, dimensions, units, statistics."""

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import NOON, enter, metrics_at_noon

from local_cloud.core.clock import clock
from local_cloud.services.cloudwatch import alarm_evaluation, metric_alarms, store
from local_cloud.services.sagemaker import endpoint_states, metrics, observations
from local_cloud.services.sagemaker.endpoint import Change, Endpoint
from local_cloud.services.sagemaker.endpoint import Variant as EndpointVariant
from local_cloud.services.sagemaker.traffic_shift import Step

BOTH = {"EndpointName": "tail", "VariantName": "AllTraffic"}


@pytest.fixture
def cloudwatch() -> Iterator[Any]:
    with metrics_at_noon() as client:
        variants = [EndpointVariant("AllTraffic", "ml.m5.large", 2, 1.0)]
        endpoint_states.endpoints["tail"] = Endpoint("tail", "old", NOON, NOON, "InService", variants)
        yield client


def observe(metric: str, *values: float, config: str = "old") -> None:
    for value in values:
        observations.record("tail", "AllTraffic", config, metric, value)


def read(client: Any, metric: str, *wanted: str, namespace: str = "AWS/SageMaker", **dimensions: str) -> Any:
    """The datapoints of the day by GetMetricStatistics, a minute each, in order."""
    basic = [name for name in wanted if not name.startswith("p")]
    extended = [name for name in wanted if name.startswith("p")]
    answer = client.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in (dimensions or BOTH).items()],
        StartTime=datetime.fromtimestamp(NOON - 600, UTC),
        EndTime=datetime.fromtimestamp(NOON + 80_000, UTC),
        Period=60,
        **({"Statistics": basic} if basic else {}),
        **({"ExtendedStatistics": extended} if extended else {}),
    )
    return answer["Datapoints"]


def test_every_request_counts_and_each_flag_is_a_ratio(cloudwatch: Any) -> None:
    observe("Invocations", *[1] * 10)
    observe("InvocationsPerInstance", *[0.5] * 10)
    observe("ModelCacheHit", *[1] * 9, 0)
    observe("Invocation5XXErrors", *[0] * 8, 1, 1)
    metrics.publish()

    [calls] = read(cloudwatch, "Invocations", "Sum", "SampleCount")
    [by_instance] = read(cloudwatch, "InvocationsPerInstance", "Sum")
    [hits] = read(cloudwatch, "ModelCacheHit", "Average", "Sum", "SampleCount")
    [errors] = read(cloudwatch, "Invocation5XXErrors", "Average", "Sum")

    assert (calls["Sum"], calls["SampleCount"], by_instance["Sum"]) == (10, 10, 5)
    assert (hits["Average"], hits["Sum"], hits["SampleCount"]) == (0.9, 9, 10)
    assert (errors["Average"], errors["Sum"], errors["Unit"]) == (0.2, 2, "None")
    assert read(cloudwatch, "Invocations", "Sum", EndpointName="tail") == []  # the two dimensions go together


def test_model_latency_has_percentiles_and_a_load_wait_has_none(cloudwatch: Any) -> None:
    latencies = [float(value) for value in range(1000, 3000, 10)]
    observe("ModelLatency", *latencies)
    observe("ModelLoadingWaitTime", *latencies)
    metrics.publish()

    [latency] = read(cloudwatch, "ModelLatency", "Average", "Maximum", "Minimum", "SampleCount", "p50", "p99")
    [wait] = read(cloudwatch, "ModelLoadingWaitTime", "Maximum", "p99")

    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    assert latency["Unit"] == wait["Unit"] == "Microseconds"
    assert (latency["Average"], latency["Minimum"], latency["Maximum"]) == (statistics.mean(latencies), 1000, 2990)
    assert latency["ExtendedStatistics"]["p50"] == pytest.approx(cuts[49], rel=0.005)
    assert latency["ExtendedStatistics"]["p99"] == pytest.approx(cuts[98], rel=0.005)
    assert wait["Maximum"] == 2990
    assert "ExtendedStatistics" not in wait


values_of_a_minute = st.lists(st.integers(1, 60_000_000), min_size=1, max_size=200)
percents = st.floats(0, 100)


@given(values_of_a_minute, percents)
def test_a_percentile_is_off_by_half_a_percent_at_most(values: list[int], percent: float) -> None:
    exact = store.percentile([(float(value), 1.0) for value in values], percent)
    rounded = [(float(format(value, ".3g")), 1.0) for value in values]

    assert store.percentile(rounded, percent) == pytest.approx(exact, rel=0.005)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.integers(1, 5)), min_size=1), percents)
def test_percentiles_follow_the_emulator(samples: list[tuple[float, float]], percent: float) -> None:
    from ministack.services import cloudwatch as emulated

    assert store.percentile(samples, percent) == pytest.approx(emulated._percentile(samples, percent))


def test_values_of_a_minute_add_up_over_its_slots(cloudwatch: Any) -> None:
    for second in range(0, 120, 7):
        clock.move_to(NOON + second)
        observe("Invocations", 1)
        observe("ModelLatency", 1000 + second)
        metrics.publish()

    calls = read(cloudwatch, "Invocations", "Sum")
    latencies = read(cloudwatch, "ModelLatency", "Maximum", "SampleCount", "p100")

    assert [point["Sum"] for point in calls] == [9, 9]
    assert [point["Maximum"] for point in latencies] == [1056, 1119]
    assert [point["ExtendedStatistics"]["p100"] for point in latencies] == [1060, 1120]


def test_gauges_once_a_minute_over_the_instances(cloudwatch: Any) -> None:
    metrics.gauges = lambda: [
        (
            "tail",
            "AllTraffic",
            "old",
            f"i-{number}",
            "",
            {"LoadedModelCount": loaded, "CPUUtilization": 130},
        )
        for number, loaded in enumerate((30.0, 40.0))
    ]
    for second in (30, 59, 60, 61, 119, 120):
        clock.move_to(NOON + second)
        metrics.publish()

    loaded = read(cloudwatch, "LoadedModelCount", "Average", "Sum", "Maximum", namespace="/aws/sagemaker/Endpoints")
    cpu = read(cloudwatch, "CPUUtilization", "Average", namespace="/aws/sagemaker/Endpoints")

    assert [(p["Average"], p["Sum"], p["Maximum"], p["Unit"]) for p in loaded] == [(35, 70, 40, "None")] * 2
    assert [(point["Average"], point["Unit"]) for point in cpu] == [(130, "Percent")] * 2
    assert read(cloudwatch, "LoadedModelCount", "Sum") == []


def test_the_new_fleet_of_an_update_is_told_apart_while_it_lasts(cloudwatch: Any) -> None:
    endpoint = endpoint_states.endpoints["tail"]
    endpoint.status = "Updating"
    endpoint.change = Change("new", endpoint.variants, (Step(NOON + 600, 0),), NOON, generation=2)
    observe("Invocations", 1, 1, 1)
    observe("Invocations", 1, config="new")
    metrics.publish()
    endpoint.config_name, endpoint.change, endpoint.status = "new", None, "InService"
    observe("Invocations", 1, config="new")
    metrics.publish()

    [everything] = read(cloudwatch, "Invocations", "Sum")
    [new] = read(cloudwatch, "Invocations", "Sum", **BOTH, EndpointConfigName="new")

    assert (everything["Sum"], new["Sum"]) == (5, 1)
    assert read(cloudwatch, "Invocations", "Sum", **BOTH, EndpointConfigName="old") == []


def test_traffic_that_stops_leaves_zeros_and_none_at_all_leaves_nothing(cloudwatch: Any) -> None:
    clock.advance(120)
    metrics.publish()
    before = read(cloudwatch, "Invocations", "Sum")
    observe("Invocations", 1, 1)
    observe("ModelCacheHit", 1, 1)
    clock.advance(60 * 4)
    metrics.publish()

    assert before == []
    assert [point["Sum"] for point in read(cloudwatch, "Invocations", "Sum")] == [2, 0, 0, 0]
    assert [point["Sum"] for point in read(cloudwatch, "InvocationsPerInstance", "Sum")] == [0, 0, 0]
    assert len(read(cloudwatch, "ModelCacheHit", "Sum")) == 1

    del endpoint_states.endpoints["tail"]
    clock.advance(600)
    metrics.publish()
    assert len(read(cloudwatch, "Invocations", "Sum")) == 4


def test_a_jump_of_a_day_is_made_up_for_within_reason(cloudwatch: Any) -> None:
    observe("Invocations", 1)
    clock.advance(86_400)
    metrics.publish()

    zeros = read(cloudwatch, "InvocationsPerInstance", "Sum")
    assert {point["Sum"] for point in zeros} == {0}
    assert len(store.between(_key("InvocationsPerInstance"), NOON)) == 180


@pytest.mark.parametrize("offset", [0.0, 0.4, 3.3, 9.9])
def test_an_alarm_counts_whole_minutes_whenever_it_looks(cloudwatch: Any, offset: float) -> None:
    alarm = metric_alarms.put(
        "rate",
        {
            "Namespace": "AWS/SageMaker",
            "MetricName": "Invocations",
            "Dimensions": [{"Name": name, "Value": value} for name, value in BOTH.items()],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanThreshold",
        },
    )
    for tenth in range(2400):
        clock.move_to(NOON + tenth / 10)
        observe("Invocations", 1)
    clock.move_to(NOON + 200 + offset)
    metrics.publish()

    assert alarm_evaluation.datapoints(alarm) == [600, 600, 600]


def test_old_slots_become_minutes_and_every_statistic_stays(cloudwatch: Any) -> None:
    for second in range(0, 180, 3):
        clock.move_to(NOON + second)
        observe("ModelLatency", 1000 + second, 2000 - second)
        metrics.publish()
    wanted = ("Sum", "Average", "Minimum", "Maximum", "SampleCount", "p10", "p99")
    before, fine = read(cloudwatch, "ModelLatency", *wanted), len(store.between(_key("ModelLatency"), NOON))

    clock.advance(store.FINE_SECONDS + 300)
    store.tidy()

    assert read(cloudwatch, "ModelLatency", *wanted) == before
    assert (fine, len(store.between(_key("ModelLatency"), NOON))) == (18, 3)
    clock.advance(timedelta(days=15).total_seconds())
    store.tidy()
    assert store.between(_key("ModelLatency"), NOON) == []


def test_datapoints_of_clients_keep_their_order_and_are_not_merged(cloudwatch: Any) -> None:
    for seconds in (50, 10, 30):
        moment = datetime.fromtimestamp(NOON + seconds, UTC)
        datum = {"MetricName": "Late", "Timestamp": moment, "Value": seconds}
        cloudwatch.put_metric_data(Namespace="Own", MetricData=[datum])

    enter()
    points = store.between(store.key_of("Own", "Late", []), NOON)
    assert [point["Value"] for point in points] == [10, 30, 50]


def _key(metric: str) -> store.Key:
    enter()
    return store.key_of("AWS/SageMaker", metric, [{"Name": name, "Value": value} for name, value in BOTH.items()])
