"""The alarms and scaling policies that config/fraud-dev.toml deploys, driven by what an endpoint would publish."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from real_fleet import Fleet

from local_cloud import LocalCloud
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import CONFIG, ROOT
from tierfleet.config import FleetConfig, check_file
from tierfleet.models.publish import publish
from tierfleet.runtime import names

TAIL = "fraud--dev--tail--all--mme-m5-large"
VARIANT = f"endpoint/{TAIL}/variant/AllTraffic"
MODELS, FLEET = "fraud-dev-Models", "fraud-dev-Fleet"


class FraudDev(Fleet):
    """fraud-dev as synthesised, in service, with a clock that does not run."""

    def changed(self, **_changes: Any) -> FleetConfig:
        return check_file(CONFIG / "fraud-dev.toml").config.model_copy(update={"account": self.account.id})

    def bring_up(self) -> None:
        stacks = self.synthesise()
        assert self.deploy(stacks[MODELS]) == "CREATE_COMPLETE"
        bucket = names.models_bucket("fraud", "dev", self.account.id, self.config.region)
        versions = {"m01": "2026-11-14", "m04": "2026-11-14"}
        for tenant in (*self.config.tiers["tail"].warm_up.tenants, *versions):
            version = versions.get(tenant, "1")
            publish(self.account.client("s3"), bucket=bucket, tenant=tenant, version=version, archive=b"model")
        assert self.deploy(stacks[FLEET]) == "CREATE_COMPLETE", self.account.stack_events(FLEET)
        self.account.stop_clock()
        hour = datetime.fromtimestamp(self.account.cloud.admin("clock")["now"], UTC).hour
        if 2 <= hour < 9:
            self.account.advance(7 * 3600)  # past the morning's warm-up

    def five_minutes(self, **metrics: list[tuple[float, int]]) -> None:
        """Each minute, of each metric of the tail, (value, how often)."""
        now = self.account.cloud.admin("clock")["now"]
        self.account.client("cloudwatch").put_metric_data(
            Namespace="AWS/SageMaker",
            MetricData=[
                {
                    "MetricName": metric,
                    "Timestamp": datetime.fromtimestamp(now + 60 * minute - 1, UTC),
                    "Dimensions": [
                        {"Name": "EndpointName", "Value": TAIL},
                        {"Name": "VariantName", "Value": "AllTraffic"},
                    ],
                    "Values": [value for value, _ in values],
                    "Counts": [count for _, count in values],
                }
                for minute in range(1, 6)
                for metric, values in metrics.items()
            ],
        )
        for _ in range(5):
            self.account.advance(60)

    def instances(self) -> int:
        described = self.account.client("sagemaker").describe_endpoint(EndpointName=TAIL)
        return int(described["ProductionVariants"][0]["CurrentInstanceCount"])

    def last_cause(self) -> str:
        described = self.account.client("application-autoscaling").describe_scaling_activities(
            ServiceNamespace="sagemaker", ResourceId=VARIANT
        )["ScalingActivities"]
        assert described[0]["StatusCode"] == "Successful", described[0]
        return str(described[0]["Cause"])

    def alarms(self, part: str) -> list[dict[str, Any]]:
        """The alarms, plain and composite, whose logical id contains this."""
        described = self.account.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        return [a for a in described["MetricAlarms"] + described["CompositeAlarms"] if part in a["AlarmName"]]


@pytest.fixture(scope="module")
def fleet(cloud: LocalCloud, synth: Callable[..., Path]) -> Iterator[FraudDev]:
    cloud.admin("clock", {"mode": "skip"})
    cloud.admin("faults", {})
    fraud = FraudDev(Account(cloud, "333300000001"), synth)
    fraud.bring_up()
    yield fraud
    cloud.admin("clock", {"mode": "skip"})


def test_thrash_adds_an_instance_calm_takes_it_back_and_load_adds_it_again(fleet: FraudDev) -> None:
    tail = fleet.config.tiers["tail"]
    target = tail.scaling.target_invocations_per_minute
    unloads = tail.scale_on_cache.max_unloads_per_hour // 60 + 1  # in a minute
    assert fleet.instances() == 1

    for _ in range(5):
        fleet.five_minutes(InvocationsPerInstance=[(1, int(target * 0.8))], ModelUnloadingTime=[(5000, unloads)])
    too_early = fleet.instances()
    for _ in range(2):  # the second quarter of an hour is full
        fleet.five_minutes(InvocationsPerInstance=[(1, int(target * 0.8))], ModelUnloadingTime=[(5000, unloads)])
    assert (too_early, fleet.instances()) == (1, 2)
    assert "cache-thrashing" in fleet.last_cause()
    assert fleet.last_cause().endswith("triggered policy scale-out-on-cache")

    for _ in range(9):
        fleet.five_minutes(InvocationsPerInstance=[(0.5, int(target * 0.8))])
    too_early = fleet.instances()
    for _ in range(5):
        fleet.five_minutes(InvocationsPerInstance=[(0.5, int(target * 0.8))])
    assert (too_early, fleet.instances()) == (2, 1)
    assert fleet.last_cause().endswith("triggered policy scale-in-on-calm")

    for _ in range(2):
        fleet.five_minutes(InvocationsPerInstance=[(1, int(target * 1.5))])
    assert fleet.instances() == 2
    assert "AlarmHigh" in fleet.last_cause()
    assert fleet.last_cause().endswith("triggered policy invocations")


def test_a_low_hit_ratio_turns_the_alarm_red_and_names_the_runbook(fleet: FraudDev) -> None:
    green = [alarm["StateValue"] for alarm in (*fleet.alarms("cache-hit-ratio"), *fleet.alarms("cache-degraded"))]
    for _ in range(3):
        fleet.five_minutes(ModelCacheHit=[(1, 10), (0, 20)])
    [ratio], [degraded] = fleet.alarms("cache-hit-ratio"), fleet.alarms("cache-degraded")

    assert green == ["OK", "OK"]
    assert (ratio["StateValue"], degraded["StateValue"]) == ("ALARM", "ALARM")
    for alarm in (ratio, degraded):
        assert alarm["AlarmDescription"].endswith(f"What to do: {fleet.config.runbook_url}#cache-degraded")
    assert "\n## cache-degraded\n" in (ROOT / "docs" / "runbook.md").read_text()
    fleet.five_minutes()  # the suppressor could still have come
    assert ("AlarmActions", degraded["AlarmName"]) in fleet.account.log()

    for _ in range(3):
        fleet.five_minutes(ModelCacheHit=[(1, 30)])
    states = {alarm["StateValue"] for name in ("cache-hit-ratio", "cache-degraded") for alarm in fleet.alarms(name)}
    assert states == {"OK"}
