"""The items of a fleet's bill, each from the fleet file, its usage and the price table."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from tierfleet.config import FleetConfig, MultiModelTier
from tierfleet.config.hosting.tier import InstanceTier
from tierfleet.config.schedule import fire_times
from tierfleet.cost.bill import Bill, Place
from tierfleet.cost.instance_hours import REFERENCE_YEAR, MeanInstances
from tierfleet.cost.prices import HOURS_PER_MONTH
from tierfleet.cost.resource_counts import (
    CLIENT_METRICS,
    S3_REQUEST_METRICS,
    WARM_UP_METRICS,
    AlarmCount,
    endpoint_alarms,
    fleet_alarms,
)
from tierfleet.cost.usage import Traffic, Usage

DAYS_PER_MONTH: Final = HOURS_PER_MONTH / 24
# S3 and CloudWatch mean 2**30 bytes by GB.
BYTES_PER_GB: Final = 2**30
# constructs_lib/warm_up_function.py gives the function 512 MB.
WARM_UP_MEMORY_GB: Final = 0.5
# ClientSettings.pointer_ttl_seconds.
POINTER_TTL_SECONDS: Final = 60


def endpoint(bill: Bill, place: Place, tier: InstanceTier, mean: MeanInstances) -> None:
    """Instances, volumes and alarms of one endpoint."""
    hour = bill.hour(tier.instance_type)
    usd = [hour.usd * HOURS_PER_MONTH * count for count in (mean.at_min, mean.expected, mean.at_max)]
    counts = f"{mean.expected:.3g} ({mean.at_min:.3g} to {mean.at_max:.3g})"
    detail = f"{counts} x {tier.instance_type} at ${hour.usd:g} an hour{hour.mark}"
    bill.add(place, "instances", detail, usd[1], (usd[0], usd[2]))
    if tier.volume_size_in_gb is not None:
        month = bill.unit("hosting_volume_gb_month")
        usd = [month.of(tier.volume_size_in_gb * count) for count in (mean.at_min, mean.expected, mean.at_max)]
        detail = f"{tier.volume_size_in_gb} GB an instance at ${month.usd:g} a month{month.mark}"
        bill.add(place, "volumes", detail, usd[1], (usd[0], usd[2]))
    if mean.short_share:
        name, share = place[1] or place[0], f"{mean.short_share:.0%}".replace("%", " %")
        bill.notes.append(
            f"{name} would need more than its upper bound {share} of the time; those instances are not priced"
        )
    alarms(bill, place, endpoint_alarms(tier, place[1]))


def alarms(bill: Bill, place: Place, count: AlarmCount) -> None:
    """Alarms by the metrics they read."""
    usd = bill.unit("cloudwatch_alarm_metric_month").of(count.billed_metrics)
    if count.composite:
        usd += bill.unit("cloudwatch_composite_alarm_month").of(count.composite)
    detail = f"{count.billed_metrics} alarm metrics"
    if count.target_tracking:
        detail += f", {count.target_tracking} of them target tracking's own"
    if count.composite:
        detail += f", {count.composite} composite"
    bill.add(place, "alarms", detail, usd)


def warm_up(bill: Bill, name: str, tier: MultiModelTier) -> None:
    """A tier's warm-up runs: schedule, function, reads and metrics."""
    if tier.warm_up is None:
        return
    fires = fire_times(tier.warm_up.schedule, tier.warm_up.timezone, REFERENCE_YEAR)
    runs, tenants = len(fires) / 12, len(tier.warm_up.tenants)
    seconds = tier.warm_up.deadline_seconds
    usd = bill.unit("lambda_request").of(runs) + bill.unit("scheduler_invocation").of(runs)
    usd += bill.unit("lambda_arm_gb_second").of(runs * seconds * WARM_UP_MEMORY_GB)
    usd += bill.unit("appconfig_request").of(runs) + bill.unit("appconfig_configuration_received").of(runs)
    # For each listed tenant, a pointer and at most one model.
    usd += bill.unit("s3_get_request").of(2 * runs * tenants)
    detail = f"{runs:.3g} runs of at most {seconds} s, {tenants} tenant{'' if tenants == 1 else 's'}"
    bill.add((name, None), "warm-up", detail, usd)
    _custom_metrics(bill, name, len(WARM_UP_METRICS), _hours(fires), "warm-up metrics")


def _hours(fires: Sequence[datetime]) -> float:
    """Hours of a month in which something fires."""
    return len({(moment.date(), moment.hour) for moment in fires}) / 12


def _custom_metrics(bill: Bill, tier: str | None, names: int, hours: float, item: str) -> None:
    # CloudWatch bills a metric for each hour in which it is sent.
    metrics = names * min(hours / HOURS_PER_MONTH, 1.0)
    usd = bill.unit("cloudwatch_custom_metric_month").of(metrics)
    bill.add((tier, None), item, f"{names} metrics, {hours:.3g} hours a month", usd)


