"""Which tenants the next routes move to a multi-model endpoint."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.warm_up.moved_tenants import moved_tenants

SHARED, OWN = ("tail", "rare"), ("whale", "orca")
TENANTS = tuple(f"t{number}" for number in range(6))
placed = st.dictionaries(st.sampled_from(TENANTS), st.sampled_from((*SHARED, *OWN)), max_size=6)
lists = st.lists(st.sampled_from(TENANTS), unique=True)


def routes(
    tenants: dict[str, str] | None = None, listed: tuple[str, ...] | list[str] = (), default: str = "tail", **other: Any
) -> RouteDocument:
    """tenants: tenant to tier; listed: the warm-up list of tier tail; other: keys of the document to replace."""
    tiers = {name: {"hosting": "multi-model", "endpoint": f"shop--test--{name}--all--mme-m5-large"} for name in SHARED}
    document = {
        "version": 1,
        "fleet": "shop",
        "environment": "test",
        "default_tier": default,
        "tiers": {**tiers, **{name: {"hosting": "dedicated"} for name in OWN}},
        "tenants": {
            tenant: {"tier": tier, "endpoint": f"shop--test--{tier}--{tenant}--x"}
            for tenant, tier in (tenants or {}).items()
        },
        "warm_up": {
            "probe": {"content_type": "text/csv", "body": "0"},
            "tiers": {"tail": {"tenants": list(listed), "concurrency": 2, "deadline_seconds": 780}},
        },
        **other,
    }
    return parse_routes(json.dumps(document))


def test_a_demoted_tenant_comes_to_the_default_tier() -> None:
    assert moved_tenants(routes({"t1": "whale", "t2": "whale"}), routes({"t2": "whale"})) == {"tail": ("t1",)}


def test_a_tenant_moves_between_shared_tiers_both_ways() -> None:
    before, after = routes({"t1": "rare"}), routes({"t2": "rare"})
    assert moved_tenants(before, after) == {"rare": ("t2",), "tail": ("t1",)}


def test_a_promoted_tenant_and_a_whale_that_changes_its_tier_need_no_warm_up() -> None:
    assert moved_tenants(routes({"t1": "whale"}), routes({"t1": "orca", "t2": "whale"})) == {}


def test_another_endpoint_or_another_list_moves_no_tenant() -> None:
    renamed = {name: {"hosting": "multi-model", "endpoint": f"{name}-q3f7xk"} for name in SHARED}
    tiers = {**renamed, **{name: {"hosting": "dedicated"} for name in OWN}}
    assert moved_tenants(routes({"t1": "rare"}), routes({"t1": "rare"}, ["t1", "t2"], tiers=tiers)) == {}


def test_a_tier_that_becomes_shared_warms_the_tenants_that_had_endpoints_there() -> None:
    tiers = {name: {"hosting": "multi-model", "endpoint": name} for name in ("tail", "whale")}
    after = routes({"t1": "whale"}, tiers=tiers)
    assert moved_tenants(routes({"t1": "whale"}), after) == {"whale": ("t1",)}


def test_another_default_tier_warms_the_tenants_that_the_lists_name() -> None:
    assert moved_tenants(routes(), routes(listed=["t1"], default="rare")) == {"rare": ("t1",)}


def test_whales_come_first_then_the_list_then_the_others() -> None:
    before = routes({"t0": "rare", "t1": "rare", "t2": "rare", "t3": "whale", "t4": "rare"})
    assert moved_tenants(before, routes(listed=["t4", "t2"])) == {"tail": ("t3", "t4", "t2", "t0", "t1")}


@given(placed, placed, lists)
def test_each_tenant_that_comes_to_a_shared_tier_is_named_once(
    before: dict[str, str], after: dict[str, str], listed: list[str]
) -> None:
    moved = moved_tenants(routes(before), routes(after, listed))
    for tenant in TENANTS:
        old, new = before.get(tenant, "tail"), after.get(tenant, "tail")
        named = [tier for tier, tenants in moved.items() for other in tenants if other == tenant]
        assert named == ([new] if new in SHARED and new != old else [])
