"""What an endpoint of one tenant must hold: its model in memory, its calls at their peak, SageMaker's time limit.

dedicated_endpoint(config, "m01", new_tier)      # -> its tier's type and instances
dedicated_problems(profile, endpoint, tenant)    # -> sentences; none where all is well
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from tierfleet.config import DedicatedTier, FleetConfig
from tierfleet.instance_types import describe
from tierfleet.planning.profiles.latency import waiting_seconds
from tierfleet.planning.profiles.load_queue import load_wait
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.call_times import container_times
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, instances_for_peak
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import a_second, duration, gibibytes, milliseconds, percent

# A model container must answer an invocation within 60 seconds, or SageMaker ends the call
# (docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html).
INVOCATION_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class TenantLoad:
    """A tenant and what it asks of an endpoint of its own. p99_seconds: required in the container; None: nothing."""

    name: str
    model_mb: float
    peak_per_second: float
    p99_seconds: float | None


def dedicated_endpoints(
    config: FleetConfig, tenants: Iterable[str], new_tier: DedicatedTier | None
) -> list[DedicatedTier | None]:
    """The dedicated tier that each tenant is in or would join; None where there is none to join."""
    now, joins, tiers = dedicated_tenants(config), dedicated_tier_name(config), config.dedicated_tiers
    return [tiers.get(now.get(tenant, joins), new_tier) for tenant in tenants]


def too_big(config: FleetConfig, workload: Workload, profile: Profile, new_tier: DedicatedTier) -> dict[str, str]:
    """Tenants whose model does not fit an instance of the dedicated tier that they would join, each with the reason."""
    found = {}
    endpoints = dedicated_endpoints(config, workload.tenants, new_tier)
    for name, model_mb, endpoint in zip(workload.tenants, workload.model_mb.tolist(), endpoints, strict=True):
        if endpoint is not None and (text := _memory_problem(profile, endpoint, model_mb)):
            found[name] = text
    return found


def dedicated_failures_under_load(
    config: FleetConfig,
    workload: Workload,
    profile: Profile,
    new_tier: DedicatedTier | None,
    dedicated: Collection[str],
    p99_seconds: dict[str, float],
) -> list[str]:
    """What the endpoints of these tenants do not hold, a sentence each. p99_seconds: required, by tenant."""
    failures = []
    peaks = workload.peak_per_second
    for index, endpoint in enumerate(dedicated_endpoints(config, workload.tenants, new_tier)):
        name = workload.tenants[index]
        if name in dedicated and endpoint is not None:
            load = TenantLoad(
                name=name,
                model_mb=float(workload.model_mb[index]),
                peak_per_second=float(peaks[index]),
                p99_seconds=p99_seconds.get(name),
            )
            failures += dedicated_problems(profile, endpoint, load)
    return failures


def dedicated_problems(profile: Profile, endpoint: DedicatedTier, tenant: TenantLoad) -> list[str]:
    """What an endpoint of this tier does not hold for this tenant."""
    if text := _memory_problem(profile, endpoint, tenant.model_mb):
        return [f"{tenant.name}: {text}"]
    times = container_times(profile, np.array([tenant.model_mb]), np.ones(1)).warm
    if (alone := float(np.percentile(times, 99))) > INVOCATION_SECONDS:
        return [f"{tenant.name} p99 {duration(alone)} in the container; SageMaker ends a call after 60 s"]
    instances = max(endpoint.instances.min, instances_for_peak(endpoint, tenant.peak_per_second))
    wait = load_wait(times, tenant.peak_per_second / instances, describe(endpoint.instance_type).vcpus)
    at_peak = f"at its peak of {a_second(tenant.peak_per_second)} on {instances} x {endpoint.instance_type}"
    if wait.utilisation >= 1:
        return [f"{tenant.name} needs {percent(wait.utilisation)} of the processors {at_peak}"]
    p99 = float(np.percentile(times + waiting_seconds(wait), 99))
    limit = min(INVOCATION_SECONDS, INVOCATION_SECONDS if tenant.p99_seconds is None else tenant.p99_seconds)
    if alone <= limit < p99:
        return [f"{tenant.name} p99 {milliseconds(p99)} {at_peak}, required {milliseconds(limit)}"]
    return []


def _memory_problem(profile: Profile, endpoint: DedicatedTier, model_mb: float) -> str | None:
    needed = profile.resident_mib(model_mb)
    there = profile.model_memory_mib(describe(endpoint.instance_type).memory_gib)
    if needed <= there:
        return None
    name = endpoint.instance_type
    return f"its model takes {gibibytes(needed)} of memory, and an {name} has {gibibytes(there)} for models"
