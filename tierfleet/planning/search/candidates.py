"""Which instance types a search may use."""

from functools import cache

from tierfleet import images
from tierfleet.config import FleetConfig
from tierfleet.cost.prices import PriceTable
from tierfleet.errors import InputError
from tierfleet.instance_types import InstanceType, describe, hosted_in, hosting_regions


def candidate_types(config: FleetConfig, prices: PriceTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Types that the shared tier may use, by name; and those left out only because the table has no price of them."""
    offered = [found for found in offered_instance_types(config.region) if _allowed(config, found)]
    priced = prices.hosting.get(config.region, {})
    names = [found.name for found in offered]
    return tuple(name for name in names if name in priced), tuple(name for name in names if name not in priced)


def _allowed(config: FleetConfig, found: InstanceType) -> bool:
    tail = config.multi_model_tiers[config.default_tier]
    if found.burstable or (found.local_nvme and config.encryption.volume_kms_key_arn):
        return False
    built_for = images.GRAVITON_VERSIONS.get(config.container.image)
    if found.graviton and built_for is not None:
        return config.container.version in built_for
    # Of other images nobody knows what they are built for.
    return not found.graviton or describe(tail.instance_type).graviton


@cache
def offered_instance_types(region: str) -> tuple[InstanceType, ...]:
    """The CPU types offered for real-time hosting in `region`, by name; vCPUs and memory in GiB in each.

    A type that is offered need not have a price in the table: ask `PriceTable.hourly_price`.
    Raises InputError for a region that is not in data/hosting_regions.toml.
    """
    if region not in hosting_regions():
        known = ", ".join(sorted(hosting_regions()))
        raise InputError(f"region {region} is not among those known to host models: {known}")
    return tuple(describe(name) for name in sorted(hosted_in(region)))
