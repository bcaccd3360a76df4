"""Removing a tenant: nothing may route to it, then its pointer stops naming a model, then its artefacts may go."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tierfleet.models import pointer
from tierfleet.models.bucket import read_artefacts
from tierfleet.models.references import Deployed
from tierfleet.runtime.names import MODELS_PREFIX, WORD_PATTERN

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tierfleet.config import FleetConfig
    from tierfleet.runtime.route_document import RouteDocument


class RemoveError(Exception):
    """The tenant cannot be removed yet; one sentence a reason, a line each."""


@dataclass(frozen=True)
class Removed:
    """A tenant whose pointer names nothing any more; its artefacts are still there."""

    tenant: str
    was: str | None
    removed_at: str
    already: bool
    artefacts: int
    size_bytes: int


def obstacles(
    fleet: "FleetConfig", tenant: str, *, routes: "RouteDocument | None", deployed: Deployed
) -> tuple[list[str], list[str]]:
    """Why the tenant cannot be removed, and what is worth a warning. `routes`: as deployed, None before the first."""
    refusals, warnings = [], []
    for name, tier in sorted(fleet.tiers.items()):
        if tenant in tier.tenants:
            refusals.append(
                f"the fleet file lists {tenant} in [tiers.{name}] tenants; delete it there and deploy, so that nothing "
                "routes to it"
            )
        warm_up = getattr(tier, "warm_up", None)
        if warm_up is not None and tenant in warm_up.tenants:
            warnings.append(f"{tenant} is on the warm-up list of [tiers.{name}], which will count it as missing")
    if routes is not None and tenant in routes.tenants:
        refusals.append(
            f"the deployed routes send {tenant} to {routes.tenants[tenant].endpoint or routes.tenants[tenant].tier}; "
            "deploy the fleet without it first"
        )
    served = [why for target, why in sorted(deployed.targets.items()) if target.startswith(f"{tenant}/")]
    refusals += [f"a model of {tenant} is {why}; deploy the fleet without it first" for why in served]
    return refusals, warnings


def check_removed(s3: "S3Client", *, bucket: str, tenant: str) -> None:
    """Raises RemoveError unless the tenant's pointer names no model any more."""
    _check_id(tenant)
    if pointer.read(s3, bucket, tenant).entry.target_model is not None:
        raise RemoveError(f"{tenant} is not removed yet; run models remove without --artefacts first")


def remove(s3: "S3Client", *, bucket: str, tenant: str, now: datetime | None = None) -> Removed:
    """Make the pointer name no model, whoever moved it last: callers get "no published model" within their TTL.

    The caller has looked for obstacles. Done twice, it keeps the moment of the first. Raises RemoveError for a tenant
    that has no pointer and no artefact, CatalogError for a broken pointer, else botocore's errors.
    """
    _check_id(tenant)
    now = now or datetime.now(UTC)
    held = pointer.read(s3, bucket, tenant)
    stored = list(read_artefacts(s3, bucket, tenant=tenant).current().values())
    if held.etag is None and not stored:
        raise RemoveError(
            f"there is nothing of tenant {tenant} in {bucket}: no pointer, and nothing below {MODELS_PREFIX}{tenant}/"
        )
    was, already = held.entry.target_model, held.entry.removed_at is not None
    if not already:
        held = pointer.update(s3, bucket, held, lambda entry: entry.removed(now), also_if_moved=True)
    size_bytes = sum(item.size_bytes for item in stored)
    return Removed(tenant, was, held.entry.removed_at or "", already, len(stored), size_bytes)


def _check_id(tenant: str) -> None:
    # An empty tenant, as an unset variable gives, would match all artefacts.
    if not re.fullmatch(WORD_PATTERN, tenant):
        raise RemoveError(f"{tenant!r} is not a tenant id, allowed: {WORD_PATTERN}; name one tenant")
