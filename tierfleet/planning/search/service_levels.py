"""Service levels of one fleet: call times of each tier, the worst burst, endpoints that outgrow their bounds."""

import math

import numpy as np

from tierfleet.config import DedicatedTier, MultiModelTier
from tierfleet.planning.profiles.latency import Latency, load_steps
from tierfleet.planning.search.call_times import always_in_memory, container_p99, container_times, tier_latency
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption, TierLatency
from tierfleet.planning.search.proposed import instances_for_peak, proposed_config
from tierfleet.planning.search.requirements import Requirements


def latencies(model: FleetModel, option: FleetOption, dedicated_tier: str) -> tuple[TierLatency, ...]:
    """Call times of the shared tier and, if there are dedicated tenants, of their endpoints together."""
    dedicated = frozenset(option.dedicated)
    tail, tiers = model.tail(dedicated).workload, []
    if len(tail.tenants):
        p99 = container_p99(model.profile, tail.model_mb, tail.calls_per_day)
        times = model.tail_times(option)
        tiers.append(tier_latency(model.config.default_tier, times, p99, _outside(model.requirements, times)))
    own = np.array([name in dedicated for name in model.workload.tenants], np.bool_)
    if own.any():
        sizes, calls = model.workload.model_mb[own], model.workload.calls_per_day[own]
        times = always_in_memory(model.profile, sizes, calls, model.network)
        inside, limit = container_times(model.profile, sizes, calls), model.requirements.dedicated_p99_seconds
        outside = None if limit is None else inside.outside(warm_seconds=limit, cold_seconds=limit)
        tiers.append(tier_latency(dedicated_tier, times, inside.percentile(99), outside))
    return tuple(tiers)


def _outside(required: Requirements, times: Latency) -> float | None:
    """Share of the shared tier's calls that are slower than required; None if nothing is required."""
    warm, cold = required.warm_p95_seconds, required.cold_p95_seconds
    if warm is None and cold is None:
        return None
    return times.outside(
        warm_seconds=math.inf if warm is None else warm, cold_seconds=math.inf if cold is None else cold
    )


def burst_seconds(model: FleetModel, option: FleetOption) -> float:
    """Seconds that the last call waits if every tenant of the shared tier calls at once and no model is in memory.

    An upper bound for any burst of one call a tenant: the loads of the instance with the most to load, through its
    loading slots, behind the slowest fetch (its 95th percentile).
    """
    cache = model.tail(frozenset(option.dedicated))
    if not len(cache.workload.tenants):
        return 0.0
    steps = load_steps(model.profile, cache.workload.model_mb, vcpus=option.instance_type.vcpus, network=model.network)
    slow = np.percentile(steps.first_byte, 95) + steps.fetch * np.percentile(steps.slowdown, 95) + steps.extract
    each = np.bincount(cache.instance_of(option.instances), weights=steps.load)
    # As many loads run at once as there are slots, and as many models as the memory holds.
    memory, resident = model.memory_mib(option.instance_type), float(model.sizes(frozenset(option.dedicated))[0].max())
    slots = min(steps.loads_at_once, max(int(memory / resident), 1))
    # List scheduling ends at most one load after an even split (Graham 1969).
    return float(slow.max() + each.max() / slots + steps.load.max())


def beyond_max(model: FleetModel, option: FleetOption) -> list[str]:
    """Endpoints that need more instances in their busiest hour than the file allows, a sentence each."""
    dedicated = frozenset(option.dedicated)
    config = proposed_config(
        model.config,
        instance_type=option.instance_type,
        instances=option.instances,
        dedicated=dedicated,
        new_tier=model.prices.new_tier,
    )
    together = model.tail(dedicated).workload.peak_together_per_second
    texts = [_beyond(config.default_tier, config.multi_model_tiers[config.default_tier], together)]
    peaks = dict(zip(model.workload.tenants, model.workload.peak_per_second.tolist(), strict=True))
    for tier in config.dedicated_tiers.values():
        texts += [_beyond(tenant, tier, peaks[tenant]) for tenant in sorted(tier.tenants) if tenant in peaks]
    return [text for text in texts if text]


def _beyond(name: str, tier: MultiModelTier | DedicatedTier, peak_per_second: float) -> str:
    needed = instances_for_peak(tier, peak_per_second)
    if needed <= tier.most_instances:
        return ""
    return f"{name} needs {needed} x {tier.instance_type} in its busiest hour, and may have {tier.most_instances}"
