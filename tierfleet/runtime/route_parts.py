"""Parts of a route document that is too large to be hosted whole: objects of the model bucket, named by content.

A part is one section of the document as JSON. Its key contains the SHA-256 of its bytes, so a key never changes its
content, and a part is read only once.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.clients import LOOKUP_SECONDS
from tierfleet.runtime.names import ROUTES_PREFIX
from tierfleet.runtime.time_limit import time_limit

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

TENANTS: Final = "tenants"
WARM_UP: Final = "warm_up"
RESOURCE_TYPE: Final = "Custom::RouteParts"
KEY_PATTERN: Final = rf"{ROUTES_PREFIX}[0-9a-f]{{64}}\.json"
# Two for the current document and two for the last one.
_KEPT: Final = 4
_DENIED_ATTEMPTS: Final = 13
_DENIED_PAUSE_SECONDS: Final = 10.0
_THERE_ALREADY: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})

ReadPart = Callable[[str, str], bytes]
"""Takes bucket and key, returns the part's bytes; raises RoutePartError or botocore's errors."""


class RoutePartError(Exception):
    """A part does not match its key. The message is one sentence."""


def part_key(content: bytes) -> str:
    """The key of a part: `routes/<SHA-256>.json`."""
    return f"{ROUTES_PREFIX}{hashlib.sha256(content).hexdigest()}.json"


class PartReader:
    """Reads parts from S3 and caches the last ones. s3: makes the client, when the first part is read."""

    def __init__(self, s3: Callable[[], "S3Client"]) -> None:
        self._s3 = s3
        self._kept: dict[str, bytes] = {}

    def __call__(self, bucket: str, key: str) -> bytes:
        """The bytes of a part. Raises RoutePartError, and botocore's errors."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        with time_limit(LOOKUP_SECONDS):
            content = self._s3().get_object(Bucket=bucket, Key=key)["Body"].read()
        check_content(content, key, f"s3://{bucket}/{key}")
        self._kept = dict([*self._kept.items(), (key, content)][-_KEPT:])
        return content


def check_content(content: bytes, key: str, where: str) -> None:
    """Raises RoutePartError unless the content matches its key."""
    if not re.fullmatch(KEY_PATTERN, key) or part_key(content) != key:
        raise RoutePartError(f"{where} has {len(content)} bytes whose SHA-256 is not the one in its name")


def copy_parts(
    s3: "S3Client",
    *,
    bucket: str,
    parts: Sequence[Mapping[str, Any]],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Copy each part into the model bucket unless it exists there. Returns how many were copied.

    parts: as in the custom resource, {"Key", "SourceBucket", "SourceKey"}; the source is the deployment's asset.
    The same deployment grants the permission to read it, and IAM takes a while to spread, so "access denied" is retried
    for two minutes. Raises RoutePartError, and botocore's errors.
    """
    put = 0
    for part in parts:
        for attempt in range(_DENIED_ATTEMPTS):
            try:
                put += _copy(s3, bucket, part["Key"], {"Bucket": part["SourceBucket"], "Key": part["SourceKey"]})
                break
            except ClientError as error:
                if classify(error).kind is not Kind.DENIED or attempt == _DENIED_ATTEMPTS - 1:
                    raise
                sleep(_DENIED_PAUSE_SECONDS)
    return put


def _copy(s3: "S3Client", bucket: str, key: str, source: Mapping[str, str]) -> bool:
    """Whether it was copied, because it did not exist."""
    if _is_there(s3, bucket, key):
        # On a rollback to an older document its asset may no longer exist.
        return False
    content = s3.get_object(Bucket=source["Bucket"], Key=source["Key"])["Body"].read()
    check_content(content, key, f"s3://{source['Bucket']}/{source['Key']}")
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in _THERE_ALREADY:
            raise
        return False
    return True


def _is_there(s3: "S3Client", bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        # 403 for a missing key: the function may not list the bucket.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
            return False
        raise
    return True
