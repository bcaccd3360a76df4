"""The literal names that stacks, clients and the warm-up function derive independently.

A word (fleet, environment, tier, tenant) matches WORD_PATTERN, so the separator `--` cannot occur inside one. Two
different lists of words never give the same name, and no name is a prefix of another tenant's. The configuration checks
words and lengths.
"""

import base64
import hashlib
from typing import Final

from tierfleet.runtime.hosting import SHAPES

# Every name here is part of deployed stacks. Another one replaces the resource, and a full bucket cannot be replaced.
VARIANT_NAME: Final = "AllTraffic"
ROUTES_PROFILE: Final = "routes"
MODELS_PREFIX: Final = "models/"
SOURCES_PREFIX: Final = "source/"
CATALOG_PREFIX: Final = "catalog/"
# Objects with parts of a route document that is too large for its template.
ROUTES_PREFIX: Final = "routes/"
ALL_TENANTS: Final = "all"
WORD_PATTERN: Final = r"[a-z0-9]+(-[a-z0-9]+)*"

# `tierfleet.config.generation`: the end of a multi-model endpoint's name.
GENERATION_PATTERN: Final = "[a-z2-7]{6}"

# CreateEndpoint's limit.
MAX_ENDPOINT_NAME_CHARACTERS: Final = 63

# The form of `hashed_tenant`: no dedicated tenant may have such an id.
RESERVED_TENANT_PATTERN: Final = "h-[a-z2-7]{12}"

# If a generation makes a name too long, this many characters of a hash replace instance type and generation. The
# shortest type, `m5-large`, has as many, so a name that fits without a generation fits with every one.
HASHED_SLUG_CHARACTERS: Final = 8

_SEPARATOR: Final = "--"


def endpoint_name(
    fleet: str,
    environment: str,
    tier: str,
    tenant: str | None,
    hosting: str,
    instance_type: str | None,
    generation: str | None = None,
) -> str:
    """The name of an endpoint, at most 63 characters.

    >>> endpoint_name("fraud", "prod", "tail", None, "multi-model", "ml.m5.xlarge", "q3f7xk")
    'fraud--prod--tail--all--mme-m5-xlarge-q3f7xk'
    >>> endpoint_name("fraud", "prod", "whale", "m01", "dedicated", "ml.m5.large")
    'fraud--prod--whale--m01--dedicated-m5-large'

    tenant: None for a multi-model endpoint. hosting: a key of SHAPES. instance_type: None for a shape without
    instances, such as `fraud--prod--rare--m7--serverless`. generation: of a multi-model
    endpoint. Hosting and instance type are part of the name because neither can change in place on an endpoint that
    scales: a change creates a new endpoint, and the old one is deleted after the routes switched. If the words are
    too long, `hashed_tenant` replaces the tenant, as for most UUIDs, and a hash replaces type and generation.
    """
    hosted = SHAPES[hosting].name_word
    type_words = [instance_type.removeprefix("ml.").replace(".", "-")] if instance_type else []
    slug = "-".join([hosted, *type_words, *([generation] if generation else [])])
    words = [fleet, environment, tier, tenant or ALL_TENANTS]
    name = _SEPARATOR.join([*words, slug])
    if len(name) <= MAX_ENDPOINT_NAME_CHARACTERS:
        return name
    if tenant is not None:
        return _SEPARATOR.join([*words[:3], hashed_tenant(tenant), slug])
    if generation:
        return _SEPARATOR.join([*words, f"{hosted}-{_hash(slug)[:HASHED_SLUG_CHARACTERS]}"])
    return name


def hashed_tenant(tenant: str) -> str:
    """`h-` and 12 characters (60 bits of SHA-256) that replace a tenant in an endpoint's name. Ids of this form are
    reserved, so a hash is never another tenant's id."""
    return "h-" + _hash(tenant)[:12]


def models_bucket(fleet: str, environment: str, account: str, region: str) -> str:
    """`fraud--prod--models--111122223333--eu-west-1`: the bucket of artefacts and pointers."""
    return _SEPARATOR.join([fleet, environment, "models", account, region])


def async_bucket(fleet: str, environment: str, account: str, region: str) -> str:
    """`fraud--prod--async--111122223333--eu-west-1`: the bucket of requests to asynchronous endpoints, and results."""
    return _SEPARATOR.join([fleet, environment, "async", account, region])


def async_prefix(tier: str, kind: str, tenant: str) -> str:
    """`backfill/output/m08/`: where a tenant's objects are. kind: `input`, `output` or `failure`."""
    return f"{tier}/{kind}/{tenant}/"


def async_topic(fleet: str, environment: str, outcome: str) -> str:
    """`fraud--prod--async-error`: the SNS topic for finished requests. outcome: `success` or `error`."""
    return _SEPARATOR.join([fleet, environment, f"async-{outcome}"])


def alarm_topic(fleet: str, environment: str) -> str:
    """`fraud--prod--alarms`: the SNS topic that every alarm of the fleet notifies."""
    return _SEPARATOR.join([fleet, environment, "alarms"])


def routes_application(fleet: str, environment: str) -> str:
    """`fraud--prod`: the AppConfig application that holds the route document."""
    return _SEPARATOR.join([fleet, environment])


def catalog_key(tenant: str) -> str:
    """`catalog/m37.json`: the tenant's pointer."""
    return f"{CATALOG_PREFIX}{tenant}.json"


def version_of(target_model: str) -> str:
    """`2026-11-14` of `m01/2026-11-14.tar.gz`."""
    return target_model.partition("/")[2].removesuffix(".tar.gz")


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
