"""A fleet file with other sizes and tiers, as a configuration that a search can price and compare."""

import math
from collections.abc import Collection
from typing import Final

from tierfleet.config import DedicatedTenant, DedicatedTier, FleetConfig, MultiModelTier
from tierfleet.config.hosting.dedicated import DedicatedAlarmLimits
from tierfleet.config.hosting.scaling import Instances, Scaling
from tierfleet.instance_types import InstanceType, describe

NEW_DEDICATED_TIER: Final = "whale"
# A first dedicated tier is priced with the smallest m5, in two availability zones.
_NEW_TYPE: Final = "ml.m5.large"
# The model of a tenant whose version is not known yet. A file with this name is never written.
UNPINNED: Final = "not-pinned.tar.gz"


def dedicated_tenants(config: FleetConfig) -> dict[str, str]:
    """Tenant to tier, for each tenant with a dedicated endpoint."""
    return {tenant: name for name, tier in config.dedicated_tiers.items() for tenant in tier.tenants}


def tenants_on_other_tiers(config: FleetConfig) -> dict[str, str]:
    """Tenant to the name of its tier, of the tiers that a plan leaves as they are: neither the default one nor
    dedicated."""
    left = {name: tier for name, tier in config.tiers.items() if name != config.default_tier}
    return {
        tenant: name for name, tier in left.items() if name not in config.dedicated_tiers for tenant in tier.tenants
    }


def dedicated_tier_name(config: FleetConfig) -> str:
    """The tier that promoted tenants join: the first dedicated one by name, or a new one."""
    return min(config.dedicated_tiers, default=NEW_DEDICATED_TIER)


def new_dedicated_tier(p99_milliseconds: float) -> DedicatedTier:
    """The dedicated tier that is planned with where the fleet has none."""
    return DedicatedTier(
        hosting="dedicated",
        instance_type=_NEW_TYPE,
        instances=Instances(min=2, max=4, initial=2),
        scaling=Scaling(max_requests_per_second=100),
        alarms=DedicatedAlarmLimits(max_model_latency_p99_milliseconds=p99_milliseconds),
    )


def proposed_config(
    config: FleetConfig,
    *,
    instance_type: InstanceType,
    instances: int,
    dedicated: Collection[str],
    new_tier: DedicatedTier | None = None,
) -> FleetConfig:
    """The fleet with this type and count for the default tier, and with these tenants on dedicated endpoints.

    new_tier: the tier that promoted tenants join if the fleet has no dedicated tier.
    """
    tiers = dict(config.tiers)
    tail = config.multi_model_tiers[config.default_tier]
    tiers[config.default_tier] = proposed_tail(tail, instance_type, instances)
    dedicated_today = dedicated_tenants(config)
    joins = dedicated_tier_name(config)
    for name, tier in config.dedicated_tiers.items():
        tiers[name] = tier.model_copy(
            update={"tenants": {tenant: pin for tenant, pin in tier.tenants.items() if tenant in dedicated}}
        )
    promoted = [tenant for tenant in sorted(dedicated) if tenant not in dedicated_today]
    if promoted:
        join = tiers.get(joins) or new_tier
        if not isinstance(join, DedicatedTier):
            raise ValueError(f"{', '.join(promoted)} cannot be dedicated: the fleet has no dedicated tier")
        # Not validated, so that a plan is possible for a tenant id that a fleet file would refuse.
        added = {tenant: DedicatedTenant.model_construct(model=f"{tenant}/{UNPINNED}") for tenant in promoted}
        tiers[joins] = join.model_copy(update={"tenants": {**join.tenants, **added}})
    return config.model_copy(update={"tiers": tiers})


def proposed_tail(tail: MultiModelTier, instance_type: InstanceType, instances: int) -> MultiModelTier:
    """The shared tier with this type and this lower bound; the room above the bound stays as it was.

    Another type is expected to take calls in proportion to its vCPUs until a load test says otherwise.
    """
    changes: dict[str, object] = {"instances": proposed_instances(tail.instances, instances)}
    if instance_type.name != tail.instance_type:
        changes["instance_type"] = instance_type.name
        changes["scaling"] = tail.scaling.model_copy(
            update={"max_requests_per_second": requests_per_second(tail, instance_type)}
        )
        changes["instances"] = proposed_instances(tail.instances, instances, new_endpoint=True)
        if instance_type.local_nvme:
            changes["volume_size_in_gb"] = None
    return tail.model_copy(update=changes)


def requests_per_second(tail: MultiModelTier, instance_type: InstanceType) -> float:
    """Calls a second that one instance of another type takes, in proportion to its vCPUs."""
    rate = tail.scaling.max_requests_per_second
    vcpus = instance_type.vcpus / describe(tail.instance_type).vcpus
    return rate if vcpus == 1 else float(f"{rate * vcpus:.3g}")


def proposed_instances(today: Instances, min_instances: int, *, new_endpoint: bool = False) -> Instances:
    """Bounds with another lower one.

    A new endpoint starts at its lower bound. An existing one keeps `initial` where it can: a change updates the
    endpoint, which empties its caches.
    """
    max_instances = min_instances + today.max - today.min
    initial = min_instances if new_endpoint else min(max(today.initial, min_instances), max_instances)
    return Instances(min=min_instances, max=max_instances, initial=initial)


def instances_for_peak(tier: MultiModelTier | DedicatedTier, peak_per_second: float) -> int:
    """Instances that hold InvocationsPerInstance at its target in the busiest hour; at least 1."""
    return max(math.ceil(peak_per_second * 60 / tier.scaling.target_invocations_per_minute - 1e-9), 1)
