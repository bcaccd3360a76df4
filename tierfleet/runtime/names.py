"""The literal names that stacks, clients and the warm-up function agree on without asking each other.

A word (fleet, environment, tier, tenant) matches WORD_PATTERN, so the separator `--` cannot occur inside one:
two different lists of words never give the same name, and no name is a prefix of another tenant's.
Lengths and words are checked where the configuration is read, not here.
"""

import base64
import hashlib
from typing import Final

VARIANT_NAME: Final = "AllTraffic"
ROUTES_PROFILE: Final = "routes"
MODELS_PREFIX: Final = "models/"
SOURCES_PREFIX: Final = "source/"
CATALOG_PREFIX: Final = "catalog/"
# Parts of a route document that is too large for its template.
ROUTES_PREFIX: Final = "routes/"
ALL_TENANTS: Final = "all"
WORD_PATTERN: Final = r"[a-z0-9]+(-[a-z0-9]+)*"

# `tierfleet.config.generation`: what the name of a shared endpoint ends in.
GENERATION_PATTERN: Final = "[a-z2-7]{6}"

MAX_ENDPOINT_NAME_CHARACTERS: Final = 63

# The form of `hashed_tenant`: no tenant with an endpoint of its own may have such an id.
RESERVED_TENANT_PATTERN: Final = "h-[a-z2-7]{12}"

# Where a generation makes a name too long, so many characters of a hash stand for instance type and generation: as many
# as the shortest type has, `m5-large`, so that a name that fits without a generation fits with every one.
HASHED_SLUG_CHARACTERS: Final = 8

_SEPARATOR: Final = "--"
_HOSTING_SLUGS: Final = {"multi-model": "mme", "dedicated": "dedicated"}


def endpoint_name(
    fleet: str,
    environment: str,
    tier: str,
    tenant: str | None,
    hosting: str,
    instance_type: str,
    generation: str | None = None,
) -> str:
    """`fraud--prod--tail--all--mme-m5-xlarge`; hosting: "multi-model" or "dedicated"; tenant None: shared.

    Hosting and instance type are part of the name because neither can change in place on an endpoint that
    scales: a change makes a new endpoint, a route flip and a delete. generation: of a shared endpoint, other settings
    of its instances; its name ends in it, `mme-m5-xlarge-q3f7xk`. Where the words make more than 63 characters,
    `hashed_tenant` takes the tenant's place, as for most UUIDs, and a hash that of type and generation.
    """
    hosted, type_words = _HOSTING_SLUGS[hosting], instance_type.removeprefix("ml.").replace(".", "-")
    slug = "-".join([hosted, type_words, *([generation] if generation else [])])
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
    """`h-` and 12 characters (60 bits of SHA-256) that stand for a tenant in an endpoint's name. Ids of this form are
    reserved, so a hash is never another tenant's id."""
    return "h-" + _hash(tenant)[:12]


def models_bucket(fleet: str, environment: str, account: str, region: str) -> str:
    """`fraud--prod--models--111122223333--eu-west-1`: the bucket of model archives and catalog pointers."""
    return _SEPARATOR.join([fleet, environment, "models", account, region])


def alarm_topic(fleet: str, environment: str) -> str:
    """`fraud--prod--alarms`: the SNS topic every alarm of the fleet notifies."""
    return _SEPARATOR.join([fleet, environment, "alarms"])


def routes_application(fleet: str, environment: str) -> str:
    """`fraud--prod`: the AppConfig application that holds the route document."""
    return _SEPARATOR.join([fleet, environment])


def catalog_key(tenant: str) -> str:
    """`catalog/m37.json`: the object that says which version of a tenant's model is current."""
    return f"{CATALOG_PREFIX}{tenant}.json"


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
