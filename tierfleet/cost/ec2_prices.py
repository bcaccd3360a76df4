"""Hosting prices computed from EC2's, which are public for nearly every region.

SageMaker charges 1.2 times EC2's on-demand price, rounded to a tenth of a cent or not at all, for an hour of hosting on
nearly every CPU instance of generation 5 or later. AWS does not promise that: a test compares the rule with every
hosting price that was read and whose EC2 price is known (95 % agree to a tenth of a cent). A price that was read and
agrees has EC2's as its second source. A price that is computed this way because none was read is marked as unchecked
wherever it is shown; `tierfleet prices refresh` replaces it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Final

from tierfleet.cost.price import Price, PriceSource
from tierfleet.instance_types import InstanceType, describe, hosted_in

HOSTING_OVER_EC2: Final = Decimal("1.2")
_TENTH_OF_A_CENT: Final = Decimal("0.001")


@dataclass(frozen=True)
class Ec2Prices:
    """US dollars for an hour of one vCPU by region and family, such as `m5`; Linux, on demand."""

    source: PriceSource | None = None
    usd_per_vcpu_hour: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def derived_prices(ec2: Ec2Prices, region: str) -> dict[str, Price]:
    """A price for every type that is offered in `region` and whose family has an EC2 price there."""
    if ec2.source is None:
        return {}
    source = PriceSource(
        f"derived-from-{ec2.source.name}",
        ec2.source.as_of,
        f"1.2 x EC2's on-demand price, which is what nearly all hosting prices are; {ec2.source.text}",
        check=True,
    )
    by_family = ec2.usd_per_vcpu_hour.get(region, {})
    return {
        kind.name: Price(kind.name, region, hosting_usd(by_family[kind.family], kind.vcpus), source, derived=True)
        for kind in _offered(region)
        if kind.family in by_family
    }


def hosting_usd(ec2_usd_per_vcpu_hour: float, vcpus: int) -> float:
    """US dollars for an hour of hosting on a type with `vcpus`, by the rule."""
    exact = Decimal(str(ec2_usd_per_vcpu_hour)) * vcpus * HOSTING_OVER_EC2
    return float(exact.quantize(_TENTH_OF_A_CENT, ROUND_HALF_UP))


@cache
def _offered(region: str) -> tuple[InstanceType, ...]:
    return tuple(describe(name) for name in sorted(hosted_in(region)))
