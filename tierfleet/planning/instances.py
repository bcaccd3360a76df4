"""Which instance types SageMaker hosts models on in a region, with what a search needs of each."""

from functools import cache

from tierfleet.errors import InputError
from tierfleet.instance_types import InstanceType, describe, hosted_in, hosting_regions


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
