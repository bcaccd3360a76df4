"""Hosting prices that a table lists by family, one number for each size.

    [hosting_by_family]
    source = "price-list-copy-2026-09-22"

    [hosting_by_family.usd.eu-west-1]
    m5 = [0.128, 0.257, 0.514, 1.027, 3.082, 6.163]

There is a number for each size that the region offers (data/hosting_regions.toml), the smallest first.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tierfleet.cost.price import Price, PriceSource
from tierfleet.instance_types import InstanceType, describe, hosted_in, hosting_regions

# EC2's price times 1.2 confirms a price that it meets to a tenth of a cent.
_SAME_USD: Final = 0.0006


def family_prices(
    table: Mapping[str, Any], sources: Mapping[str, PriceSource], mistakes: list[str]
) -> dict[str, dict[str, Price]]:
    """Prices by region and type. mistakes: gets what is wrong with `table`."""
    by_region = table.get("usd")
    if not isinstance(by_region, Mapping) or not all(isinstance(row, Mapping) for row in by_region.values()):
        mistakes.append("[hosting_by_family]: needs source and tables [hosting_by_family.usd.REGION]")
        return {}
    source = sources.get(str(table.get("source")))
    if source is None:
        mistakes.append(
            f"[hosting_by_family] source = {table.get('source')!r}; name one of [sources]: {', '.join(sources)}"
        )
        return {}
    prices: dict[str, dict[str, Price]] = {}
    for region, families in by_region.items():
        if region not in hosting_regions():
            mistakes.append(f"[hosting_by_family.usd.{region}]: no region that hosts models")
            continue
        offered = _offered(region)
        for family, amounts in families.items():
            sizes = offered.get(family, [])
            if not isinstance(amounts, list) or len(amounts) != len(sizes) or not all(map(_is_amount, amounts)):
                named = ", ".join(size.name for size in sizes) or f"no type of {family}"
                mistakes.append(
                    f"[hosting_by_family.usd.{region}] {family} = {amounts!r}; write a number from 0 for each size: "
                    f"{region} offers {named}"
                )
                continue
            prices.setdefault(region, {}).update(
                (size.name, Price(size.name, region, float(usd), source))
                for size, usd in zip(sizes, amounts, strict=True)
            )
    return prices


def confirmed(price: Price, other: Price | None) -> Price:
    """The price with the other's source as its second one, if it has none and both are the same."""
    if price.second is not None or other is None or other.source == price.source:
        return price
    return replace(price, second=other.source) if abs(price.usd - other.usd) <= _SAME_USD else price


def _offered(region: str) -> dict[str, list[InstanceType]]:
    """The sizes of each family, the smallest first."""
    families: dict[str, list[InstanceType]] = {}
    for size in sorted(map(describe, hosted_in(region)), key=lambda size: (size.vcpus, size.memory_gib)):
        families.setdefault(size.family, []).append(size)
    return families


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
