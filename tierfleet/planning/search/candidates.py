"""Which instance types a search may use."""

from functools import cache

from tierfleet import images
from tierfleet.config import FleetConfig
from tierfleet.cost.prices import PriceTable
from tierfleet.errors import InputError
from tierfleet.instance_types import InstanceType, describe, hosted_in, hosting_regions


def candidate_types(
    config: FleetConfig, prices: PriceTable
) -> tuple[tuple[InstanceType, ...], tuple[InstanceType, ...]]:
    """The types that the shared tier may use, by name: types with a price, and types without one."""
    allowed = [
        instance_type for instance_type in offered_instance_types(config.region) if _allowed(config, instance_type)
    ]
    priced = prices.hosting.get(config.region, {})
    return (
        tuple(instance_type for instance_type in allowed if instance_type.name in priced),
        tuple(instance_type for instance_type in allowed if instance_type.name not in priced),
    )


def _allowed(config: FleetConfig, instance_type: InstanceType) -> bool:
    tail = config.multi_model_tiers[config.default_tier]
    if instance_type.burstable or (instance_type.local_nvme and config.encryption.volume_kms_key_arn):
        return False
    built_for = images.GRAVITON_VERSIONS.get(config.container.image)
    if instance_type.graviton and built_for is not None:
        return config.container.version in built_for
    # An image of the user's own is known to run on the architecture that it runs on today, and on no other.
    return not instance_type.graviton or describe(tail.instance_type).graviton


@cache
def offered_instance_types(region: str) -> tuple[InstanceType, ...]:
    """The CPU types offered for real-time hosting in `region`, by name.

    An offered type need not have a price in the table: ask `PriceTable.hourly_price`.
    Raises InputError for a region that is not in data/hosting_regions.toml.
    """
    if region not in hosting_regions():
        known = ", ".join(sorted(hosting_regions()))
        raise InputError(f"region {region} is not among those known to host models: {known}")
    return tuple(describe(name) for name in sorted(hosted_in(region)))
