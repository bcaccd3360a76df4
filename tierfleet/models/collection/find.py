"""Deleting artefacts that nothing refers to, so that no caller, rollback, deployment or publisher ever misses one.

An artefact is kept while a pointer names it as current or previous, a fleet file pins it, a SageMaker model was made
from it, or it is younger than the grace period: uploaded, current or of a tenant removed less than that ago. The rest
is condemned first: its name goes into its tenant's pointer, on condition that the pointer is still the one that was
read. From then on no command can make it current, so the deletion that follows affects no tenant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from tierfleet.models import pointer
from tierfleet.models.bucket import KeyVersion, read_artefacts, read_pointers
from tierfleet.models.pointer import Entry, Held
from tierfleet.models.references import Deployed
from tierfleet.models.sources import StoredSource, find_unneeded
from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.names import version_of
from tierfleet.text import moment, stamp

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

DEFAULT_GRACE: Final = timedelta(hours=24)

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


def _moment(text: str | None) -> datetime | None:
    return moment(text) if text else None
