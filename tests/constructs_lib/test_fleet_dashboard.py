"""One page that says how the fleet is."""

import json
from typing import Any

import pytest
from aws_cdk.assertions import Template
from synthesis import only, template_of

from constructs_lib.fleet_dashboard import FleetDashboard
from local_cloud.testing.fleets import DELETE, fleet

TAIL = "shop--test--tail--all--mme-m5-xlarge"
CACHE_ALARM = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:cache"


def dashboard_template(**changes: Any) -> Template:
    config = fleet(**changes)
    return template_of(
        config, lambda stack: FleetDashboard(stack, "Dashboard", config=config, cache_alarm_arns=[CACHE_ALARM])
    )


def widgets(template: Template) -> list[dict[str, Any]]:
    widgets: list[dict[str, Any]] = json.loads(only(template, "AWS::CloudWatch::Dashboard")["DashboardBody"])["widgets"]
    return widgets


def titled(template: Template, start: str) -> dict[str, Any]:
    [widget] = [w["properties"] for w in widgets(template) if w["properties"].get("title", "").startswith(start)]
    return dict(widget)


@pytest.fixture(scope="module")
def plain() -> Template:
    return dashboard_template()


@pytest.fixture(scope="module")
def crowded() -> Template:
    tenants = {f"w{n}": {"model": f"w{n}/1.tar.gz"} for n in range(150)}
    return dashboard_template(tiers={"whale": {"tenants": tenants}})


def test_the_dashboard_has_the_fleets_name(plain: Template) -> None:
    assert only(plain, "AWS::CloudWatch::Dashboard")["DashboardName"] == "shop--test"


@pytest.mark.parametrize(
    "title",
    [
        "Cache hit ratio",
        "Longest wait for a model (seconds)",
        "Models loaded, fetched from S3, unloaded (per hour)",
        "Models in memory",
        "Memory and disk of the fullest instance (%)",
        "Calls per minute and instance",
        "GiB of models read from S3 (per hour)",
        "ModelLatency p99 (milliseconds)",
        "Warm-up and routes",
    ],
)
def test_it_shows(plain: Template, title: str) -> None:
    assert titled(plain, title)["metrics"]


def test_it_lists_the_cache_alarm_and_the_literally_named_alarms(plain: Template) -> None:
    prefix = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:"
    whale = "shop--test--whale--w1--dedicated-m5-large"
    assert titled(plain, "Alarms")["alarms"] == [
        CACHE_ALARM,
        f"{prefix}{TAIL}--server-errors",
        f"{prefix}{whale}--model-latency",
        f"{prefix}{whale}--server-errors",
    ]


def test_microseconds_are_shown_as_seconds_and_milliseconds(plain: Template) -> None:
    waits = str(titled(plain, "Longest wait")["metrics"])
    latencies = str(titled(plain, "ModelLatency p99")["metrics"])
    assert "wait / 1000000" in waits
    assert "m0 / 1000'" in latencies


def test_the_limits_of_the_alarms_are_drawn(plain: Template) -> None:
    drawn = {
        title: titled(plain, title)["annotations"]["horizontal"][0]["value"]
        for title in ("Cache hit ratio", "Longest wait", "Calls per minute and instance", "ModelLatency p99")
    }
    assert drawn == {
        "Cache hit ratio": 0.85,
        "Longest wait": 3.0,
        "Calls per minute and instance": 1500,
        "ModelLatency p99": 50,
    }


def test_no_widget_exceeds_500_metrics_or_100_alarms_at_150_whales(crowded: Template) -> None:
    for widget in widgets(crowded):
        assert len(widget["properties"].get("metrics", [])) <= 500
        assert len(widget["properties"].get("alarms", [])) <= 100
    titles = [w["properties"].get("title") for w in widgets(crowded)]
    assert titles.count("ModelLatency p99 (milliseconds)") == 2


def test_every_id_of_a_widget_is_used_once(crowded: Template) -> None:
    for widget in widgets(crowded):
        ids = [row[-1]["id"] for row in widget["properties"].get("metrics", []) if "id" in row[-1]]
        assert len(ids) == len(set(ids))


def test_a_fleet_without_whales_has_no_widget_for_them() -> None:
    template = dashboard_template(tiers={"whale": DELETE})
    assert not [w for w in widgets(template) if "ModelLatency" in str(w["properties"].get("title"))]
