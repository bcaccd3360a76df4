"""How many resources and how many bytes of template a fleet becomes.

The counts are exact. The bytes are an estimate from measured parts, within 5 %, so that they are known without a
synthesis. Tests compare both with real templates.
"""

import json
from collections.abc import Mapping

from tierfleet.config.container import Container
from tierfleet.config.hosting import AnyTier
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.model import FleetConfig

# Resources of the root stack: of every fleet, of the first warm-up, of a shared tier and its options, of a whale's
# nested stack, of a route document in parts. A tier knows the resources inside its nested stacks.
FLEET_RESOURCES = 26
# The two route guards have no tags.
_UNTAGGED_RESOURCES = 2
FIRST_WARM_UP_RESOURCES = 6
MULTI_MODEL_RESOURCES = 15
SCALE_ON_CACHE_RESOURCES = 4
WARM_UP_RESOURCES = 1
NESTED_STACK_RESOURCES = 1
ROUTE_PARTS_RESOURCES = 1
# The gate that compares the endpoints of tenants that move: in fleets with a tier that says so.
COMPARISON_RESOURCES = 1

# Bytes of the root template, without its route document, at short names; then by character of a name.
_FLEET_BYTES = 31_340
_FIRST_WARM_UP_BYTES = 5_280
_FIRST_WHALE_BYTES = 1_340
_MULTI_MODEL_BYTES = 23_400
_SCALE_ON_CACHE_BYTES = 4_540
_WARM_UP_BYTES = 1_070
_WHALE_BYTES = 2_730
# Of a nested template, by resource at short names. The gate and the scaling policy have no tags.
_NESTED_RESOURCE_BYTES = 1_480
_UNTAGGED_NESTED_RESOURCES = 2
_COMPARISON_BYTES = 1_500
# The custom resource that copies the parts of a route document, and its permissions.
ROUTE_PARTS_BYTES = 2_630
_SCHEDULE_BYTES = 175
_TAG_BYTES = 50
_VARIABLE_BYTES = 14
_FLEET_NAME_BYTES = 50
_TIER_NAME_BYTES = 110
_FLEET_NAME_BYTES_OF_A_TIER = 62
_WHALE_NAME_BYTES = 17
# Most, but not all, resources take tags.
_TAGGED_SHARE = 0.75

Tiers = Mapping[str, AnyTier]


def root_resources(tiers: Tiers) -> int:
    """Resources of a fleet's root stack."""
    shared = [tier for tier in tiers.values() if isinstance(tier, MultiModelTier)]
    warmed = sum(tier.warm_up is not None for tier in shared)
    return (
        FLEET_RESOURCES
        + FIRST_WARM_UP_RESOURCES * bool(warmed)
        + MULTI_MODEL_RESOURCES * len(shared)
        + SCALE_ON_CACHE_RESOURCES * sum(tier.scale_on_cache is not None for tier in shared)
        + WARM_UP_RESOURCES * warmed
        + NESTED_STACK_RESOURCES * len(stack_resources(tiers))
        + COMPARISON_RESOURCES * any(tier.compares_moves for tier in tiers.values())
    )


def nested_resources(tiers: Tiers) -> int:
    """Resources of all nested stacks."""
    return sum(stack_resources(tiers))


def stack_resources(tiers: Tiers) -> list[int]:
    """Resources of each nested stack."""
    return [tier.stack_resources(tenant) for tier in tiers.values() for tenant in tier.stack_tenants]


def frame_bytes(config: FleetConfig) -> int:
    """About how many bytes the root stack's template has without its route document."""
    names = len(config.fleet) + len(config.environment) - 8
    tags, environment = _tag_bytes(config), _environment_bytes(config.container)
    size = _FLEET_BYTES + _FLEET_NAME_BYTES * names
    size += _FIRST_WARM_UP_BYTES * any(tier.warm_up for tier in config.multi_model_tiers.values())
    size += _FIRST_WHALE_BYTES * bool(stack_resources(config.tiers))
    size += _COMPARISON_BYTES * config.compares_moves
    for name, tier in config.tiers.items():
        if isinstance(tier, MultiModelTier):
            size += _MULTI_MODEL_BYTES + environment + _TIER_NAME_BYTES * (len(name) - 4)
            size += _FLEET_NAME_BYTES_OF_A_TIER * names + 14 * len(config.runbook_url) - 14 * 30
            size += _SCALE_ON_CACHE_BYTES * bool(tier.scale_on_cache) + _WARM_UP_BYTES * bool(tier.warm_up)
            size += sum(
                _SCHEDULE_BYTES + len(name) + len(item.schedule) + len(item.timezone)
                for name, item in tier.scaling.schedules.items()
            )
        else:
            size += sum(
                _WHALE_BYTES + _WHALE_NAME_BYTES * (len(tenant) + names + len(name) - 7)
                for tenant in tier.stack_tenants
            )
    return size + int(_TAGGED_SHARE * (root_resources(config.tiers) - _UNTAGGED_RESOURCES) * tags)


def nested_bytes(config: FleetConfig) -> dict[tuple[str, str], int]:
    """About how many bytes each nested stack's template has, by tier and tenant."""
    tags, sizes = _tag_bytes(config), {}
    for name, tier in config.tiers.items():
        for tenant in tier.stack_tenants:
            resources = tier.stack_resources(tenant)
            size = _NESTED_RESOURCE_BYTES * resources + tags * (resources - _UNTAGGED_NESTED_RESOURCES)
            # An endpoint of all tenants asks for no tenant's containers.
            of = tenant if tier.endpoint_per_tenant else None
            size += sum(map(_environment_bytes, tier.containers(config.container, of)))
            sizes[name, tenant] = size
    return sizes


def _tag_bytes(config: FleetConfig) -> int:
    """Of one resource's own tags of the fleet file."""
    return sum(_TAG_BYTES + json_length(key) + json_length(value) - 4 for key, value in config.tags.items())


def _environment_bytes(container: Container) -> int:
    return sum(_VARIABLE_BYTES + json_length(key) + json_length(value) for key, value in container.environment.items())


def whales(tiers: Tiers) -> int:
    """How many tenants have an endpoint of their own."""
    return sum(tier.endpoint_count for tier in tiers.values() if tier.endpoint_per_tenant)


def json_length(text: str) -> int:
    """Bytes of a text as JSON in UTF-8, its quotes included."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
