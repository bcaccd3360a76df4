"""What a fleet costs a month at AWS's list prices, line by line, tier by tier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.config import FleetConfig, Tier
from tierfleet.cost import asynchronous, items, serverless
from tierfleet.cost.bill import Bill, CostLine, Place
from tierfleet.cost.instance_hours import mean_instances
from tierfleet.cost.price import Price, UnknownPriceError
from tierfleet.cost.prices import UNITS_FROM, PriceTable
from tierfleet.cost.usage import Usage
from tierfleet.errors import InputError
from tierfleet.instance_types import describe
from tierfleet.text import counted


def _instances(bill: Bill, place: Place, tier: Tier, usage: Usage) -> None:
    """One tenant's endpoint with instances."""
    calls = usage.traffic.together([str(place[1])]) if usage.traffic else None
    items.endpoint(bill, place, tier, mean_instances(tier, calls))


TENANT_ENDPOINTS: Final[Mapping[str, Callable[[Bill, Place, Any, Usage], None]]] = {
    "dedicated": _instances,
    "multi-container": _instances,
    "serverless": serverless.endpoint,
    "pipeline": _instances,
    "async": asynchronous.endpoint,
}
"""Adds one tenant's endpoint to the bill, by the word of `hosting`."""


@dataclass(frozen=True)
class FleetCost:
    """The bill of one fleet, with the prices and assumptions behind it."""

    fleet: str
    """Fleet and environment, such as `fraud-prod`."""
    region: str
    """Whose prices are used."""
    lines: tuple[CostLine, ...]
    prices: tuple[Price, ...]
    """Every price that a line needed."""
    notes: tuple[str, ...]
    """What was assumed."""
    left_out: tuple[str, ...]
    """What the bill does not include, and which option adds it."""

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

    >>> from pathlib import Path
    >>> from tierfleet.config import load
    >>> from tierfleet.cost.prices import load_prices
    >>> cost = monthly_cost(load(Path("config/churn-prod.toml")), load_prices())
    >>> round(cost.usd, 2), round(cost.usd_at_max, 2)
    (247.32, 485.7)
    >>> max(cost.lines, key=lambda line: line.usd).detail
    '2 (2 to 4) x ml.r5.large at $0.151 an hour'

    usage: what the fleet file does not say, such as traffic; None: nothing is known. region: another region whose
    prices to use. Raises UnknownPriceError with every price that the table lacks, and InputError for usage that does
    not fit the fleet.
    """
    usage = usage or Usage()
    bill = Bill(prices, region or config.region)
    if usage.nat_gateways and config.network is None:
        raise InputError("nat_gateways is set, but the fleet has no [network], and SageMaker's own needs none")
    served = _shared_tenants(config, usage)
    for name, shared in config.multi_model_tiers.items():
        calls = usage.traffic.together(served[name]) if usage.traffic else None
        items.endpoint(bill, (name, None), shared, mean_instances(shared, calls))
        items.warm_up(bill, name, shared)
        if usage.traffic:
            cached = shared.model_cache == "Enabled"
            items.shared_calls(bill, name, cached=cached, traffic=usage.traffic, tenants=served[name], usage=usage)
    for name, pipeline in config.shared_pipeline_tiers.items():
        calls = usage.traffic.together(served[name]) if usage.traffic else None
        items.endpoint(bill, (name, None), pipeline, mean_instances(pipeline, calls))
        if usage.traffic:
            items.shared_calls(bill, name, cached=True, traffic=usage.traffic, tenants=served[name], usage=usage)
    for name, own in config.tenant_endpoint_tiers.items():
        for tenant in sorted(own.tenants):
            TENANT_ENDPOINTS[own.hosting](bill, (name, tenant), own, usage)
            if usage.traffic:
                items.endpoint_logs(bill, (name, tenant), usage.traffic.calls_per_day(tenant), usage)
    items.storage(bill, config, served, usage)
    items.whole_fleet(bill, config, served, usage)
    if bill.unknown:
        raise UnknownPriceError("\n".join(dict.fromkeys(bill.unknown.values())))
    _add_notes(bill, config, usage)
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
    tenants = {name: list(tier.tenants) for name, tier in config.tiers.items() if not tier.endpoint_per_tenant}
    if usage.traffic:
        tenants[config.default_tier] = [tenant for tenant in usage.traffic.calls_per_hour if tenant not in elsewhere]
    return tenants


def _add_notes(bill: Bill, config: FleetConfig, usage: Usage) -> None:
    """Adds to the bill what was assumed and what is not in it."""
    notes, left_out = bill.notes, bill.left_out
    notes.append("a month has 730 hours; list prices on demand, without free tiers, Savings Plans, discounts and taxes")
    if bill.region != config.region:
        notes.append(f"priced as in {bill.region}, although the fleet is in {config.region}")
    unchecked = sorted(name for name, price in bill.used.items() if name.startswith("ml.") and price.unchecked)
    if unchecked:
        notes.append(f"unchecked prices: {', '.join(unchecked)} (no second source; tierfleet prices refresh)")
    borrowed = sorted(price.name for price in bill.used.values() if price.borrowed_from)
    if borrowed:
        notes.append(
            f"the table has no price of {', '.join(borrowed)} in {bill.region}: {UNITS_FROM}'s are used (unchecked)"
        )
    if usage.traffic:
        notes.append(
            "expected: as many instances in each hour of a mean day as keep calls at the scaling target, at once"
        )
    else:
        notes.append("expected: every endpoint at its lower bounds, since no traffic was given (--traffic)")
    if any(tier.scale_on_cache for tier in config.multi_model_tiers.values()):
        notes.append("instances that scale_on_cache adds are in the column at max only")
    if any(tier.warm_up for tier in config.multi_model_tiers.values()):
        notes.append("a warm-up runs until its deadline, which is the most it can")
    if usage.artefact_megabytes is not None:
        versions = counted(usage.versions_kept, "version")
        notes.append(f"{versions} of each model in the bucket (--versions-kept)")
    serverless.add_notes(bill, config, usage)
    asynchronous.add_notes(bill, config, usage)
    starts = "caller process that starts" if usage.callers == 1 else "caller processes that start"
    notes.append(f"{usage.callers} {starts} again {usage.restarts_per_month:g} times a month (--callers)")
    defaults = [
        name
        for name, tier in sorted(config.instance_tiers.items())
        if tier.volume_size_in_gb is None and not describe(tier.instance_type).local_nvme and tier.endpoint_count
    ]
    if defaults:
        left_out.append(f"volumes of {', '.join(defaults)}: SageMaker chooses their size; set volume_size_in_gb")
    if usage.artefact_megabytes is None:
        left_out.append("model storage: give --artefact-megabytes")
    elif usage.tail_tenants is None and usage.traffic is None:
        left_out.append(f"model storage of tier {config.default_tier}: give --tail-tenants or --traffic")
    if usage.traffic is None:
        left_out.append("S3 requests of calls: give --traffic")
    if usage.cold_share is None:
        left_out.append("models read from S3 by cold calls: give --cold-share (transfer within the region is free)")
    if not usage.log_bytes_per_call:
        left_out.append("what the containers log: give --log-bytes-per-call")
    if not usage.client_metrics:
        left_out.append("metrics that callers publish: give --client-metrics")
    if usage.nat_gateways and (usage.cold_share is None or usage.traffic is None or usage.artefact_megabytes is None):
        left_out.append("data through the NAT gateways: give --traffic, --cold-share and --artefact-megabytes")
    if config.network is not None and not usage.nat_gateways:
        left_out.append("NAT gateways, where the VPC has no S3 gateway endpoint: give --nat-gateways")
    left_out.append(
        "second sets of instances while endpoints update, data processed by endpoints, publishing models, SNS, KMS, "
        "image storage, Lambda's logs, custom resources of deployments"
    )
