"""Embedded Metric Format lines, as CloudWatch's specification wants them."""

import json
import time

import pytest

from tierfleet.runtime import metrics


def test_a_line_with_a_tier_has_both_dimension_sets() -> None:
    line = metrics.emf_line(
        {metrics.WARM_UP_WARMED: 3, metrics.WARM_UP_SECONDS: 1.5},
        fleet="fraud",
        environment="prod",
        tier="tail",
        timestamp_milliseconds=1_800_000_000_000,
    )
    assert "\n" not in line
    assert json.loads(line) == {
        "_aws": {
            "Timestamp": 1_800_000_000_000,
            "CloudWatchMetrics": [
                {
                    "Namespace": "tierfleet",
                    "Dimensions": [["Fleet", "Environment"], ["Fleet", "Environment", "Tier"]],
                    "Metrics": [
                        {"Name": "WarmUpWarmed", "Unit": "Count"},
                        {"Name": "WarmUpSeconds", "Unit": "Seconds"},
                    ],
                }
            ],
        },
        "Fleet": "fraud",
        "Environment": "prod",
        "Tier": "tail",
        "WarmUpWarmed": 3,
        "WarmUpSeconds": 1.5,
    }


def test_a_line_without_a_tier_has_the_fleet_dimensions_only() -> None:
    line = json.loads(metrics.emf_line({metrics.ROUTE_ERRORS: 1}, fleet="fraud", environment="prod"))
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Fleet", "Environment"]]
    assert "Tier" not in line


def test_the_timestamp_is_now_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_123_456_789)
    line = json.loads(metrics.emf_line({metrics.ROUTE_ERRORS: 1}, fleet="fraud", environment="prod"))
    assert line["_aws"]["Timestamp"] == 1_800_000_000_123


def test_every_metric_has_a_unit_and_another_name_is_refused() -> None:
    names = {value for name, value in vars(metrics).items() if name.startswith(("ROUTE_", "CALL", "WARM_UP_"))}
    assert names == set(metrics.UNITS)
    with pytest.raises(KeyError):
        metrics.emf_line({"Typo": 1}, fleet="fraud", environment="prod")
