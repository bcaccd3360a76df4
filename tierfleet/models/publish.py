"""Publishing a model: the artefact under an immutable key, then the tenant's pointer.

Two steps, both conditional, so that a crash or a race at any point leaves the old version current and loses nothing:
the artefact is written only where its key is free, the pointer only where it is still the one that was read.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from tierfleet.models import artefacts, pointer, sources
from tierfleet.models.artefacts import OtherBytesError, PublishError
from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.names import WORD_PATTERN
from tierfleet.text import stamp

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["OtherBytesError", "Publication", "PublishError", "check_names", "publish"]

VERSION_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_MAX_VERSION_CHARACTERS = 200


class LostRaceError(PublishError):
    """Another publisher made another version current meanwhile."""


@dataclass(frozen=True)
class Publication:
    """A published version. `artefact`: whether its bytes were uploaded now or were already there, the same.

    `pointer`: whether it was moved now, named this version already, or was not to be moved.
    """

    tenant: str
    version: str
    target_model: str
    sha256: str
    size_bytes: int
    published_at: str
    previous: str | None
    artefact: Literal["uploaded", "already there"]
    pointer: Literal["moved", "unchanged", "left alone"]


def check_names(tenant: str, version: str) -> str:
    """The target model `<tenant>/<version>.tar.gz`; raises PublishError for a malformed tenant or version."""
    if not re.fullmatch(WORD_PATTERN, tenant):
        raise PublishError(f"tenant {tenant!r} must match {WORD_PATTERN}; use the id of the fleet file")
    if not re.fullmatch(VERSION_PATTERN, version) or len(version) > _MAX_VERSION_CHARACTERS:
        raise PublishError(
            f"version {version[:80]!r} must match {VERSION_PATTERN} and have at most {_MAX_VERSION_CHARACTERS} "
            "characters; use a date such as 2027-09-14"
        )
    return f"{tenant}/{version}.tar.gz"


def publish(
    s3: "S3Client",
    *,
    bucket: str,
    tenant: str,
    version: str,
    archive: bytes,
    source: bytes = b"",
    replacing: str | None = None,
    make_current: bool = True,
    now: datetime | None = None,
) -> Publication:
    """Upload the tar.gz `archive` as `models/<tenant>/<version>.tar.gz` and make it the tenant's current version.

    A rerun after a crash completes what is missing. source: the file that the artefact was made from, where that is not
    in it; kept under `source/` before the artefact is uploaded. replacing: the target model that must be current, so
    that a version made from it replaces nothing newer; LostRaceError otherwise. make_current: whether the pointer
    moves; it does not for the artefact of a single container. `now`: UTC, for the pointer's `published_at`. Raises
    PublishError for a malformed tenant or version, for a version whose key holds other bytes or that gc deletes, for a
    broken pointer, and where another publisher moved the pointer meanwhile (LostRaceError); botocore's errors for
    anything else.
    """
    target_model = check_names(tenant, version)
    now = now or datetime.now(UTC)
    sha256 = hashlib.sha256(archive).hexdigest()
    # The pointer first: whoever moves it while the artefact travels wins, and this call must notice.
    try:
        held = pointer.read(s3, bucket, tenant)
    except CatalogError as error:
        raise PublishError(str(error)) from error
    _refuse_collected(held.entry, target_model, now)
    is_current = held.entry.target_model == target_model
    leave_pointer = not make_current and not is_current
    if is_current and held.entry.sha256 not in (None, sha256):
        raise OtherBytesError(f"{target_model} is current with other bytes; publish under a new version")
    if replacing is not None and not is_current and held.entry.target_model != replacing:
        raise LostRaceError(_lost(tenant, target_model, held.entry, stored=False))
    source_sha256 = sources.named_by(archive)
    if source and not is_current:
        sources.keep(s3, bucket, tenant, source, now)
    stored = artefacts.store(s3, bucket, target_model, archive, expected=is_current, source_sha256=source_sha256)
    moved = held.entry
    if leave_pointer:
        moved = pointer.Entry(tenant=tenant)
    elif not is_current:

        def naming(entry: pointer.Entry) -> pointer.Entry:
            _refuse_collected(entry, target_model, now)
            return entry.naming(target_model, sha256=sha256, size_bytes=len(archive), now=now)

        try:
            moved = pointer.update(s3, bucket, held, naming).entry
        except pointer.PointerMovedError as error:
            moved = error.now.entry
            if moved.target_model != target_model:
                raise LostRaceError(_lost(tenant, target_model, moved)) from error
            is_current = True  # another publisher of the same bytes was quicker
    return Publication(
        tenant=tenant,
        version=version,
        target_model=target_model,
        sha256=sha256,
        size_bytes=len(archive),
        published_at=moved.published_at or stamp(now),
        previous=moved.previous,
        artefact=stored,
        pointer="left alone" if leave_pointer else "unchanged" if is_current else "moved",
    )


def _refuse_collected(entry: pointer.Entry, target_model: str, now: datetime) -> None:
    if at := entry.collected_since(target_model, now):
        raise PublishError(
            f"{target_model} was given to models gc at {at}, which deletes it; publish under a new version"
        )


def _lost(tenant: str, target_model: str, now: pointer.Entry, *, stored: bool = True) -> str:
    there = f"{now.target_model} is current" if now.target_model else "the tenant was removed"
    if not stored:
        return f"another publisher moved the pointer of {tenant} meanwhile: {there}; run the command again"
    return (
        f"another publisher moved the pointer of {tenant} meanwhile: {there}; {target_model} is stored and not "
        "current: publish it again if it should be"
    )