def shared_calls(bill: Bill, name: str, *, cached: bool, traffic: Traffic, tenants: list[str], usage: Usage) -> None:
    """S3 requests and logs of the calls to a shared tier. cached: whether a model stays in memory after a call."""
    month = {tenant: traffic.calls_per_day(tenant) * DAYS_PER_MONTH for tenant in tenants}
    most_pointer_reads = usage.callers * HOURS_PER_MONTH * 3600 / POINTER_TTL_SECONDS
    pointers = sum(min(calls, most_pointer_reads) for calls in month.values())
    # Without a cache SageMaker deletes the model from memory and disk after each call.
    cold_share = usage.cold_share or 0.0 if cached else 1.0
    fetched = sum(month.values()) * cold_share
    usd = bill.unit("s3_get_request").of(pointers + fetched)
    detail = f"{pointers:,.0f} pointers, {fetched:,.0f} models read"
    bill.add((name, None), "S3 requests", detail, usd)
    if usage.nat_gateways and usage.artefact_megabytes is not None:
        gigabytes = fetched * usage.artefact_megabytes * 1e6 / BYTES_PER_GB
        detail = f"{gigabytes:,.0f} GB of models"
        bill.add((name, None), "NAT data", detail, bill.unit("nat_gateway_gb").of(gigabytes))
    endpoint_logs(bill, (name, None), sum(month.values()) / DAYS_PER_MONTH, usage)


def endpoint_logs(bill: Bill, place: Place, calls_per_day: float, usage: Usage) -> None:
    """The container's log group."""
    gigabytes = calls_per_day * DAYS_PER_MONTH * usage.log_bytes_per_call / BYTES_PER_GB
    if gigabytes:
        usd = bill.unit("cloudwatch_logs_ingested_gb").of(gigabytes)
        bill.add(place, "endpoint logs", f"{gigabytes:.3g} GB", usd)


def storage(bill: Bill, config: FleetConfig, served: Mapping[str, list[str]], usage: Usage) -> None:
    """The models in the bucket."""
    if usage.artefact_megabytes is None:
        return
    month = bill.unit("s3_storage_gb_month")
    a_tenant = usage.artefact_megabytes * usage.versions_kept * 1e6 / BYTES_PER_GB
    # S3's price tier depends on the whole bucket, not on a fleet's tier.
    month.of(a_tenant * sum(count for _, count in _stored(config, served, usage)))
    for place, count in _stored(config, served, usage):
        detail = f"{count * usage.versions_kept:,} artefacts of {usage.artefact_megabytes:g} MB"
        bill.add(place, "model storage", detail, month.of(a_tenant * count))


def _stored(config: FleetConfig, served: Mapping[str, list[str]], usage: Usage) -> Iterator[tuple[Place, int]]:
    for name, tenants in served.items():
        count = len(tenants)
        if name == config.default_tier and usage.tail_tenants is not None:
            count = usage.tail_tenants
        if count:
            yield (name, None), count
    for name, tier in config.tenant_endpoint_tiers.items():
        for tenant in sorted(tier.tenants):
            yield (name, tenant), 1


def whole_fleet(bill: Bill, config: FleetConfig, served: Mapping[str, list[str]], usage: Usage) -> None:
    """Items of the whole fleet."""
    fleet_wide = (None, None)
    alarms(bill, fleet_wide, fleet_alarms(config))
    bill.add(fleet_wide, "dashboard", "1", bill.unit("cloudwatch_dashboard_month").of(1))
    _custom_metrics(bill, None, len(S3_REQUEST_METRICS), HOURS_PER_MONTH, "S3 request metrics")
    warm_ups = [tier.warm_up for tier in config.multi_model_tiers.values() if tier.warm_up]
    if warm_ups:
        fires = [fire for w in warm_ups for fire in fire_times(w.schedule, w.timezone, REFERENCE_YEAR)]
        _custom_metrics(bill, None, len(WARM_UP_METRICS), _hours(fires), "warm-up metrics")
    if usage.client_metrics:
        tenants = sum(map(len, served.values())) + sum(len(t.tenants) for t in config.tenant_endpoint_tiers.values())
        named = min(usage.named_tenants, tenants) if usage.traffic else usage.named_tenants
        # The fleet's own, the named tenants', and those of all others together.
        _custom_metrics(bill, None, len(CLIENT_METRICS) * (named + 2), HOURS_PER_MONTH, "client metrics")
    polls = usage.callers * HOURS_PER_MONTH * 3600 / config.routes.ttl_seconds
    received = usage.callers * usage.restarts_per_month
    usd = bill.unit("appconfig_request").of(polls) + bill.unit("appconfig_configuration_received").of(received)
    detail = f"{usage.callers} caller{'' if usage.callers == 1 else 's'}: {polls:,.0f} polls, {received:,.0f} documents"
    bill.add(fleet_wide, "route polling", detail, usd)
    if usage.nat_gateways:
        hours = usage.nat_gateways * HOURS_PER_MONTH
        bill.add(fleet_wide, "NAT gateways", f"{usage.nat_gateways}", bill.unit("nat_gateway_hour").of(hours))
