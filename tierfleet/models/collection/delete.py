"""Deletes what `find` found: condemned first, in the pointer, so that no publisher or rollback misses an artefact."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.models import pointer
from tierfleet.models.collection.find import Artefact, Collection
from tierfleet.models.pointer import Entry, Held
from tierfleet.models.references import Deployed
from tierfleet.models.sources import delete_unneeded
from tierfleet.runtime.names import MODELS_PREFIX, catalog_key
from tierfleet.text import moment

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# A pointer grows by a line for each; the next run takes the rest.
MAX_PER_TENANT: Final = 200
# The limit of DeleteObjects: docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_DELETES_AT_ONCE: Final = 1000


def delete_garbage(
    s3: "S3Client",
    found: Collection,
    held: Mapping[str, Held],
    *,
    bucket: str,
    now: datetime,
    look_again: Callable[[], Deployed],
    permanently: bool = False,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Delete what `find_garbage` found, and note in `found` what became of it.

    permanently: every version of the keys; else a versioned bucket only hides them until its lifecycle rule comes.
    `look_again` reads SageMaker's models once more, after these versions can no longer be published. `done` hears
    how many were deleted. Raises botocore's errors.
    """
    garbage = [item for item in found.of("garbage") if permanently or item.size_bytes]
    condemned: list[Artefact] = []
    for tenant in sorted({item.tenant for item in garbage}):
        mine = [item for item in garbage if item.tenant == tenant][:MAX_PER_TENANT]
        if _condemn(s3, bucket, held.get(tenant, Held(Entry(tenant=tenant), None)), mine, now):
            condemned += mine
    deployed = look_again()
    for item in list(condemned):
        if why := deployed.why(item.target_model):
            item.fate, item.why = "kept", why
            condemned.remove(item)
    for start in range(0, len(condemned), _DELETES_AT_ONCE):
        _delete(s3, bucket, condemned[start : start + _DELETES_AT_ONCE], permanently=permanently)
        done(len(condemned[: start + _DELETES_AT_ONCE]))
    found.pointers_deleted = _delete_pointers(s3, bucket, held, found, now)
    found.sources_deleted, problems = delete_unneeded(s3, bucket, found.sources, now=now, permanently=permanently)
    found.problems += problems


def _condemn(s3: "S3Client", bucket: str, held: Held, garbage: Sequence[Artefact], now: datetime) -> bool:
    """Whether the pointer says that these are deleted."""
    # What an earlier run condemned must stay so for longer than this run lasts.
    said = [item.target_model for item in garbage]
    names = [name for name in said if not held.entry.collected_since(name, now, within=pointer.MEMORY / 2)]
    if not names:
        return True

    def collecting(entry: Entry) -> Entry:
        if {entry.target_model, entry.previous} & set(names):
            raise pointer.PointerMovedError(held)
        return entry.collecting(names, now)

    try:
        pointer.update(s3, bucket, held, collecting)
    except pointer.PointerMovedError:
        for item in garbage:
            item.fate, item.why = "kept", "its tenant's pointer moved meanwhile; run gc again"
        return False
    return True


def _delete(s3: "S3Client", bucket: str, condemned: Sequence[Artefact], *, permanently: bool) -> None:
    keys: list[Any] = [
        {"Key": MODELS_PREFIX + item.target_model, **({"VersionId": version_id} if version_id else {})}
        for item in condemned
        for version_id in (item.version_ids if permanently else [""])
    ]
    failed: dict[str, str] = {}
    for start in range(0, len(keys), _DELETES_AT_ONCE):
        reply = s3.delete_objects(
            Bucket=bucket, Delete={"Objects": keys[start : start + _DELETES_AT_ONCE], "Quiet": True}
        )
        for error in reply.get("Errors", []):
            why = f"{error.get('Code')}: {error.get('Message')}"
            if error.get("Code") == "AccessDenied":
                why += "; only models.gc_principal_arns of the fleet file may delete models"
            failed[error["Key"].removeprefix(MODELS_PREFIX)] = why
    for item in condemned:
        if item.target_model in failed:
            item.fate, item.why = "failed", failed[item.target_model]
        else:
            item.fate = "deleted"


def _delete_pointers(s3: "S3Client", bucket: str, held: Mapping[str, Held], found: Collection, now: datetime) -> int:
    """Delete the pointers of removed tenants that have no artefact left, once the pointers have no recent entry."""
    left = {item.tenant for item in found.artefacts if item.size_bytes and item.fate != "deleted"}
    deleted = 0
    for tenant, item in sorted(held.items()):
        entry = item.entry
        recent = [entry.removed_at, *entry.collected.values()]
        waits = any(at is not None and now - moment(at) < pointer.MEMORY for at in recent)
        if entry.removed_at is None or tenant in left or waits or item.etag is None:
            continue
        try:
            s3.delete_object(Bucket=bucket, Key=catalog_key(tenant), IfMatch=item.etag)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "NoSuchKey", "412", "404"):
                raise
        else:
            deleted += 1
    return deleted
