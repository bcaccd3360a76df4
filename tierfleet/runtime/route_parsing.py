"""Reads a route document, which is JSON. Tenants that it does not list are on the default tier.

In a large fleet, "parts" names objects of the model bucket with the tenants of multi-model tiers and the warm_up
(route_parts).

{"version": 1, "fleet": "fraud", "environment": "prod", "default_tier": "tail",
 "models_bucket": "fraud--prod--models--111122223333--eu-west-1", "ttl_seconds": 60,
 "tiers": {"tail": {"hosting": "multi-model", "endpoint": "fraud--prod--tail--all--mme-m5-xlarge"},
           "whale": {"hosting": "dedicated"}, "trio": {"hosting": "multi-container"},
           "backfill": {"hosting": "async", "bucket": "fraud--prod--async--111122223333--eu-west-1"}},
 "tenants": {"m01": {"tier": "whale", "endpoint": "fraud--prod--whale--m01--dedicated-m5-large",
                     "model_version": "2027-09-14"},
             "m09": {"tier": "trio", "endpoint": "fraud--prod--trio--m09--mce-m5-large", "model_version": "card-1",
                     "primary": "card", "containers": {
                         "card": {"content_type": "text/csv", "model_version": "card-1"},
                         "velocity": {"content_type": "application/json", "model_version": "velocity-3"}}}},
 "warm_up": {"probe": {"content_type": "text/csv", "body": "0,0,0"},
             "tiers": {"tail": {"tenants": ["m02"], "concurrency": 8, "deadline_seconds": 780}}}}
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from tierfleet.runtime.hosting import SHAPES
from tierfleet.runtime.route_document import (
    ContainerRoute,
    Probe,
    RouteDocument,
    RoutesError,
    TenantRoute,
    TierRoute,
    TierWarmUp,
)
from tierfleet.runtime.route_parts import KEY_PATTERN, TENANTS, WARM_UP, ReadPart, RoutePartError

VERSION: Final = 1
# The fleet file allows 15 to 3,600 (docs/configuration.md).
LONGEST_TTL_SECONDS: Final = 86_400


def parse_routes(
    content: bytes | str,
    *,
    read_part: ReadPart | None = None,
    sections: Collection[str] = (TENANTS, WARM_UP),
) -> RouteDocument:
    """Parse a document, and read the parts of these sections that are in S3.

    Raises RoutesError unless the document is complete and has version 1, and every exception of read_part but
    RoutePartError.
    """
    try:
        document = json.loads(content)
        if document["version"] != VERSION:
            raise RoutesError(
                f"route document version {_shown(document['version'])} is not {VERSION}: update this tierfleet"
            )
        for section, key in (document.get("parts") or {}).items():
            if section not in (TENANTS, WARM_UP):
                raise ValueError(f"part {_shown(section)} is unknown: update this tierfleet")
            if section in sections:
                # The part has the tenants of multi-model tiers; the document itself has the others.
                document[section] = {**_part(document, key, read_part), **(document.get(section) or {})}
        return _document(document)
    except RoutePartError as error:
        raise RoutesError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RoutesError(f"the route document is malformed: {type(error).__name__}: {str(error)[:300]}") from error


def _part(document: Mapping[str, Any], key: object, read_part: ReadPart | None) -> Mapping[str, Any]:
    key, bucket = _text(key), _text(document["models_bucket"])
    if not re.fullmatch(KEY_PATTERN, key):
        raise ValueError(f"{_shown(key)} is not the key of a part, allowed: {KEY_PATTERN}")
    if read_part is None:
        raise RoutesError(f"s3://{bucket}/{key} is a part of the routes, which cannot be read here")
    part = json.loads(read_part(bucket, key))
    if not isinstance(part, dict):
        raise ValueError(f"s3://{bucket}/{key} is {_shown(part)}, allowed: an object")
    return part


def _document(document: Mapping[str, Any]) -> RouteDocument:
    warm_up = document.get("warm_up") or {}
    probe = warm_up.get("probe")
    routes = RouteDocument(
        fleet=_text(document["fleet"]),
        environment=_text(document["environment"]),
        default_tier=_text(document["default_tier"]),
        models_bucket=_text_or_none(document.get("models_bucket")),
        ttl_seconds=_ttl_or_none(document.get("ttl_seconds")),
        tiers={
            name: TierRoute(_hosting(tier["hosting"]), _text_or_none(tier.get("endpoint")), _bucket(tier))
            for name, tier in document["tiers"].items()
        },
        tenants={
            name: TenantRoute(
                _text(tenant["tier"]),
                _text_or_none(tenant.get("endpoint")),
                _text_or_none(tenant.get("model_version")),
                _text_or_none(tenant.get("stages")),
                _text_or_none(tenant.get("primary")),
                _containers(tenant.get("containers") or {}),
            )
            for name, tenant in document["tenants"].items()
        },
        probe=_probe(probe) if probe else None,
        warm_ups={name: _tier_warm_up(tier) for name, tier in warm_up.get("tiers", {}).items()},
        probes={name: _probe(of_tier) for name, of_tier in warm_up.get("probes", {}).items()},
    )
    named_tiers = {
        routes.default_tier,
        *(tenant.tier for tenant in routes.tenants.values()),
        *routes.warm_ups,
        *routes.probes,
    }
    if unknown := sorted(named_tiers - set(routes.tiers)):
        raise ValueError(f"tiers {unknown} are named but not defined")
    for name, route in routes.tenants.items():
        names_container = SHAPES[routes.tiers[route.tier].hosting].names_container
        if names_container != bool(route.containers) or (names_container and route.primary not in route.containers):
            raise ValueError(
                f"tenant {_shown(name)} has containers {sorted(route.containers)} and the primary one "
                f"{_shown(route.primary)}, allowed: containers and one of them on a multi-container tier, else none"
            )
    return routes


def _containers(containers: Mapping[str, Any]) -> dict[str, ContainerRoute]:
    return {
        hostname: ContainerRoute(_text(container["content_type"]), _text_or_none(container.get("model_version")))
        for hostname, container in containers.items()
    }


def _probe(probe: Mapping[str, Any]) -> Probe:
    return Probe(_text(probe["content_type"]), _text(probe["body"]))


def _tier_warm_up(tier: Mapping[str, Any]) -> TierWarmUp:
    concurrency, deadline_seconds = tier["concurrency"], tier["deadline_seconds"]
    if type(concurrency) is not int or concurrency < 1:
        raise ValueError(f"concurrency is {_shown(concurrency)}, allowed: a whole number from 1")
    if type(deadline_seconds) not in {int, float} or not 0 < deadline_seconds < math.inf:
        raise ValueError(f"deadline_seconds is {_shown(deadline_seconds)}, allowed: a number above 0")
    if not isinstance(tier["tenants"], list):
        raise ValueError(f"tenants is {_shown(tier['tenants'])}, allowed: a list")
    return TierWarmUp(tuple(_text(tenant) for tenant in tier["tenants"]), concurrency, deadline_seconds)


def _ttl_or_none(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= LONGEST_TTL_SECONDS):
        raise ValueError(f"ttl_seconds is {_shown(value)}, allowed: a whole number from 1 to {LONGEST_TTL_SECONDS}")
    return value


def _bucket(tier: Mapping[str, Any]) -> str | None:
    """The bucket that an asynchronous tier must name."""
    if SHAPES[_hosting(tier["hosting"])].request_response:
        return _text_or_none(tier.get("bucket"))
    return _text(tier["bucket"])


def _hosting(value: object) -> str:
    if not isinstance(value, str) or value not in SHAPES:
        raise ValueError(f"hosting is {_shown(value)}, allowed: {', '.join(SHAPES)}; update this tierfleet")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{_shown(value)} is not a string")
    return value


def _shown(value: object) -> str:
    """The start of a value of the document, for a message."""
    try:
        return repr(value)[:80]
    except ValueError:
        # An int of more than 4,300 digits.
        return f"a {type(value).__name__}"


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
