"""Whom a warm-up run probes, on which endpoint, in what order and for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tierfleet.runtime.route_document import Probe, RouteDocument, RoutesError, TierWarmUp


@dataclass(frozen=True, kw_only=True)
class WarmUpPlan:
    """One run of a warm-up."""

    endpoint_name: str
    tier: str
    tenants: tuple[str, ...]
    """Hottest first, each once."""
    elsewhere: Mapping[str, str]
    """Tenant to the reason why it is skipped."""
    probe: Probe
    concurrency: int
    """Probes in flight, at least 1."""
    deadline_seconds: float
    """When the run must have ended, 0 or more."""


def plan_warm_up(
    routes: RouteDocument,
    tier: str,
    *,
    endpoint_name: str | None = None,
    tenants: Sequence[str] | None = None,
    concurrency: int | None = None,
    deadline_seconds: float | None = None,
    most_seconds: float,
) -> WarmUpPlan:
    """The run that keeps a tier's listed tenants warm.

    endpoint_name: instead of the one in the routes, for an endpoint they do not name yet.
    tenants, concurrency, deadline_seconds: instead of the tier's own; tenants hottest first. With tenants a tier needs
    no warm-up of its own: concurrency is then 1 unless given.
    most_seconds: what the caller has left; the shorter of it and the deadline counts.
    Raises RoutesError if the tier has no multi-model endpoint, no probe, or no warm-up to take the tenants from.
    """
    if tier not in routes.tiers:
        raise RoutesError(f"tier {tier!r} is not in the routes, which have {sorted(routes.tiers)}")
    endpoint_name = endpoint_name or routes.tiers[tier].endpoint
    if endpoint_name is None:
        raise RoutesError(f"tier {tier!r} has no multi-model endpoint: only multi-model tiers are warmed")
    warm_up = routes.warm_ups.get(tier)
    probe = routes.probe_of(tier)
    if probe is None or (warm_up is None and tenants is None):
        raise RoutesError(f"tier {tier!r} has no warm_up, or the routes have no probe")
    # Tenants of a tier without a list are warmed one at a time, which takes no workers from live calls.
    own = warm_up or TierWarmUp((), 1, most_seconds)
    listed = tuple(dict.fromkeys(own.tenants if tenants is None else tenants))
    return WarmUpPlan(
        endpoint_name=endpoint_name,
        tier=tier,
        tenants=listed,
        elsewhere={
            tenant: f"it is on tier {routes.tier_of(tenant)}" for tenant in listed if routes.tier_of(tenant) != tier
        },
        probe=probe,
        concurrency=concurrency or own.concurrency,
        deadline_seconds=max(0.0, min(deadline_seconds or own.deadline_seconds, most_seconds)),
    )
