"""Publishing a model: the artefact under an immutable key, then the tenant's pointer.

Two steps, both conditional, so that a crash or a race at any point leaves the old version current and loses nothing:
the artefact is written only where its key is free, the pointer only where it is still the one that was read.
"""

import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from tierfleet.runtime.names import MODELS_PREFIX, WORD_PATTERN, catalog_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_VERSION_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_CHECKSUM = "sha256"
# S3 answers a failed condition with 412, and 409 where another conditional write of the key is under way.
# Source: docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict")


class PublishError(Exception):
    """A model cannot be published; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Publication:
    """A published version. `artefact`: whether its bytes were uploaded now or stood there already, the same."""

    tenant: str
    version: str
    target_model: str
    sha256: str
    size_bytes: int
    published_at: str
    previous: str | None
    artefact: Literal["uploaded", "already there"]


def publish(
    s3: "S3Client", *, bucket: str, tenant: str, version: str, archive: bytes, now: datetime | None = None
) -> Publication:
    """Upload the tar.gz `archive` as `models/<tenant>/<version>.tar.gz` and make it the tenant's current version.

    A rerun after a crash completes what is missing. `now`: UTC, for the pointer's `published_at`.
    Raises PublishError for a malformed tenant or version, for a version whose key holds other bytes, and where
    another publisher moved the pointer meanwhile; botocore's errors for anything else.
    """
    if not re.fullmatch(WORD_PATTERN, tenant):
        raise PublishError(f"tenant {tenant!r} must match {WORD_PATTERN}; use the id of the fleet file")
    if not re.fullmatch(_VERSION_PATTERN, version):
        raise PublishError(f"version {version!r} must match {_VERSION_PATTERN}; use a date such as 2027-09-14")
    target_model = f"{tenant}/{version}.tar.gz"
    # The pointer first: whoever moves it while the artefact travels wins, and this call must notice.
    etag, previous = _current(s3, bucket, tenant)
    artefact = _put_artefact(s3, bucket, target_model, archive)
    publication = Publication(
        tenant=tenant,
        version=version,
        target_model=target_model,
        sha256=hashlib.sha256(archive).hexdigest(),
        size_bytes=len(archive),
        published_at=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
        previous=previous,
        artefact=artefact,
    )
    if previous != target_model:
        _move_pointer(s3, bucket, publication, etag)
    return publication


def _current(s3: "S3Client", bucket: str, tenant: str) -> tuple[str | None, str | None]:
    """ETag and target model of the tenant's pointer; both None before the first version."""
    try:
        reply = s3.get_object(Bucket=bucket, Key=catalog_key(tenant))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None, None
        raise
    return reply["ETag"], json.loads(reply["Body"].read())["target_model"]


def _put_artefact(
    s3: "S3Client", bucket: str, target_model: str, archive: bytes
) -> Literal["uploaded", "already there"]:
    key = MODELS_PREFIX + target_model
    digest = hashlib.sha256(archive)
    try:
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=archive,
            IfNoneMatch="*",
            ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            Metadata={_CHECKSUM: digest.hexdigest()},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in _LOST_RACE:
            raise
        if s3.head_object(Bucket=bucket, Key=key)["Metadata"].get(_CHECKSUM) != digest.hexdigest():
            raise PublishError(
                f"s3://{bucket}/{key} exists with other bytes, and instances may have it in their caches; "
                "publish under a new version"
            ) from error
        return "already there"
    return "uploaded"


def _move_pointer(s3: "S3Client", bucket: str, publication: Publication, etag: str | None) -> None:
    pointer = {key: value for key, value in asdict(publication).items() if key != "artefact"}
    body = json.dumps(pointer, sort_keys=True).encode()
    key = catalog_key(publication.tenant)
    try:
        if etag is None:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfMatch=etag)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _LOST_RACE:
            raise
        raise PublishError(
            f"another publisher moved s3://{bucket}/{key} meanwhile; {publication.target_model} is stored and not "
            "current: publish it again if it should be"
        ) from error
