"""When an endpoint counts as bad."""

from typing import Any

import pytest
from aws_cdk.assertions import Template
from synthesis import AUDIENCE, TOPIC_ARN, alarm, only, resources, template_of

from constructs_lib.alarms import add_alarm
from constructs_lib.endpoint_alarms import CacheAlarms, EndpointAlarms, instance_alarms, server_errors
from constructs_lib.endpoint_metrics import EndpointMetrics
from local_cloud.testing.fleets import fleet

METRICS = EndpointMetrics("shop--test--tail--all--mme-m5-xlarge", "multi-model")
RUNNING = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:running"
ALARM = "AWS::CloudWatch::Alarm"


def alarms_template(suppressor: str | None = RUNNING, **limits: Any) -> Template:
    config = fleet(tiers={"tail": {"alarms": limits}})
    tier = config.multi_model_tiers["tail"]

    def build(stack: Any) -> None:
        add_alarm(stack, server_errors(METRICS, tier.alarms), AUDIENCE)
        EndpointAlarms(stack, "Alarms", specs=instance_alarms(METRICS, tier), audience=AUDIENCE)
        CacheAlarms(
            stack,
            "Cache",
            metrics=METRICS,
            limits=tier.alarms,
            audience=AUDIENCE,
            warm_up_running_alarm_arn=suppressor,
        )

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return alarms_template()


@pytest.fixture(scope="module")
def changed() -> Template:
    return alarms_template(
        suppressor=None,
        max_5xx_ratio=0.02,
        max_4xx_ratio=0.1,
        max_memory_percent=90,
        max_disk_percent=70,
        min_requests=500,
        min_cache_hit_ratio=0.6,
        max_loading_wait_seconds=1.5,
        max_unloads_per_hour=42,
    )


def expression(properties: Any) -> str:
    [text] = [query["Expression"] for query in properties["Metrics"] if "Expression" in query]
    return str(text)


def test_the_5xx_ratio_counts_each_minute_above_a_fifth_of_the_five_minute_minimum(plain: Template) -> None:
    properties = alarm(plain, section="server-errors")
    assert expression(properties) == "IF(invocations >= 20, errors / invocations, 0)"
    assert (properties["Threshold"], properties["EvaluationPeriods"], properties["DatapointsToAlarm"]) == (0.01, 5, 3)
    assert {query["MetricStat"]["Period"] for query in properties["Metrics"] if "MetricStat" in query} == {60}


def test_the_5xx_alarm_has_a_literal_name(plain: Template) -> None:
    assert alarm(plain, section="server-errors")["AlarmName"] == f"{METRICS.endpoint_name}--server-errors"


def test_the_4xx_ratio_counts_over_five_minutes_above_the_minimum(plain: Template) -> None:
    properties = alarm(plain, section="client-errors")
    assert expression(properties) == "IF(invocations >= 100, errors / invocations, 0)"
    assert properties["Threshold"] == 0.05
    assert {query["MetricStat"]["Period"] for query in properties["Metrics"] if "MetricStat" in query} == {300}


def test_no_data_for_memory_and_disk_is_no_data(plain: Template) -> None:
    for section, metric, threshold in (("memory", "MemoryUtilization", 95), ("disk", "DiskUtilization", 85)):
        properties = alarm(plain, section=section)
        assert (properties["MetricName"], properties["Namespace"]) == (metric, "/aws/sagemaker/Endpoints")
        assert (properties["Threshold"], properties["TreatMissingData"]) == (threshold, "missing")


def test_scaling_counts_as_blocked_after_15_minutes_20_percent_above_its_target(plain: Template) -> None:
    properties = alarm(plain, section="above-scaling-target")
    assert (properties["MetricName"], properties["Statistic"]) == ("InvocationsPerInstance", "Sum")
    assert properties["Threshold"] == pytest.approx(1.2 * 50 * 0.5 * 60)
    assert properties["Period"] * properties["DatapointsToAlarm"] == 15 * 60


def test_the_hit_ratio_counts_hits_by_sum_and_lookups_by_sample_count(plain: Template) -> None:
    properties = alarm(plain, contains="find their model in memory")
    assert expression(properties) == "IF(lookups >= 100, hits / lookups, 1)"
    statistics = {query["Id"]: query["MetricStat"]["Stat"] for query in properties["Metrics"] if "MetricStat" in query}
    assert statistics == {"hits": "Sum", "lookups": "SampleCount"}
    assert (properties["ComparisonOperator"], properties["Threshold"]) == ("LessThanThreshold", 0.85)


