"""The route document: which endpoint serves a tenant, and whom to keep warm. Only exceptions are listed.
Of a large fleet, "parts" names objects of the model bucket with the tenants of shared tiers and the warm_up
(route_parts).

{"version": 1, "fleet": "fraud", "environment": "prod", "default_tier": "tail",
 "models_bucket": "fraud--prod--models--111122223333--eu-west-1", "ttl_seconds": 60,
 "tiers": {"tail": {"hosting": "multi-model", "endpoint": "fraud--prod--tail--all--mme-m5-xlarge"},
           "whale": {"hosting": "dedicated"}},
 "tenants": {"m01": {"tier": "whale", "endpoint": "fraud--prod--whale--m01--dedicated-m5-large",
                     "model_version": "2027-09-14"}},
 "warm_up": {"probe": {"content_type": "text/csv", "body": "0,0,0"},
             "tiers": {"tail": {"tenants": ["m02"], "concurrency": 8, "deadline_seconds": 780}}}}
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.runtime.hosting import SHAPES, HostingShape
from tierfleet.runtime.route_parts import KEY_PATTERN, TENANTS, WARM_UP, ReadPart, RoutePartError

VERSION: Final = 1
# The fleet file allows 15 to 3,600 (docs/configuration.md).
LONGEST_TTL_SECONDS: Final = 86_400


class RoutesError(Exception):
    """The route document cannot be read; the message is one sentence that says why."""


@dataclass(frozen=True)
class TierRoute:
    """hosting: a word of SHAPES; endpoint: the shared one, None where each tenant has its own."""

    hosting: str
    endpoint: str | None


@dataclass(frozen=True)
class TenantRoute:
    """endpoint: the tenant's own endpoint, None on a tier that shares one. model_version: the one that the fleet file
    pins there; None on a shared tier, and in a document of before it was part of it."""

    tier: str
    endpoint: str | None
    model_version: str | None = None


@dataclass(frozen=True)
class Route:
    """Where one tenant's calls go."""

    tier: str
    """Name of the tier."""
    endpoint: str
    """Name of the endpoint."""
    shape: HostingShape
    """How the endpoint is hosted: whether a call names its model, how long it may take and how large it may be."""
    model_version: str | None
    """As in TenantRoute."""

    @property
    def shared(self) -> bool:
        """Whether the endpoint holds many tenants' models, so that a call names its model."""
        return self.shape.shared


@dataclass(frozen=True)
class Probe:
    """A valid row in the container's own input format; an invalid one would count as a server error."""

    content_type: str
    body: str


@dataclass(frozen=True)
class TierWarmUp:
    """tenants: hottest first; concurrency: probes in flight at once; deadline_seconds: of one whole run."""

    tenants: tuple[str, ...]
    concurrency: int
    deadline_seconds: float


@dataclass(frozen=True)
class RouteDocument:
    """models_bucket, ttl_seconds (how long a caller may use the document before it asks again): None in a document
    of before they were part of it."""

    fleet: str
    environment: str
    default_tier: str
    models_bucket: str | None
    ttl_seconds: int | None
    tiers: Mapping[str, TierRoute]
    tenants: Mapping[str, TenantRoute]
    probe: Probe | None
    warm_ups: Mapping[str, TierWarmUp]

    def tier_of(self, tenant: str) -> str:
        """The tier that serves a tenant; any name that is not listed is on the default tier."""
        route = self.tenants.get(tenant)
        return route.tier if route else self.default_tier

    def route_of(self, tenant: str) -> Route:
        """Raises RoutesError if the tenant's tier has no endpoint for it."""
        exception = self.tenants.get(tenant)
        if exception is None:
            return self._route(self.default_tier, None)
        return self._route(exception.tier, exception.endpoint, exception.model_version)

    def default_route(self) -> Route | None:
        """The shared endpoint that can serve any tenant, since every model lies under its one prefix; None: no such."""
        if self.tiers[self.default_tier].endpoint is None:
            return None
        return self._route(self.default_tier, None)

    def _route(self, tier: str, own_endpoint: str | None, model_version: str | None = None) -> Route:
        settings = self.tiers[tier]
        endpoint = own_endpoint or settings.endpoint
        if endpoint is None:
            raise RoutesError(f"tier {tier!r} has no endpoint for a tenant that is not listed")
        return Route(tier, endpoint, SHAPES[settings.hosting], model_version)

    def tier_at(self, endpoint_name: str) -> str | None:
        """The tier whose tenants share this endpoint; None for a whale's own or one not in the routes."""
        return next((name for name, tier in self.tiers.items() if tier.endpoint == endpoint_name), None)


def parse_routes(
    content: bytes | str,
    *,
    read_part: ReadPart | None = None,
    sections: Collection[str] = (TENANTS, WARM_UP),
) -> RouteDocument:
    """The document, with the parts of these sections that it has in S3.

    Raises RoutesError for anything but a complete document of version 1, and whatever read_part raises but
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
                raise ValueError(f"part {_shown(section)} is not known: update this tierfleet")
            if section in sections:
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
        raise RoutesError(f"s3://{bucket}/{key} is a part of the routes, and there is nothing here to read it with")
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
            name: TierRoute(_hosting(tier["hosting"]), _text_or_none(tier.get("endpoint")))
            for name, tier in document["tiers"].items()
        },
        tenants={
            name: TenantRoute(
                _text(tenant["tier"]),
                _text_or_none(tenant.get("endpoint")),
                _text_or_none(tenant.get("model_version")),
            )
            for name, tenant in document["tenants"].items()
        },
        probe=Probe(_text(probe["content_type"]), _text(probe["body"])) if probe else None,
        warm_ups={name: _tier_warm_up(tier) for name, tier in warm_up.get("tiers", {}).items()},
    )
    named_tiers = {
        routes.default_tier,
        *(tenant.tier for tenant in routes.tenants.values()),
        *routes.warm_ups,
    }
    if unknown := sorted(named_tiers - set(routes.tiers)):
        raise ValueError(f"tiers {unknown} are named but not defined")
    return routes


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


def _hosting(value: object) -> str:
    if not isinstance(value, str) or value not in SHAPES:
        raise ValueError(f"hosting is {_shown(value)}, allowed: {', '.join(SHAPES)}; update this tierfleet")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{_shown(value)} is not a text")
    return value


def _shown(value: object) -> str:
    """A value of the document for a person: its start, whatever it is."""
    try:
        return repr(value)[:80]
    except ValueError:
        # An int of more than 4,300 digits.
        return f"a {type(value).__name__}"


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
