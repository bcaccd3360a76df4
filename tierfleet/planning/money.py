"""The monthly bill of the shown fleet: by tier, and line by line with prices and quantities."""

from collections.abc import Iterator
from typing import Final

from tierfleet.cost.bill import CostLine
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.cost.price import PriceSource
from tierfleet.planning.plan import Money
from tierfleet.planning.plan_parts import BillLine
from tierfleet.text import counted

_WHOLE_FLEET: Final = "whole fleet"
# The group of each item of a bill. All other items are alarms, metrics and logs of CloudWatch.
_GROUPS: Final = {
    "instances": "instances",
    "volumes": "volumes",
    "S3 requests": "S3",
    "model storage": "S3",
    "dashboard": "CloudWatch",
    "warm-up": "other",
    "route polling": "other",
    "NAT data": "other",
    "NAT gateways": "other",
}
_ORDER: Final = ("instances", "volumes", "S3", "CloudWatch", "other")
# A tier with more different details than this gets one line for all its endpoints.
_MAX_DETAILS: Final = 6


def money(cost: FleetCost) -> Money:
    """The bill of one fleet."""
    by_tier: dict[str, float] = {}
    for (tier, _), usd in cost.by_place().items():
        by_tier[tier or _WHOLE_FLEET] = by_tier.get(tier or _WHOLE_FLEET, 0.0) + usd
    return Money(by_tier=by_tier, bill=tuple(_bill(cost)), prices_of=_price_sources(cost))


def _bill(cost: FleetCost) -> Iterator[BillLine]:
    """Groups in a fixed order; in a group, tiers by name and the whole fleet last."""
    lines: dict[tuple[str, str | None, str], list[CostLine]] = {}
    for line in cost.lines:
        lines.setdefault((_group(line.item), line.tier, line.item), []).append(line)
    for key in sorted(lines, key=lambda key: (_ORDER.index(key[0]), key[1] is None, key[1] or "", key[2])):
        group, tier, item = key
        for detail, usd in _details(lines[key]):
            yield BillLine(group, tier or _WHOLE_FLEET, detail if item == group else f"{item}: {detail}", usd)


def _group(item: str) -> str:
    return _GROUPS.get(item, "CloudWatch")


def _details(lines: list[CostLine]) -> list[tuple[str, float]]:
    """Details and US dollars a month of one item of one tier; equal details of several endpoints are added up."""
    amounts: dict[str, list[float]] = {}
    for line in lines:
        hours = ", 730 hours" if line.item == "instances" else ""
        amounts.setdefault(f"{line.detail}{hours}", []).append(line.usd)
    if len(amounts) > _MAX_DETAILS:
        return [(counted(len(lines), "endpoint"), sum(line.usd for line in lines))]
    return [
        (detail if len(usd) == 1 else f"{len(usd)} endpoints, each {detail}", sum(usd))
        for detail, usd in amounts.items()
    ]


def _price_sources(cost: FleetCost) -> tuple[str, ...]:
    """Where the prices come from, the latest first."""
    names: dict[tuple[PriceSource, bool], list[str]] = {}
    for price in cost.prices:
        names.setdefault((price.source, price.unchecked), []).append(price.name)
    return tuple(
        f"{source.as_of}: {', '.join(sorted(priced))} ({source.text}{'; unchecked' if unchecked else ''})"
        for (source, unchecked), priced in sorted(names.items(), key=lambda item: item[0][0].as_of, reverse=True)
    )
