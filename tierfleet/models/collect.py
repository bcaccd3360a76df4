"""Deleting artefacts that nothing refers to, so that no caller, rollback, deployment or publisher ever misses one.

An artefact is kept while a pointer names it as current or previous, a fleet file pins it, a SageMaker model was made
from it, or it is younger than the grace period: uploaded, current or of a tenant removed less than that ago. The rest
is condemned first: its name goes into its tenant's pointer, on condition that the pointer is still the one that was
read. From then on no command can make it current, so the deletion that follows affects no tenant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from botocore.exceptions import ClientError

from tierfleet.models import pointer
from tierfleet.models.bucket import KeyVersion, read_artefacts, read_pointers
from tierfleet.models.pointer import Entry, Held
from tierfleet.models.references import Deployed
from tierfleet.models.sources import StoredSource, delete_unneeded, find_unneeded
from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.names import MODELS_PREFIX, catalog_key, version_of
from tierfleet.text import moment, stamp

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

DEFAULT_GRACE: Final = timedelta(hours=24)
# A pointer grows by a line for each; the next run takes the rest.
MAX_PER_TENANT: Final = 200
_DELETES_AT_ONCE: Final = 1000

Fate = Literal["kept", "garbage", "deleted", "failed"]


@dataclass
class Artefact:
    """One artefact and what becomes of it; `why` says what keeps it, or why it is not needed or not deleted.

    hidden_bytes: versions of its key that only a restore would bring back.
    """

    target_model: str
    size_bytes: int
    hidden_bytes: int
    modified: datetime
    fate: Fate
    why: str
    version_ids: list[str] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        return self.target_model.partition("/")[0]

    def to_json(self) -> dict[str, Any]:
        shown = {name: value for name, value in vars(self).items() if name != "version_ids"}
        return {**shown, "modified": stamp(self.modified)}


@dataclass
class Collection:
    """What a run found and did. `problems`: pointers that cannot be read, so their tenants' artefacts are kept."""

    artefacts: list[Artefact] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    pointers_deleted: int = 0
    sources: list[StoredSource] = field(default_factory=list)
    sources_deleted: list[StoredSource] = field(default_factory=list)

    def of(self, *fates: Fate) -> list[Artefact]:
        return [artefact for artefact in self.artefacts if artefact.fate in fates]


def find_garbage(
    s3: "S3Client",
    *,
    bucket: str,
    pins: Mapping[str, str],
    deployed: Deployed,
    now: datetime,
    grace: timedelta = DEFAULT_GRACE,
    tenant: str | None = None,
    done: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Collection, dict[str, Held]]:
    """Every artefact as kept or garbage, and the pointers that say so. `tenant`: of this one only.

    Raises ValueError for a grace period that pointers do not remember, botocore's errors if S3 cannot be read.
    """
    if not timedelta() <= grace <= pointer.MEMORY:
        raise ValueError(
            f"the grace period must be 0 to {pointer.MEMORY // timedelta(hours=1)} hours: pointers remember that"
        )
    # Artefacts first: one that is uploaded later is not in the list, so it cannot be taken for garbage.
    artefacts = read_artefacts(s3, bucket, tenant=tenant)
    pointers = _pointers(s3, bucket, tenant, done)
    collection = Collection(strangers=artefacts.strangers)
    held = {name: item for name, item in pointers.items() if isinstance(item, Held)}
    collection.problems = [str(item) for item in pointers.values() if isinstance(item, CatalogError)]
    for target, versions in sorted(artefacts.versions.items()):
        owner = target.partition("/")[0]
        said = pointers.get(owner, Held(Entry(tenant=owner), None))
        newest = max(versions, key=lambda version: version.modified)
        reason = pins.get(target) or deployed.why(target) or _reason(said, target, newest, now, grace)
        current = [version for version in versions if version.current and not version.delete_marker]
        collection.artefacts.append(
            Artefact(
                target_model=target,
                size_bytes=sum(version.size_bytes for version in current),
                hidden_bytes=sum(version.size_bytes for version in versions if version not in current),
                modified=newest.modified,
                fate="kept" if reason else "garbage",
                why=reason or _unneeded(said, target),
                version_ids=[version.version_id for version in versions],
            )
        )
    kept = [item.target_model for item in collection.of("kept") if item.size_bytes]
    collection.sources = find_unneeded(s3, bucket, kept=kept, now=now, grace=grace, tenant=tenant)
    return collection, held


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


def _pointers(
    s3: "S3Client", bucket: str, tenant: str | None, done: Callable[[int, int], None]
) -> Mapping[str, Held | CatalogError]:
    if tenant is None:
        return read_pointers(s3, bucket, done=done)
    try:
        held = pointer.read(s3, bucket, tenant)
    except CatalogError as error:
        return {tenant: error}
    return {tenant: held} if held.etag is not None else {}


def _reason(said: Held | CatalogError, target: str, newest: KeyVersion, now: datetime, grace: timedelta) -> str | None:
    """What the tenant's pointer and the clock have against deleting an artefact."""
    if isinstance(said, CatalogError):
        return "its tenant's pointer is broken"
    entry = said.entry
    if target == entry.target_model:
        return "current"
    if target == entry.previous:
        return "previous"
    for since, what in (
        (newest.modified, "uploaded"),
        (_moment(entry.replaced.get(target)), "current until"),
        (_moment(entry.removed_at), "its tenant was removed"),
    ):
        if since is not None and now - since < grace:
            return f"{what} {stamp(since)}, less than {grace // timedelta(hours=1)} h ago"
    return None


def _unneeded(said: Held | CatalogError, target: str) -> str:
    entry = said.entry if isinstance(said, Held) else Entry(tenant="")
    if target in entry.collected:
        return f"given to gc at {entry.collected[target]}"
    if entry.removed_at:
        return f"its tenant was removed at {entry.removed_at}"
    return f"{version_of(entry.target_model)} is current" if entry.target_model else "no pointer names its tenant"


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


def _moment(text: str | None) -> datetime | None:
    return moment(text) if text else None
