"""The route document as AppConfig hosts it: whole, or with its long lists in objects of the model bucket.

A template contains the hosted document, and CloudFormation allows 1 MB of template. Where the whole document leaves no
room, the tenants of further shared tiers, and the warm-up lists with the probe, become two objects below `routes/`,
named by their content. A document names its own objects and none is ever deleted, so an older document that AppConfig
or CloudFormation brings back still finds its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.config import routes
from tierfleet.config.model import FleetConfig
from tierfleet.config.template_size import ROUTE_PARTS_BYTES, frame_bytes, json_length
from tierfleet.runtime.route_parts import TENANTS, WARM_UP, part_key

# Up to this many bytes of template the document is hosted whole. The estimate of a template is within 5 %.
WHOLE_TEMPLATE_BYTES: Final = 900_000


@dataclass(frozen=True)
class HostedRoutes:
    """document: the text that AppConfig hosts; parts: the objects that it names, by key; empty where it is whole."""

    document: str
    parts: Mapping[str, bytes]


def hosted_routes(config: FleetConfig) -> HostedRoutes:
    """The part of a fleet's route document that AppConfig hosts, and the parts in the model bucket."""
    document = routes.route_document(config)
    whole = _text(document)
    if frame_bytes(config) + json_length(whole) <= WHOLE_TEMPLATE_BYTES:
        return HostedRoutes(whole, {})
    shared = {
        tenant: route
        for tenant, route in document["tenants"].items()
        if not config.tiers[route["tier"]].endpoint_per_tenant
    }
    sections = {TENANTS: shared, WARM_UP: document["warm_up"]}
    contents = {section: _text(content).encode() for section, content in sections.items() if content}
    hosted = {
        **{key: value for key, value in document.items() if key != WARM_UP},
        TENANTS: {tenant: route for tenant, route in document[TENANTS].items() if tenant not in shared},
        "parts": {section: part_key(content) for section, content in contents.items()},
    }
    return HostedRoutes(_text(hosted), {part_key(content): content for content in contents.values()})


def template_bytes(config: FleetConfig, hosted: HostedRoutes) -> int:
    """About how many bytes the root stack's template has."""
    return frame_bytes(config) + json_length(hosted.document) + ROUTE_PARTS_BYTES * bool(hosted.parts)


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
