"""What a dedicated endpoint must do: hold its model in memory, carry its calls at their peak, answer within 60 s.

dedicated_problems(profile, endpoint, tenant)    # -> sentences; an empty list if all is well
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tierfleet.config import DedicatedTier, FleetConfig
from tierfleet.instance_types import describe
from tierfleet.planning.profiles.latency import waiting_seconds
from tierfleet.planning.profiles.load_queue import load_wait
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.call_times import container_p99, container_times
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, instances_for_peak
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.tiering import TailShare
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import a_second, duration, gibibytes, milliseconds, percent

# A model container must answer an invocation within 60 seconds, or SageMaker ends the call
# (docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html).
INVOCATION_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class TenantLoad:
    """What one tenant asks of a dedicated endpoint."""

    name: str
    model_mb: float
    """The model file, 10**6 bytes."""
    peak_per_second: float
    """Calls a second in its busiest hour."""
    p99_seconds: float | None
    """Required in the container; None: nothing is required."""


def dedicated_endpoints(
    config: FleetConfig, tenants: Iterable[str], new_tier: DedicatedTier | None
) -> list[DedicatedTier | None]:
    """The dedicated tier that each tenant is in or would join; None if there is none to join."""
    today, joins, tiers = dedicated_tenants(config), dedicated_tier_name(config), config.dedicated_tiers
    return [tiers.get(today.get(tenant, joins), new_tier) for tenant in tenants]


def too_big(config: FleetConfig, workload: Workload, profile: Profile, new_tier: DedicatedTier) -> dict[str, str]:
    """Tenants whose model does not fit an instance of the dedicated tier they would join, each with the reason."""
    reasons = {}
    endpoints = dedicated_endpoints(config, workload.tenants, new_tier)
    for name, model_mb, endpoint in zip(workload.tenants, workload.model_mb.tolist(), endpoints, strict=True):
        if endpoint is not None and (text := _memory_problem(profile, endpoint, model_mb)):
            reasons[name] = text
    return reasons


def dedicated_failures(
    config: FleetConfig,
    workload: Workload,
    profile: Profile,
    required: Requirements,
    new_tier: DedicatedTier | None,
    dedicated: Collection[str],
) -> list[str]:
    """The requirements that dedicated endpoints miss: all of them together, single tenants, each under its peak."""
    failures = []
    own = np.array([name in dedicated for name in workload.tenants], np.bool_)
    if required.dedicated_p99_seconds is not None and own.any():
        p99 = container_p99(profile, workload.model_mb[own], workload.calls_per_day[own])
        if p99 > required.dedicated_p99_seconds:
            limit = milliseconds(required.dedicated_p99_seconds)
            failures.append(f"dedicated p99 {milliseconds(p99)}, required {limit}")
    for name, limit_seconds in sorted(required.tenant_p99_seconds.items()):
        if name in dedicated and name in workload.tenants:
            index = workload.tenants.index(name)
            p99 = container_p99(profile, workload.model_mb[index : index + 1], np.ones(1))
            if p99 > limit_seconds:
                failures.append(f"{name} p99 {milliseconds(p99)}, required {milliseconds(limit_seconds)}")
    return [*failures, *_failures_under_load(config, workload, profile, required, new_tier, dedicated)]


def _failures_under_load(
    config: FleetConfig,
    workload: Workload,
    profile: Profile,
    required: Requirements,
    new_tier: DedicatedTier | None,
    dedicated: Collection[str],
) -> list[str]:
    failures = []
    peaks = workload.peak_per_second
    for index, endpoint in enumerate(dedicated_endpoints(config, workload.tenants, new_tier)):
        name = workload.tenants[index]
        if name in dedicated and endpoint is not None:
            load = TenantLoad(
                name=name,
                model_mb=float(workload.model_mb[index]),
                peak_per_second=float(peaks[index]),
                p99_seconds=required.tenant_p99_seconds.get(name, required.dedicated_p99_seconds),
            )
            failures += dedicated_problems(profile, endpoint, load)
    return failures


def dedicated_problems(profile: Profile, endpoint: DedicatedTier, tenant: TenantLoad) -> list[str]:
    """What goes wrong if this tenant has an endpoint of this tier, a sentence each."""
    if text := _memory_problem(profile, endpoint, tenant.model_mb):
        return [f"{tenant.name}: {text}"]
    times = container_times(profile, np.array([tenant.model_mb]), np.ones(1)).warm
    if (alone := float(np.percentile(times, 99))) > INVOCATION_SECONDS:
        return [f"{tenant.name} p99 {duration(alone)} in the container; SageMaker ends a call after 60 s"]
    # At the size that scaling would reach: a peak that needs more instances gets them.
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


def shared_failures(required: Requirements, on_tail: Mapping[str, TailShare]) -> list[str]:
    """Tenants on the shared tier that miss their required p99, because they may not be promoted."""
    limits = required.tenant_p99_seconds
    return [
        f"{name} p99 {milliseconds(tail.p99_seconds)} on the shared tier, required {milliseconds(limits[name])}"
        for name, tail in sorted(on_tail.items())
        if tail.p99_seconds > limits[name]
    ]


def _memory_problem(profile: Profile, endpoint: DedicatedTier, model_mb: float) -> str | None:
    needed = profile.resident_mib(model_mb)
    room = profile.model_memory_mib(describe(endpoint.instance_type).memory_gib)
    if needed <= room:
        return None
    name = endpoint.instance_type
    return f"its model takes {gibibytes(needed)} of memory, and an {name} has {gibibytes(room)} for models"
