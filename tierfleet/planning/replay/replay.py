"""Serve a trace again, on the fleet as its file has it.

    outcome = replay(config, requests, model_mb, settings)
    outcome.endpoints[0].served.hit_ratio      # of the shared tier
    outcome.endpoints[0].hours                 # its timeline

Shared tiers run through the engine that plans are made with (`cache.load_events`), their instance counts through
`scaling`. A dedicated endpoint holds its model, so its calls are warm; only its instance count changes.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import FleetConfig, MultiModelTier, Tier
from tierfleet.errors import InputError
from tierfleet.planning.replay.endpoints import Settings, dedicated_endpoint, iso, shared_endpoint
from tierfleet.planning.replay.outcome import Endpoint, Replay
from tierfleet.planning.replay.scaling import BOOT_MINUTES
from tierfleet.planning.search.requirements import Requirements, requirements_text
from tierfleet.planning.traffic.requests import Progress, Requests, requests_of
from tierfleet.text import counted, days, milliseconds, percent, points

_DAY: Final = 86_400.0
# Of the loads, so many first ones are worth a word.
_MANY_FIRST_LOADS: Final = 0.05
# A p99 limit leaves so many calls above it.
_DEDICATED_MAY_MISS: Final = 0.01


def replay(
    config: FleetConfig,
    requests: Requests,
    model_mb: NDArray[np.float64],
    settings: Settings,
    *,
    progress: Progress | None = None,
) -> Replay:
    """What the fleet would have made of these calls. model_mb: the model file of each tenant, 10**6 bytes.

    Raises InputError if nothing is left to count.
    """
    start = requests.index_at(settings.counted_from_seconds)
    if start == len(requests):
        raise InputError(
            f"the trace has {days(requests.duration_seconds / _DAY)}, all of it is left out; skip fewer (--skip-days)"
        )
    tier_of = _tiers(config, requests.tenants)
    endpoints: list[Endpoint] = []
    left_out: dict[str, int] = {}
    for name, tier in config.tiers.items():
        chosen = np.array([tier_of[tenant] == name for tenant in requests.tenants], np.bool_)
        part = requests_of(requests, chosen)
        if part is None or part.seconds[-1] < settings.counted_from_seconds:
            continue
        sizes = model_mb[chosen]
        if isinstance(tier, MultiModelTier):
            endpoints.append(shared_endpoint(name, tier, part, sizes, settings, progress))
        elif isinstance(tier, Tier) and tier.endpoint_per_tenant and tier.shape.request_response:
            for index, tenant in enumerate(part.tenants):
                seconds = np.asarray(part.seconds[part.tenant == index])
                if len(seconds) and seconds[-1] >= settings.counted_from_seconds:
                    size = float(sizes[index])
                    endpoints.append(dedicated_endpoint(name, tier, tenant, seconds, size, settings))
                if progress is not None:
                    progress(len(seconds))
        else:
            left_out[f"{name} ({tier.hosting})"] = len(part) - part.index_at(settings.counted_from_seconds)
    endpoints.sort(key=lambda endpoint: (endpoint.tenant is not None, -endpoint.served.calls))
    first = float(requests.seconds[start])
    return Replay(
        fleet=f"{config.fleet}-{config.environment}",
        source=settings.source,
        profile=settings.profile.name,
        begins=iso(first),
        ends=iso(float(requests.seconds[-1])),
        days=(float(requests.seconds[-1]) - first) / _DAY,
        requirements=requirements_text(settings.requirements),
        endpoints=tuple(endpoints),
        misses=tuple(_misses(endpoints, settings.requirements)),
        notices=(
            *(
                f"{calls:,} calls to the tenants of {tier} are left out: only multi-model and dedicated tiers are "
                "replayed"
                for tier, calls in left_out.items()
            ),
            *_notices(config, endpoints, requests.tenants, skipped=start > 0),
        ),
    )


def _tiers(config: FleetConfig, tenants: Sequence[str]) -> dict[str, str]:
    """Tenant to the name of its tier."""
    named = {tenant: name for name, tier in config.tiers.items() for tenant in tier.tenants}
    return {tenant: named.get(tenant, config.default_tier) for tenant in tenants}


def _misses(endpoints: Sequence[Endpoint], required: Requirements) -> Iterator[str]:
    """What is required and was not kept: of shared tiers, then of dedicated endpoints."""
    shared = [endpoint for endpoint in endpoints if endpoint.tenant is None]
    for endpoint in shared:
        where = f"{endpoint.tier}: " if len(shared) > 1 else ""
        served = endpoint.served
        hits = (served.in_memory + served.waited_for_running_load) / max(served.calls, 1)
        if required.min_hit_ratio is not None and hits < required.min_hit_ratio:
            yield f"{where}hit ratio {points(hits)}, required {points(required.min_hit_ratio)}"
        if endpoint.never_fit:
            yield f"{where}calls to {counted(len(endpoint.never_fit), 'model')} too big for an instance fail"
        yield from _slow_tenants(endpoint, required)
        for name, limit, seconds in (
            ("warm", required.warm_p95_seconds, endpoint.warm_p95_seconds),
            ("cold", required.cold_p95_seconds, endpoint.load_p95_seconds),
        ):
            if limit is not None and seconds is not None and seconds > limit:
                yield f"{where}{name} p95 {milliseconds(seconds)}, required {milliseconds(limit)}"
    for endpoint in endpoints:
        served = endpoint.served
        if endpoint.tenant is not None and served.outside > _DEDICATED_MAY_MISS * served.calls:
            yield f"{endpoint.tenant}: {percent(served.outside / served.calls)} of the calls are above the p99 limit"


def _slow_tenants(endpoint: Endpoint, required: Requirements) -> Iterator[str]:
    """Tenants of a shared tier with a p99 limit, which is that of a load if more than 1 % of the calls wait for one."""
    for one in endpoint.tenants:
        limit = required.tenant_p99_seconds.get(one.tenant)
        waiting = 1 - one.served.in_memory / max(one.served.calls, 1)
        if limit is not None and waiting > _DEDICATED_MAY_MISS and one.mean_wait_seconds > limit:
            yield f"{one.tenant}: {percent(waiting)} of the calls wait for a load, required p99 {milliseconds(limit)}"


def _notices(
    config: FleetConfig, endpoints: Sequence[Endpoint], tenants: Sequence[str], *, skipped: bool
) -> Iterator[str]:
    """What a reader should know, the worst first."""
    named = {tenant for tier in config.tiers.values() for tenant in tier.tenants}
    if named and named.isdisjoint(tenants):
        yield (
            f"none of the {len(named):,} tenants that the fleet file names ({min(named)}, ...) is in the trace, which "
            f"has {tenants[0]}, ...: is it this fleet's, and the tenant column the right one?"
        )
    for endpoint in endpoints:
        where = endpoint.tenant or endpoint.tier
        if endpoint.never_fit:
            yield (
                f"{where}: {len(endpoint.never_fit):,} models do not fit the memory of {endpoint.instance_type}, such "
                f"as {endpoint.never_fit[0]}'s: their calls fail"
            )
        if endpoint.busy_loading >= 1:
            yield f"{where}: loads needed {percent(endpoint.busy_loading)} of the time there was in the busiest hour"
        if endpoint.beyond_capacity_minutes:
            yield (
                f"{where}: in {endpoint.beyond_capacity_minutes:,} minutes there were more calls than its instances "
                "are meant for (scaling.max_requests_per_second): such calls wait longer than is said here"
            )
        loads = endpoint.served.from_disk + endpoint.served.from_s3
        if not skipped and endpoint.first_loads > _MANY_FIRST_LOADS * loads > 0:
            yield (
                f"{where}: instances begin empty, so {endpoint.first_loads:,} of its {loads:,} loads are a model's "
                "first; --skip-days leaves the first days out"
            )
    yield f"a new instance serves {BOOT_MINUTES} minutes after it was asked for: an assumption"
    yield "which instance holds a model is drawn at random, as SageMaker does not say"
