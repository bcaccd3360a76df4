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
from tierfleet.planning.search.requirements import requirements_text
from tierfleet.planning.traffic.requests import Progress, Requests, requests_of
from tierfleet.text import percent

_DAY: Final = 86_400.0
# Of the loads, so many first ones are worth a word.
_MANY_FIRST_LOADS: Final = 0.05


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
        days = requests.duration_seconds / _DAY
        raise InputError(f"the trace has {days:.3g} days and all of them are left out; skip fewer (--skip-days)")
    tier_of = _tiers(config, requests.tenants)
    endpoints: list[Endpoint] = []
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
        notices=tuple(_notices(config, endpoints, requests.tenants, skipped=start > 0)),
    )


def _tiers(config: FleetConfig, tenants: Sequence[str]) -> dict[str, str]:
    """Tenant to the name of its tier."""
    named = {tenant: name for name, tier in config.tiers.items() for tenant in tier.tenants}
    return {tenant: named.get(tenant, config.default_tier) for tenant in tenants}


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
    left_out = sorted(
        tenant
        for tier in config.tenant_endpoint_tiers.values()
        if not (isinstance(tier, Tier) and tier.shape.request_response)
        for tenant in set(tier.tenants) & set(tenants)
    )
    if left_out:
        shown = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        yield f"the calls of {shown} are left out: their endpoints have no instances that answer at once"
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