def test_the_loading_wait_is_seconds_in_the_file_and_microseconds_in_the_alarm(plain: Template) -> None:
    properties = alarm(plain, contains="waits more than 3 s")
    assert (properties["MetricName"], properties["Statistic"]) == ("ModelLoadingWaitTime", "Maximum")
    assert properties["Threshold"] == 3_000_000


def test_churn_is_counted_over_an_hour(plain: Template) -> None:
    properties = alarm(plain, contains="the cache thrashes")
    assert (properties["MetricName"], properties["Statistic"]) == ("ModelUnloadingTime", "SampleCount")
    assert (properties["Period"], properties["Threshold"]) == (3600, 500)


def test_the_limits_of_the_tier_are_the_thresholds(changed: Template) -> None:
    thresholds = {
        "server-errors": 0.02,
        "client-errors": 0.1,
        "memory": 90,
        "disk": 70,
    }
    limits = {section: alarm(changed, section=section)["Threshold"] for section in thresholds}
    assert limits == thresholds
    assert alarm(changed, contains="find their model in memory")["Threshold"] == 0.6
    assert alarm(changed, contains="waits more than 1.5 s")["Threshold"] == 1_500_000
    assert alarm(changed, contains="the cache thrashes")["Threshold"] == 42


def test_the_minimum_of_requests_guards_every_ratio(changed: Template) -> None:
    assert expression(alarm(changed, section="server-errors")).startswith("IF(invocations >= 100,")
    assert expression(alarm(changed, section="client-errors")).startswith("IF(invocations >= 500,")
    assert expression(alarm(changed, contains="find their model in memory")).startswith("IF(lookups >= 500,")


def test_metric_math_never_breaches_without_data(plain: Template) -> None:
    math = [r["Properties"] for r in resources(plain, ALARM).values() if "Metrics" in r["Properties"]]
    assert len(math) == 3
    assert {properties["TreatMissingData"] for properties in math} == {"notBreaching"}


def test_cache_alarms_notify_no_one_by_themselves(plain: Template) -> None:
    cache = [a["Properties"] for a in resources(plain, ALARM).values() if "#cache-degraded" in str(a)]
    assert len(cache) == 3
    assert all(properties["AlarmActions"] == [] for properties in cache)


def test_every_other_alarm_tells_the_topic_when_it_starts_and_when_it_ends(plain: Template) -> None:
    others = [a["Properties"] for a in resources(plain, ALARM).values() if "#cache-degraded" not in str(a)]
    assert len(others) == 5
    for properties in others:
        assert properties["AlarmActions"] == properties["OKActions"] == [TOPIC_ARN]


def test_one_composite_alarm_speaks_for_the_three_cache_alarms(plain: Template) -> None:
    composite = only(plain, "AWS::CloudWatch::CompositeAlarm")
    cache = {name for name, resource in resources(plain, ALARM).items() if "#cache-degraded" in str(resource)}
    parts = composite["AlarmRule"]["Fn::Join"][1]
    assert {part["Fn::GetAtt"][0] for part in parts if isinstance(part, dict)} == cache
    text = "".join(part if isinstance(part, str) else "X" for part in parts)
    assert text == 'ALARM("X") OR ALARM("X") OR ALARM("X")'
    assert composite["AlarmActions"] == [TOPIC_ARN]


def test_a_running_warm_up_silences_the_composite_alarm(plain: Template) -> None:
    composite = only(plain, "AWS::CloudWatch::CompositeAlarm")
    assert composite["ActionsSuppressor"] == RUNNING
    assert (composite["ActionsSuppressorWaitPeriod"], composite["ActionsSuppressorExtensionPeriod"]) == (60, 900)


def test_without_a_warm_up_nothing_silences_the_composite_alarm(changed: Template) -> None:
    composite = only(changed, "AWS::CloudWatch::CompositeAlarm")
    assert not {key for key in composite if key.startswith("ActionsSuppressor")}


def test_every_alarm_says_what_to_do_and_what_missing_data_means(plain: Template) -> None:
    alarms = resources(plain, ALARM)
    assert len(alarms) == 8
    for resource in alarms.values():
        assert " What to do: https://example.com/runbook.md#" in resource["Properties"]["AlarmDescription"]
        assert resource["Properties"]["TreatMissingData"] in {"notBreaching", "missing"}
    composite = only(plain, "AWS::CloudWatch::CompositeAlarm")
    assert composite["AlarmDescription"].endswith("https://example.com/runbook.md#cache-degraded")
