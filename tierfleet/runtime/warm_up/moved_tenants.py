"""Tenants that move to a multi-model endpoint with the next routes: demoted, or from another multi-model tier."""

from tierfleet.runtime.route_document import RouteDocument


def moved_tenants(deployed: RouteDocument, hosted: RouteDocument) -> dict[str, tuple[str, ...]]:
    """By multi-model tier of `hosted`, the tenants that `deployed` has elsewhere, hottest first.

    Tenants with an endpoint of their own so far come first, then those of the tier's warm-up list in its order, then
    the others by name. A tenant that neither document names moves only where the default tier changes: those on a
    warm-up list are known.
    """
    listed = {
        tenant for routes in (deployed, hosted) for warm_up in routes.warm_ups.values() for tenant in warm_up.tenants
    }
    moved: dict[str, list[str]] = {}
    for tenant in {*deployed.tenants, *hosted.tenants, *listed}:
        tier = hosted.tier_of(tenant)
        if hosted.tiers[tier].endpoint is None:
            continue
        if deployed.tier_of(tenant) != tier or _had_its_own(deployed, tenant):
            moved.setdefault(tier, []).append(tenant)
    return {tier: tuple(_hottest_first(tenants, tier, deployed, hosted)) for tier, tenants in sorted(moved.items())}


def _had_its_own(deployed: RouteDocument, tenant: str) -> bool:
    return not deployed.tiers[deployed.tier_of(tenant)].shared


def _hottest_first(tenants: list[str], tier: str, deployed: RouteDocument, hosted: RouteDocument) -> list[str]:
    warm_up = hosted.warm_ups.get(tier)
    place = {tenant: number for number, tenant in enumerate(warm_up.tenants if warm_up else ())}

    def rank(tenant: str) -> tuple[bool, int, str]:
        return not _had_its_own(deployed, tenant), place.get(tenant, len(place)), tenant

    return sorted(tenants, key=rank)
