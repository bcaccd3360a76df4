"""Which instance types SageMaker hosts models on in a region, with what a search needs of each."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from tierfleet.instance_types import InstanceType, describe, hosting_types
from tierfleet.planning.errors import PlanningInputError


@cache
def offered_instance_types(region: str) -> tuple[InstanceType, ...]:
    """The CPU types offered for real-time hosting in `region`, by name; vCPUs and memory in GiB in each.

    A type that is offered need not have a price in the table: ask `PriceTable.hourly_price`.
    Raises PlanningInputError for a region that is not in data/hosting_regions.toml.
    """
    offers = _offers()
    if region not in offers:
        raise PlanningInputError(f"region {region} is not among those known to host models: {', '.join(offers)}")
    families, without = set(offers[region]["families"]), set(offers[region].get("without", ()))
    names = sorted(name for name in hosting_types() if name.rpartition(".")[0] in families and name not in without)
    return tuple(describe(name) for name in names)


@cache
def _offers() -> dict[str, Any]:
    return tomllib.loads((files("tierfleet") / "data/hosting_regions.toml").read_text(encoding="utf-8"))
