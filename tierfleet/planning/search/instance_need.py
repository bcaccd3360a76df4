"""Endpoints whose calls outgrow the bounds that the fleet file sets them."""

from tierfleet.config import DedicatedTier, MultiModelTier
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.plan import FleetOption
from tierfleet.planning.search.proposed import instances_for_peak, proposed_config


def beyond_max(model: FleetModel, option: FleetOption) -> list[str]:
    """Which endpoints need more instances in their busiest hour than they may have, each in a sentence."""
    dedicated = frozenset(option.dedicated)
    config = proposed_config(
        model.config,
        instance_type=option.instance_type,
        instances=option.instances,
        dedicated=dedicated,
        new_tier=model.prices.new_tier,
    )
    together = model.tail(dedicated).workload.peak_together_per_second
    found = [_beyond(config.default_tier, config.multi_model_tiers[config.default_tier], together)]
    peaks = dict(zip(model.workload.tenants, model.workload.peak_per_second.tolist(), strict=True))
    for tier in config.dedicated_tiers.values():
        found += [_beyond(tenant, tier, peaks[tenant]) for tenant in sorted(tier.tenants) if tenant in peaks]
    return [text for text in found if text]


def _beyond(name: str, tier: MultiModelTier | DedicatedTier, peak_per_second: float) -> str:
    needed = instances_for_peak(tier, peak_per_second)
    if needed <= tier.most_instances:
        return ""
    return f"{name} needs {needed} x {tier.instance_type} in its busiest hour, and may have {tier.most_instances}"
