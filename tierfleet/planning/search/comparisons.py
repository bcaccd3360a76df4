"""What was found beside what else could be: other containers, other tiers, the next cheapest."""

from collections.abc import Iterator
from dataclasses import replace

from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.plan import Comparison, FleetOption
from tierfleet.planning.search.search import Bounds, Found, Tiering, search
from tierfleet.text import dollars, points


def compared(name: str, title: str, found: Found) -> Comparison:
    """As one line of a comparison."""
    some = found.options[0] if found.options else None
    return Comparison(name, title, bool(some and some.prototype), found.best, found.nearest)


def why_it_lost(best: FleetOption, other: FleetOption, *, kept_as_today: bool = False) -> str:
    """What the other fleet has, and what it costs: what a reader would choose between."""
    apart = abs(other.usd - best.usd)
    if kept_as_today and other.usd < best.usd:
        return f"{dollars(apart)} a month less, too little to change today's type and count for"
    price = f"{dollars(apart)} a month {'less' if other.usd < best.usd else 'more'}"
    gain = other.hit_ratio - best.hit_ratio
    if abs(gain) >= 5e-4:
        word = "higher" if gain > 0 else "lower"
        return f"{price}; its hit ratio of {points(other.hit_ratio)} is {abs(gain) * 100:.1f} points {word}"
    more = other.instances - best.instances
    if other.usd < best.usd and more > 0:
        return f"{price} for the same hit ratio, with {more} more instance{'s' if more > 1 else ''} to run"
    return f"{price} for the same hit ratio"


def tiering_alternatives(
    model: FleetModel, tiering: Tiering, bounds: Bounds, chosen: frozenset[str]
) -> Iterator[Comparison]:
    """The cheapest fleets with other tenants dedicated: as today, and nobody."""
    alternatives = {"as today": tiering.now, "nobody dedicated": frozenset[str]()}
    for name, dedicated in alternatives.items():
        if dedicated == chosen or (name == "nobody dedicated" and dedicated == tiering.now):
            continue
        fixed = tuple(replace(tier, dedicated=tier.tenant in dedicated) for tier in tiering.assigned)
        other = replace(tiering, assigned=fixed, keep=frozenset(tier.tenant for tier in fixed), anyway=frozenset())
        found = search(model, other, bounds)
        title = ", ".join(sorted(dedicated)) if len(dedicated) <= 8 else f"{len(dedicated)} tenants"
        yield compared(name, title, found)
