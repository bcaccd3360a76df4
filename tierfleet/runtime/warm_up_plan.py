"""Whom a warm-up run probes, on which endpoint, in what order and for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tierfleet.runtime.route_document import Probe, RouteDocument, RoutesError


@dataclass(frozen=True, kw_only=True)
class WarmUpPlan:
    """One run. tenants: hottest first, each once; elsewhere: tenant to the reason why it is skipped."""

    endpoint_name: str
    tier: str
    tenants: tuple[str, ...]
    elsewhere: Mapping[str, str]
    probe: Probe
    concurrency: int
    deadline_seconds: float


def plan_warm_up(
    routes: RouteDocument,
    tier: str,
    *,
    endpoint_name: str | None = None,
    tenants: Sequence[str] | None = None,
    most_seconds: float,
) -> WarmUpPlan:
    """The run that keeps a tier's listed tenants warm.

    endpoint_name: instead of the one in the routes, for an endpoint they do not name yet.
    tenants: instead of the tier's own list, hottest first.
    most_seconds: what the caller has left; the shorter of it and the tier's own deadline counts.
    Raises RoutesError if the tier has no shared endpoint, no warm-up or no probe.
    """
    if tier not in routes.tiers:
        raise RoutesError(f"tier {tier!r} is not in the routes, which have {sorted(routes.tiers)}")
    endpoint_name = endpoint_name or routes.tiers[tier].endpoint
    if endpoint_name is None:
        raise RoutesError(f"tier {tier!r} has no shared endpoint: only multi-model tiers are warmed")
    warm_up = routes.warm_ups.get(tier)
    if warm_up is None or routes.probe is None:
        raise RoutesError(f"tier {tier!r} has no warm_up, or the routes have no probe")
    listed = tuple(dict.fromkeys(warm_up.tenants if tenants is None else tenants))
    return WarmUpPlan(
        endpoint_name=endpoint_name,
        tier=tier,
        tenants=listed,
        elsewhere={
            tenant: f"it is on tier {routes.tier_of(tenant)}" for tenant in listed if routes.tier_of(tenant) != tier
        },
        probe=routes.probe,
        concurrency=warm_up.concurrency,
        deadline_seconds=max(0.0, min(warm_up.deadline_seconds, most_seconds)),
    )
