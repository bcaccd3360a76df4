"""What a fleet costs a month at AWS's list prices, line by line, tier by tier."""

from dataclasses import dataclass

from tierfleet.config import FleetConfig
from tierfleet.errors import InputError
from tierfleet.planning import cost_items, cost_notes
from tierfleet.planning.bill import Bill, CostLine, Place
from tierfleet.planning.instance_hours import mean_instances
from tierfleet.planning.prices import Price, PriceTable, UnknownPriceError
from tierfleet.planning.usage import Usage


@dataclass(frozen=True)
class FleetCost:
    """The bill of one fleet, with all it rests on. notes: what was assumed; left_out: what is not in it."""

    fleet: str
    region: str
    lines: tuple[CostLine, ...]
    prices: tuple[Price, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def usd(self) -> float:
        """US dollars a month, as expected."""
        return sum(line.usd for line in self.lines)

    @property
    def usd_at_min(self) -> float:
        """With every endpoint at its lower bound."""
        return sum(line.usd_at_min for line in self.lines)

    @property
    def usd_at_max(self) -> float:
        """With every endpoint at its upper bound."""
        return sum(line.usd_at_max for line in self.lines)

    def by_place(self) -> dict[Place, float]:
        """US dollars a month, as expected, by tier and tenant."""
        places: dict[Place, float] = {}
        for line in self.lines:
            place = (line.tier, line.tenant)
            places[place] = places.get(place, 0.0) + line.usd
        return places


def monthly_cost(
    config: FleetConfig, prices: PriceTable, usage: Usage | None = None, *, region: str | None = None
) -> FleetCost:
    """The cost of a month of 730 hours, without free tiers, discounts and taxes.

    region: the prices of another region than the fleet's, to compare. Raises UnknownPriceError where the table lacks
    a price, and InputError for usage that does not fit the fleet.
    """
    usage = usage or Usage()
    bill = Bill(prices, region or config.region)
    if usage.nat_gateways and config.network is None:
        raise InputError("nat_gateways is set, but the fleet has no [network], and SageMaker's own needs none")
    served = _shared_tenants(config, usage)
    for name, shared in config.multi_model_tiers.items():
        calls = usage.traffic.together(served[name]) if usage.traffic else None
        cost_items.endpoint(bill, (name, None), shared, mean_instances(shared, calls))
        cost_items.warm_up(bill, name, shared)
        if usage.traffic:
            cost_items.shared_calls(bill, name, shared, usage.traffic, served[name], usage)
    for name, dedicated in config.dedicated_tiers.items():
        for tenant in sorted(dedicated.tenants):
            calls = usage.traffic.together([tenant]) if usage.traffic else None
            cost_items.endpoint(bill, (name, tenant), dedicated, mean_instances(dedicated, calls))
            if usage.traffic:
                cost_items.endpoint_logs(bill, (name, tenant), usage.traffic.calls_per_day(tenant), usage)
    cost_items.storage(bill, config, served, usage)
    cost_items.whole_fleet(bill, config, served, usage)
    if bill.unknown:
        raise UnknownPriceError("\n".join(dict.fromkeys(bill.unknown.values())))
    cost_notes.assumptions(bill, config, usage)
    fleet = f"{config.fleet}-{config.environment}"
    return FleetCost(
        fleet, bill.region, tuple(bill.lines), tuple(bill.used.values()), tuple(bill.notes), tuple(bill.left_out)
    )


def tenant_costs(cost: FleetCost, config: FleetConfig, usage: Usage) -> dict[str, float]:
    """US dollars a month by tenant: a dedicated one's own endpoint; a shared tier's cost divided by calls.

    Tenants of a tier without traffic, and what belongs to the whole fleet, are not in it.
    """
    places = cost.by_place()
    costs = {tenant: usd for (_, tenant), usd in places.items() if tenant}
    if usage.traffic:
        for name, tenants in _shared_tenants(config, usage).items():
            calls = {tenant: usage.traffic.calls_per_day(tenant) for tenant in tenants}
            total = sum(calls.values())
            if total:
                costs |= {tenant: places[name, None] * share / total for tenant, share in calls.items()}
    return costs


def _shared_tenants(config: FleetConfig, usage: Usage) -> dict[str, list[str]]:
    """The tenants of each shared tier, as far as they are known: listed, or in the traffic."""
    elsewhere = {tenant for tier in config.tiers.values() for tenant in tier.tenants}
    tenants = {name: list(tier.tenants) for name, tier in config.multi_model_tiers.items()}
    if usage.traffic:
        tenants[config.default_tier] = [tenant for tenant in usage.traffic.calls_per_hour if tenant not in elsewhere]
    return tenants
