"""One endpoint of a replay: its counts, its call times, its timeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import MultiModelTier, Tier
from tierfleet.instance_types import describe
from tierfleet.planning.cache import load_kernel
from tierfleet.planning.profiles.latency import Network, latency_of_events
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.replay.outcome import Endpoint, Hour, Served, Tenant
from tierfleet.planning.replay.scaling import Scaler, instance_minutes
from tierfleet.planning.replay.shared_tier import serve
from tierfleet.planning.search.call_times import always_in_memory, container_times, loads_percentile
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.traffic.requests import Progress, Requests

Array = NDArray[np.float64]
Counts = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a trace is replayed."""

    source: str
    """Of the trace, for the reader."""
    profile: Profile
    """Of the fleet's container."""
    requirements: Requirements
    """What the calls are held to."""
    counted_from_seconds: float
    """Unix time; earlier calls only fill the caches."""
    network: Network = field(default_factory=Network)


def shared_endpoint(
    name: str,
    tier: MultiModelTier,
    requests: Requests,
    model_mb: Array,
    settings: Settings,
    progress: Progress | None = None,
) -> Endpoint:
    """The endpoint of a shared tier. requests: of its tenants alone; some must be counted."""
    required, profile, network = settings.requirements, settings.profile, settings.network
    limit = np.inf if required.cold_p95_seconds is None else required.cold_p95_seconds
    answer = np.array([network.overhead_p50_ms + profile.predict_ms(size).p50 for size in model_mb.tolist()]) / 1000
    outcome = serve(
        requests,
        model_mb,
        tier,
        profile,
        network=network,
        late_after=np.maximum(limit - answer, 0.0),
        counted_from_seconds=settings.counted_from_seconds,
        progress=progress,
    )
    events = outcome.events
    calls = events.by_tenant[:, : load_kernel.OUTCOMES].sum(axis=1)
    times = latency_of_events(
        profile,
        model_mb,
        events,
        vcpus=describe(tier.instance_type).vcpus,
        network=network,
        weights=calls.astype(np.float64),
    )
    warm_limit = np.inf if required.warm_p95_seconds is None else required.warm_p95_seconds
    warm_outside = float(np.mean(times.warm > warm_limit))
    tenants = [
        Tenant(
            served=_served(row, float(waited[1]), warm_outside),
            tenant=tenant,
            mean_wait_seconds=float(waited[0]) / max(int(row[1:4].sum()), 1),
        )
        for tenant, row, waited in zip(requests.tenants, events.by_tenant, events.waited_by_tenant, strict=True)
        if row[: load_kernel.OUTCOMES].any()
    ]
    tenants.sort(key=lambda one: (-one.served.outside, -one.served.calls, one.tenant))
    begin = int(requests.seconds[requests.index_at(settings.counted_from_seconds)] // 60)
    end = int(requests.seconds[-1] // 60) + 1
    counts = _from_minute(outcome.counts, begin)
    hours = [
        Hour(
            served=_served(row, float(waited[1]), warm_outside),
            begins=iso(3600.0 * (events.first_hour + number)),
            unloads=int(row[load_kernel.EVICTED]),
            instances=_mean_count(counts, 60 * (events.first_hour + number), end),
        )
        for number, (row, waited) in enumerate(zip(events.by_hour, events.waited_by_hour, strict=True))
    ]
    big = [name for name, big, row in zip(requests.tenants, outcome.never_fit, calls, strict=True) if big and row]
    return Endpoint(
        served=_served(events.by_tenant.sum(axis=0), float(events.waited_by_tenant[:, 1].max()), warm_outside),
        tier=name,
        tenant=None,
        instance_type=tier.instance_type,
        instances=tuple((iso(60.0 * minute), count) for minute, count in counts),
        instance_hours=instance_minutes(counts, end) / 60,
        most_allowed=tier.most_instances,
        load_p50_seconds=loads_percentile(times, 50),
        load_p95_seconds=loads_percentile(times, 95),
        warm_p95_seconds=float(np.percentile(times.warm, 95)),
        busy_loading=events.busy,
        beyond_capacity_minutes=_beyond_capacity(tier, outcome.counts, outcome.calls_by_minute, begin),
        first_loads=int((events.by_tenant[:, load_kernel.FROM_S3] > 0).sum()),
        unloads=int(events.by_hour[:, load_kernel.EVICTED].sum()),
        never_fit=tuple(big),
        hours=tuple(hours),
        tenants=tuple(tenants),
    )


def dedicated_endpoint(
    name: str, tier: Tier, tenant: str, seconds: Array, model_mb: float, settings: Settings
) -> Endpoint:
    """The endpoint of one tenant: its model is in memory on every instance. seconds: of its calls; one must count."""
    size, one = np.array([model_mb]), np.ones(1)
    times = always_in_memory(settings.profile, size, one, settings.network)
    limit = settings.requirements.tenant_p99_seconds.get(tenant, settings.requirements.dedicated_p99_seconds)
    inside = container_times(settings.profile, size, one)
    outside = 0.0 if limit is None else inside.outside(warm_seconds=limit, cold_seconds=limit)
    first, last = int(seconds[0] // 60), int(seconds[-1] // 60)
    by_minute = np.bincount((seconds // 60).astype(np.int64) - first, minlength=last - first + 1)
    scaler = Scaler.at_start(tier, first, last)
    counts = [(first, scaler.in_service)]
    for number, calls in enumerate(by_minute.tolist()):
        if scaler.minute(first + number, calls) != counts[-1][1]:
            counts.append((first + number + 1, scaler.in_service))
    counted = seconds[np.searchsorted(seconds, settings.counted_from_seconds) :]
    begin, end = int(counted[0] // 60), last + 1
    kept = _from_minute(counts, begin)
    from_hour = int(counted[0] // 3600)
    by_hour = np.bincount((counted // 3600).astype(np.int64) - from_hour)
    memory_gib = describe(tier.instance_type).memory_gib
    return Endpoint(
        served=_all_warm(len(counted), outside),
        tier=name,
        tenant=tenant,
        instance_type=tier.instance_type,
        instances=tuple((iso(60.0 * minute), count) for minute, count in kept),
        instance_hours=instance_minutes(kept, end) / 60,
        most_allowed=tier.most_instances,
        load_p50_seconds=None,
        load_p95_seconds=None,
        warm_p95_seconds=float(np.percentile(times.warm, 95)),
        busy_loading=0.0,
        beyond_capacity_minutes=_beyond_capacity(tier, counts, by_minute, begin),
        first_loads=0,
        unloads=0,
        never_fit=() if settings.profile.models_per_instance(memory_gib, model_mb) else (tenant,),
        hours=tuple(
            Hour(
                served=_all_warm(calls, outside),
                begins=iso(3600.0 * (from_hour + number)),
                unloads=0,
                instances=_mean_count(kept, 60 * (from_hour + number), end),
            )
            for number, calls in enumerate(by_hour.tolist())
        ),
        tenants=(),
    )


def iso(seconds: float) -> str:
    """A Unix time as ISO 8601 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _served(row: NDArray[np.int64], longest_wait_seconds: float, warm_outside: float) -> Served:
    """Of one row of `LoadEvents.by_hour` or `by_tenant`. warm_outside: share of the warm calls."""
    warm, waiting, disk, s3, late, _ = row.tolist()
    return Served(
        calls=warm + waiting + disk + s3,
        in_memory=warm,
        waited_for_running_load=waiting,
        from_disk=disk,
        from_s3=s3,
        outside=late + warm * warm_outside,
        longest_wait_seconds=longest_wait_seconds,
    )


def _all_warm(calls: int, outside_share: float) -> Served:
    return _served(np.array([calls, 0, 0, 0, 0, 0]), 0.0, outside_share)


def _from_minute(counts: Counts, begin: int) -> list[tuple[int, int]]:
    """The instance counts from a minute on."""
    before = [count for minute, count in counts if minute <= begin]
    return [(begin, before[-1] if before else counts[0][1]), *((m, count) for m, count in counts if m > begin)]


def _mean_count(counts: Counts, begin: int, end: int) -> float:
    """Instances in service, averaged over the hour from minute `begin` on, as far as it is within the counts."""
    low, high = max(begin, counts[0][0]), min(begin + 60, end)
    if high <= low:
        return float(counts[0][1])
    inside = _from_minute([pair for pair in counts if pair[0] < high], low)
    return instance_minutes(inside, high) / (high - low)


def _beyond_capacity(tier: Tier, counts: Counts, calls_by_minute: NDArray[np.int64], begin: int) -> int:
    """Minutes from `begin` on with more calls than the instances in service are meant for at most."""
    first = counts[0][0]
    changes = np.array([minute for minute, _ in counts]) - first
    in_service = np.array([count for _, count in counts])
    each_minute = in_service[np.searchsorted(changes, np.arange(len(calls_by_minute)), side="right") - 1]
    # max_requests_per_second, not the scaling target: the target leaves room for the minutes until an instance serves.
    beyond = calls_by_minute > each_minute * tier.scaling.max_requests_per_second * 60
    return int(beyond[max(begin - first, 0) :].sum())
