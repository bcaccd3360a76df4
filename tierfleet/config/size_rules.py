"""How many resources and how many bytes of template a fleet becomes, against CloudFormation's limits.

The counts are exact. The bytes are an estimate from measured parts, within 5 %, so that `config check` needs no
synthesis; a synthesis checks the exact size. Tests hold both against real templates.
"""

import json
from collections.abc import Iterator, Mapping

from tierfleet import routes
from tierfleet.aws_limits import (
    EVENT_PATTERN,
    HOSTED_DOCUMENT_BYTES,
    OPERATION_RESOURCES,
    SCALABLE_TARGETS,
    STACK_RESOURCES,
    TEMPLATE_BYTES,
)
from tierfleet.config.model import DedicatedTier, FleetConfig, MultiModelTier
from tierfleet.config.problems import Problem

# Resources of the root stack: of every fleet, of the first warm-up, of a shared tier and its options, of a whale's
# nested stack; and the resources inside that.
FLEET_RESOURCES = 23
FIRST_WARM_UP_RESOURCES = 6
MULTI_MODEL_RESOURCES = 15
SCALE_ON_CACHE_RESOURCES = 4
WARM_UP_RESOURCES = 1
NESTED_STACK_RESOURCES = 1
WHALE_RESOURCES = 13

# Bytes of the root template, without its route document, at short names; then by character of a name.
_FLEET_BYTES = 25_850
_FIRST_WARM_UP_BYTES = 4_050
_FIRST_WHALE_BYTES = 1_180
_MULTI_MODEL_BYTES = 23_400
_SCALE_ON_CACHE_BYTES = 4_540
_WARM_UP_BYTES = 1_070
_WHALE_BYTES = 2_890
_SCHEDULE_BYTES = 175
_TAG_BYTES = 50
_VARIABLE_BYTES = 14
_FLEET_NAME_BYTES = 50
_TIER_NAME_BYTES = 110
_FLEET_NAME_BYTES_OF_A_TIER = 62
_WHALE_NAME_BYTES = 17
# Most, but not all, resources take tags.
_TAGGED_SHARE = 0.75
_EVENT_PATTERN_CHARACTERS = 140

_Tiers = Mapping[str, MultiModelTier | DedicatedTier]


def root_resources(tiers: _Tiers) -> int:
    """Resources of a fleet's root stack."""
    shared = [tier for tier in tiers.values() if isinstance(tier, MultiModelTier)]
    warmed = sum(tier.warm_up is not None for tier in shared)
    return (
        FLEET_RESOURCES
        + FIRST_WARM_UP_RESOURCES * bool(warmed)
        + MULTI_MODEL_RESOURCES * len(shared)
        + SCALE_ON_CACHE_RESOURCES * sum(tier.scale_on_cache is not None for tier in shared)
        + WARM_UP_RESOURCES * warmed
        + NESTED_STACK_RESOURCES * _whales(tiers)
    )


def check_counts(tiers: _Tiers) -> Iterator[Problem]:
    """Resources of the root stack and of the whole tree, and scalable targets."""
    whales = _whales(tiers)
    shared = len(tiers) - sum(isinstance(tier, DedicatedTier) for tier in tiers.values())
    root, most = root_resources(tiers), STACK_RESOURCES.most
    fix = "move tenants to a shared tier or split the fleet in two"
    if root > most:
        message = (
            f"{shared} shared tiers and {whales} dedicated tenants make {root} resources in one stack, CloudFormation "
            f"takes {most}"
        )
        yield Problem("tiers", "tenants", None, message, "use fewer shared tiers or split the fleet in two")
    total, most = root + whales * WHALE_RESOURCES, OPERATION_RESOURCES.most
    if total > most:
        each = NESTED_STACK_RESOURCES + WHALE_RESOURCES
        fits = max(0, (most - total + whales * each) // each)
        message = (
            f"{whales} dedicated tenants make {total} resources, at most {most} fit one stack tree "
            f"({fits} dedicated tenants)"
        )
        yield Problem("tiers", "tenants", None, message, fix)
    if whales + shared > SCALABLE_TARGETS.most:
        message = f"{whales + shared} endpoints need as many scalable targets, AWS allows {SCALABLE_TARGETS.most}"
        yield Problem("tiers", "tenants", None, message, "move tenants to a shared tier or another region")


def check_sizes(config: FleetConfig) -> Iterator[Problem]:
    """The route document, the root template and the pattern of the warm-up's event."""
    document = len(routes.route_json(config))
    parts = "shorten warm-up lists, tenants of further shared tiers, the probe or tags, or split the fleet in two"
    if document > HOSTED_DOCUMENT_BYTES.most:
        message = (
            f"the route document's size is {document:,} bytes, AppConfig hosts 2 MB ({HOSTED_DOCUMENT_BYTES.most:,})"
        )
        yield Problem("", "tiers", None, message, parts)
    template = template_bytes(config)
    if template > TEMPLATE_BYTES.most:
        message = (
            f"the stack's template would have a size of about {template:,} bytes, CloudFormation takes 1 MB "
            f"({TEMPLATE_BYTES.most:,})"
        )
        yield Problem("", "tiers", None, message, parts)
    warmed = [routes.endpoint_name(config, name) for name, tier in config.multi_model_tiers.items() if tier.warm_up]
    pattern = _EVENT_PATTERN_CHARACTERS + sum(len(name) + 3 for name in warmed)
    if pattern > EVENT_PATTERN.most:
        message = (
            f"the event pattern of {len(warmed)} warm-ups has {pattern:,} characters, EventBridge takes "
            f"{EVENT_PATTERN.most:,}"
        )
        yield Problem("", "tiers", None, message, "warm fewer tiers or shorten their names")


def template_bytes(config: FleetConfig) -> int:
    """About how many bytes the root stack's template has."""
    whales = _whales(config.tiers)
    names = len(config.fleet) + len(config.environment) - 8
    tags = sum(_TAG_BYTES + _json_length(key) + _json_length(value) - 4 for key, value in config.tags.items())
    environment = sum(
        _VARIABLE_BYTES + _json_length(key) + _json_length(value) for key, value in config.container.environment.items()
    )
    size = _json_length(routes.route_json(config)) + _FLEET_BYTES + _FLEET_NAME_BYTES * names
    size += _FIRST_WARM_UP_BYTES * any(tier.warm_up for tier in config.multi_model_tiers.values())
    size += _FIRST_WHALE_BYTES * bool(whales)
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
                _WHALE_BYTES + _WHALE_NAME_BYTES * (len(tenant) + names + len(name) - 7) for tenant in tier.tenants
            )
    return size + int(_TAGGED_SHARE * root_resources(config.tiers) * tags)


def _json_length(text: str) -> int:
    return len(json.dumps(text))


def _whales(tiers: _Tiers) -> int:
    return sum(len(tier.tenants) for tier in tiers.values() if isinstance(tier, DedicatedTier))
