"""Artefacts in the bucket: `models/<tenant>/<version>.tar.gz`, each key written once, with its checksum."""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from tierfleet.runtime.names import MODELS_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Stored = Literal["uploaded", "already there"]
# One PutObject. Source: docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html
MAX_UPLOAD_BYTES = 5 * 1024**3
_CHECKSUM = "sha256"
_SOURCE = "source-sha256"
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404")
# One more request is cheap compared with an upload that is then refused.
_LOOK_FIRST_BYTES = 1_000_000
_BLOCK_BYTES = 1 << 20


class PublishError(Exception):
    """A model cannot be published; the message is one sentence that says why and what to do."""


class OtherBytesError(PublishError):
    """The version's key holds other bytes."""


@dataclass(frozen=True)
class StoredArtefact:
    """An artefact in the bucket."""

    sha256: str
    size_bytes: int
    source_sha256: str | None = None


def head(s3: "S3Client", bucket: str, target_model: str) -> StoredArtefact | None:
    """Checksum and size of an artefact, None if there is none. One without a recorded checksum is read."""
    key = MODELS_PREFIX + target_model
    try:
        reply = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return None
        raise
    recorded = reply["Metadata"].get(_CHECKSUM)
    sha256 = recorded or _read_sha256(s3, bucket, key)
    return StoredArtefact(sha256, reply["ContentLength"], reply["Metadata"].get(_SOURCE))


def store(
    s3: "S3Client",
    bucket: str,
    target_model: str,
    archive: bytes,
    *,
    expected: bool = False,
    source_sha256: str | None = None,
) -> Stored:
    """Upload an artefact under its key, or find the same bytes there; S3 checks the SHA-256 of what arrives.

    expected: it is probably there. source_sha256: of the file in `source/` that it was made from, recorded with it.
    Raises OtherBytesError if the key holds other bytes, else botocore's errors.
    """
    digest = hashlib.sha256(archive)
    for look in (expected or len(archive) >= _LOOK_FIRST_BYTES, True):
        if look and (there := head(s3, bucket, target_model)) is not None:
            if there.sha256 == digest.hexdigest():
                return "already there"
            raise OtherBytesError(
                f"s3://{bucket}/{MODELS_PREFIX}{target_model} exists with other bytes, and instances may have it in "
                "their caches; publish under a new version"
            )
        try:
            s3.put_object(
                Bucket=bucket,
                Key=MODELS_PREFIX + target_model,
                Body=archive,
                IfNoneMatch="*",
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                Metadata={_CHECKSUM: digest.hexdigest(), **({_SOURCE: source_sha256} if source_sha256 else {})},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in _TAKEN:
                raise
        else:
            return "uploaded"
    raise PublishError(
        f"s3://{bucket}/{MODELS_PREFIX}{target_model} appears and disappears; someone may be deleting it. Try again"
    )


def _read_sha256(s3: "S3Client", bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for block in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
