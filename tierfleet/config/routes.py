"""The route document: which endpoint serves a tenant. Stack, client, Lambda and local emulator all derive it here."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from tierfleet.config.container import Probe
from tierfleet.config.generation import name_suffix
from tierfleet.config.hosting import TIERS
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.tier import HostedTier, Tier
from tierfleet.config.model import FleetConfig
from tierfleet.instance_types import describe
from tierfleet.runtime import names, route_parts

# AppConfig's validators know no newer draft than 04. Kept by hand; tests check every fleet's document against it.
ROUTE_SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "required": ["version", "fleet", "environment", "default_tier", "tiers", "tenants"],
    "anyOf": [{"required": ["warm_up"]}, {"required": ["models_bucket", "parts"]}],
    "additionalProperties": False,
    "properties": {
        "version": {"enum": [1]},
        "fleet": {"type": "string", "minLength": 1},
        "environment": {"type": "string", "minLength": 1},
        "default_tier": {"type": "string", "minLength": 1},
        # Not required: older documents must still validate after a rollback.
        "models_bucket": {"type": "string", "minLength": 3, "maxLength": 63},
        "ttl_seconds": {"type": "integer", "minimum": 15, "maximum": 3600},
        # Sections in the model bucket (hosted_routes).
        "parts": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {
                section: {"type": "string", "pattern": f"^{route_parts.KEY_PATTERN}$"}
                for section in (route_parts.TENANTS, route_parts.WARM_UP)
            },
        },
        "tiers": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "oneOf": [
                    {
                        "type": "object",
                        "required": ["hosting", "endpoint"],
                        "additionalProperties": False,
                        "properties": {
                            "hosting": {"enum": ["multi-model"]},
                            "endpoint": {"type": "string", "minLength": 1, "maxLength": 63},
                        },
                    },
                    {
                        "type": "object",
                        "required": ["hosting"],
                        "additionalProperties": False,
                        "properties": {"hosting": {"enum": ["dedicated"]}},
                    },
                ]
            },
        },
        "tenants": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["tier", "endpoint"],
                "additionalProperties": False,
                "properties": {
                    "tier": {"type": "string", "minLength": 1},
                    "endpoint": {"type": "string", "minLength": 1, "maxLength": 63},
                    "model_version": {"type": "string", "minLength": 1},
                },
            },
        },
        "warm_up": {
            "type": "object",
            "required": ["probe", "tiers"],
            "additionalProperties": False,
            "properties": {
                "probe": {
                    "type": "object",
                    "required": ["content_type", "body"],
                    "additionalProperties": False,
                    "properties": {
                        "content_type": {"type": "string", "minLength": 1},
                        "body": {"type": "string", "minLength": 1},
                    },
                },
                "tiers": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["tenants", "concurrency", "deadline_seconds"],
                        "additionalProperties": False,
                        "properties": {
                            "tenants": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
                            "concurrency": {"type": "integer", "minimum": 1},
                            "deadline_seconds": {"type": "integer", "minimum": 60, "maximum": 780},
                        },
                    },
                },
            },
        },
    },
}

_ASYNC_TIER_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["hosting", "bucket"],
    "additionalProperties": False,
    "properties": {
        "hosting": {"enum": ["async"]},
        "bucket": {"type": "string", "minLength": 3, "maxLength": 63},
    },
}


def route_schema(config: FleetConfig) -> dict[str, Any]:
    """ROUTE_SCHEMA for the shapes of one fleet. A shape without a tier is not in it, so a shape that tierfleet learns
    changes no validator that is deployed."""
    schema = copy.deepcopy(dict(ROUTE_SCHEMA))
    shared, own = schema["properties"]["tiers"]["additionalProperties"]["oneOf"]
    tiers = config.tiers.values()
    for kind, words in (
        (shared, {"multi-model", *(tier.hosting for tier in tiers if not tier.endpoint_per_tenant)}),
        (own, {"dedicated", *(t.hosting for t in tiers if t.endpoint_per_tenant and t.shape.request_response)}),
    ):
        kind["properties"]["hosting"]["enum"] = sorted(words)
    deployed = {tier.hosting for tier in tiers}
    # In the order of the table, so that another order in the fleet file changes no template.
    for shape in (TIERS[hosting] for hosting in TIERS if hosting in deployed):
        schema["properties"]["tenants"]["additionalProperties"]["properties"] |= shape.ROUTE_KEYS
    if any("probe" in type(tier).model_fields for tier in tiers):
        warm_up = schema["properties"]["warm_up"]["properties"]
        warm_up["probes"] = {"type": "object", "additionalProperties": warm_up["probe"]}
    if config.async_tiers:
        schema["properties"]["tiers"]["additionalProperties"]["oneOf"].append(_ASYNC_TIER_SCHEMA)
    return schema


def endpoint_name(config: FleetConfig, tier: str, tenant: str | None = None) -> str:
    """Name of the endpoint of a multi-model tier, or of one tenant of another tier; at most 63 characters."""
    settings = config.tiers[tier]
    suffix = None
    if isinstance(settings, Tier) and not settings.endpoint_per_tenant:
        suffix = name_suffix(config, settings)
    words = config.fleet, config.environment, tier, tenant
    return names.endpoint_name(*words, settings.hosting, settings.endpoint_instance_type, suffix)


def async_bucket(config: FleetConfig) -> str:
    """Name of the bucket of requests to asynchronous endpoints, and of results."""
    return names.async_bucket(config.fleet, config.environment, config.account, config.region)


def route_document(config: FleetConfig) -> dict[str, Any]:
    """The route document of a fleet, as JSON-ready data; it lists exceptions only, so most tenants are not in it.

    The order of tables and tenants in the fleet file changes nothing; the order of a warm-up list is its meaning.
    """
    return {
        "version": 1,
        "fleet": config.fleet,
        "environment": config.environment,
        "default_tier": config.default_tier,
        "models_bucket": names.models_bucket(config.fleet, config.environment, config.account, config.region),
        "ttl_seconds": config.routes.ttl_seconds,
        "tiers": {name: _tier(config, name) for name in sorted(config.tiers)},
        "tenants": _exceptions(config),
        "warm_up": {
            "probe": _probe(config.probe),
            "tiers": _warm_ups(config),
            **({"probes": probes} if (probes := _own_probes(config)) else {}),
        },
    }


def _probe(probe: Probe) -> dict[str, str]:
    return {"content_type": probe.content_type, "body": probe.body}


def _own_probes(config: FleetConfig) -> dict[str, dict[str, str]]:
    probes = {name: tier.probe_or(config.probe) for name, tier in sorted(config.tiers.items())}
    return {name: _probe(probe) for name, probe in probes.items() if probe != config.probe}


def route_json(config: FleetConfig) -> str:
    """The route document as the text AppConfig hosts."""
    return json.dumps(route_document(config), sort_keys=True, separators=(",", ":"))


def _tier(config: FleetConfig, name: str) -> dict[str, str]:
    tier = config.tiers[name]
    if not tier.shape.request_response:
        return {"hosting": tier.hosting, "bucket": async_bucket(config)}
    return {"hosting": tier.hosting} | ({} if tier.endpoint_per_tenant else {"endpoint": endpoint_name(config, name)})


def _exceptions(config: FleetConfig) -> dict[str, dict[str, Any]]:
    exceptions = {}
    for name, tier in config.tiers.items():
        for tenant in tier.tenants:
            own = tenant if tier.endpoint_per_tenant else None
            route: dict[str, Any] = {"tier": name, "endpoint": endpoint_name(config, name, own)}
            if tier.endpoint_per_tenant:
                route["model_version"] = _pinned_version(tier, tenant)
            exceptions[tenant] = {**route, **tier.route_details(tenant)}
    return dict(sorted(exceptions.items()))


def _pinned_version(tier: HostedTier, tenant: str) -> str:
    """The version of the first artefact that the tenant's line pins, as a pointer would name it."""
    # The size of a document is also computed for a file whose tenant pins nothing by mistake.
    return names.version_of(next(iter(tier.pinned_models(tenant).values()), ""))


def _warm_ups(config: FleetConfig) -> dict[str, Any]:
    exceptions = _exceptions(config)
    return {
        name: {
            "tenants": [t for t in tier.warm_up.tenants if exceptions.get(t, {"tier": name})["tier"] == name],
            "concurrency": tier.warm_up.concurrency or fleet_vcpus(tier),
            "deadline_seconds": tier.warm_up.deadline_seconds,
        }
        for name, tier in config.multi_model_tiers.items()
        if tier.warm_up
    }


def fleet_vcpus(tier: MultiModelTier) -> int:
    """vCPUs of a tier's initial instances, which limit concurrent loads and calls."""
    return describe(tier.instance_type).vcpus * tier.instances.initial
