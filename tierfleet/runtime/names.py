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
CATALOG_PREFIX: Final = "catalog/"
# Parts of a route document that is too large for its template.
ROUTES_PREFIX: Final = "routes/"
ALL_TENANTS: Final = "all"
WORD_PATTERN: Final = r"[a-z0-9]+(-[a-z0-9]+)*"

MAX_ENDPOINT_NAME_CHARACTERS: Final = 63

# The form of `hashed_tenant`: no tenant with an endpoint of its own may have such an id.
RESERVED_TENANT_PATTERN: Final = "h-[a-z2-7]{12}"

_SEPARATOR: Final = "--"
_HOSTING_SLUGS: Final = {"multi-model": "mme", "dedicated": "dedicated"}


def endpoint_name(fleet: str, environment: str, tier: str, tenant: str | None, hosting: str, instance_type: str) -> str:
    """`fraud--prod--tail--all--mme-m5-xlarge`; hosting: "multi-model" or "dedicated"; tenant None: shared.

    Hosting and instance type are part of the name because neither can change in place on an endpoint that
    scales: a change makes a new endpoint, a route flip and a delete. Where the words make more than 63 characters,
    `hashed_tenant` takes the tenant's place, as for most UUIDs.
    """
    slug = f"{_HOSTING_SLUGS[hosting]}-{instance_type.removeprefix('ml.').replace('.', '-')}"
    name = _SEPARATOR.join([fleet, environment, tier, tenant or ALL_TENANTS, slug])
    if tenant is None or len(name) <= MAX_ENDPOINT_NAME_CHARACTERS:
        return name
    return _SEPARATOR.join([fleet, environment, tier, hashed_tenant(tenant), slug])


def hashed_tenant(tenant: str) -> str:
    """`h-` and 12 characters (60 bits of SHA-256) that stand for a tenant in an endpoint's name. Ids of this form are
    reserved, so a hash is never another tenant's id."""
    return "h-" + base64.b32encode(hashlib.sha256(tenant.encode()).digest()).decode().lower()[:12]


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
