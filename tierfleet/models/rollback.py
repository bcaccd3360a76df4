"""Taking a tenant back to an earlier version: the pointer moves, no byte is copied."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tierfleet.models import artefacts, pointer
from tierfleet.models.publish import PublishError, check_names
from tierfleet.runtime.names import version_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class RollbackError(Exception):
    """The tenant cannot go back; the message is one sentence."""


@dataclass(frozen=True)
class RolledBack:
    """`before` and `after` are versions; they are the same where the pointer named it already."""

    tenant: str
    before: str
    after: str
    published_at: str


def roll_back(
    s3: "S3Client", *, bucket: str, tenant: str, to: str | None = None, now: datetime | None = None
) -> RolledBack:
    """Make the previous version current, or the version `to`; the one before becomes the previous one.

    Raises RollbackError where there is no such version or somebody moved the pointer meanwhile; CatalogError for a
    broken pointer; botocore's errors for anything else.
    """
    now = now or datetime.now(UTC)
    target = _target(tenant, to)
    held = pointer.read(s3, bucket, tenant)
    before = held.entry.target_model
    if before is None:
        what = f"was removed at {held.entry.removed_at}" if held.entry.removed_at else "has no published model"
        raise RollbackError(f"tenant {tenant} {what}; publish one")
    target = target or held.entry.previous
    if target is None:
        raise RollbackError(
            f"{before} is the first version of {tenant}; name one of its versions with --to, or publish"
        )
    if target == before:
        return RolledBack(tenant, version_of(before), version_of(before), held.entry.published_at or "")
    stored = artefacts.head(s3, bucket, target)
    if stored is None:
        raise RollbackError(f"{target} is not in {bucket}, or was collected; publish it under a new version")

    def naming(entry: pointer.Entry) -> pointer.Entry:
        if at := entry.collected_since(target, now):
            raise RollbackError(f"{target} was given to models gc at {at}, which deletes it")
        return entry.naming(target, sha256=stored.sha256, size_bytes=stored.size_bytes, now=now)

    try:
        moved = pointer.update(s3, bucket, held, naming).entry
    except pointer.PointerMovedError as error:
        there = error.now.entry.target_model or "nothing"
        raise RollbackError(
            f"someone moved the pointer of {tenant} meanwhile, it names {there}; roll back again if that is wrong"
        ) from error
    return RolledBack(tenant, version_of(before), version_of(target), moved.published_at or "")


def _target(tenant: str, version: str | None) -> str | None:
    try:
        checked = check_names(tenant, "any" if version is None else version)
    except PublishError as error:
        raise RollbackError(str(error)) from error
    return None if version is None else checked
