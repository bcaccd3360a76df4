"""The catalog: one small pointer object per tenant, which names the current model version.

catalog/m37.json: {"tenant": "m37", "version": "2027-09-14", "target_model": "m37/2027-09-14.tar.gz", ...}
A removed tenant's pointer has "removed_at" and no "target_model" until models gc deletes it.
"""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from tierfleet.runtime import aws_errors
from tierfleet.runtime.names import WORD_PATTERN, catalog_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


# It becomes a header of at most 1,024 characters (API reference, InvokeEndpoint).
_KEY_PART: Final = re.compile(r"[!-.0-~][ -.0-~]{0,900}")


class CatalogError(Exception):
    """A pointer is invalid. The message is one sentence that says why."""


class NoSuchModelError(CatalogError):
    """No model of this tenant has been published."""


@dataclass(frozen=True)
class Pointer:
    """A tenant's current model version."""

    tenant: str
    version: str

    target_model: str
    """The key below models/, which InvokeEndpoint takes as TargetModel."""


def read_pointer(s3: "S3Client", *, bucket: str, tenant: str) -> Pointer:
    """The tenant's current pointer.

    Raises NoSuchModelError if nothing is published or the tenant was removed. Raises CatalogError if the pointer is
    malformed or points outside the tenant's folder, since no caller may reach another tenant's model. Raises botocore's
    errors.
    """
    if not re.fullmatch(WORD_PATTERN, tenant):
        raise CatalogError(f"{tenant!r} is not a tenant id, allowed: {WORD_PATTERN}")
    key = catalog_key(tenant)
    where = f"s3://{bucket}/{key}"
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if aws_errors.classify(error).kind is aws_errors.Kind.MISSING_MODEL:
            raise NoSuchModelError(f"tenant {tenant} has no published model: no {where}") from error
        raise
    try:
        pointer = json.loads(content)
        if "removed_at" in pointer and "target_model" not in pointer and pointer.get("tenant", tenant) == tenant:
            raise NoSuchModelError(f"tenant {tenant} was removed at {str(pointer['removed_at'])[:40]}: {where}")
        named_tenant, version, target_model = pointer["tenant"], pointer["version"], pointer["target_model"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogError(f"{where} is malformed: {type(error).__name__}: {str(error)[:200]}") from error
    if named_tenant != tenant:
        raise CatalogError(f"{where} belongs to tenant {_shown(named_tenant)}")
    if not isinstance(version, str) or not version:
        raise CatalogError(f"{where} has version {_shown(version)}, allowed: a string")
    name = target_model.removeprefix(f"{tenant}/") if isinstance(target_model, str) else ""
    if name == target_model or name in {"", ".", ".."} or not _KEY_PART.fullmatch(name):
        raise CatalogError(f"{where} points to {_shown(target_model)}, allowed: {tenant}/<version>.tar.gz")
    return Pointer(tenant, version, target_model)


def is_published(s3: "S3Client", *, bucket: str, tenant: str) -> bool:
    """Whether the tenant has a pointer. Raises botocore's errors.

    It lists the key, because S3 answers 403 for a missing key to a reader that may not list the whole bucket.
    """
    key = catalog_key(tenant)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return any(item["Key"] == key for item in listed.get("Contents", []))


def _shown(value: object) -> str:
    """The start of a value of the pointer, for a message."""
    try:
        return repr(value)[:80]
    except (ValueError, RecursionError):
        # An int of more than 4,300 digits, or deep nesting.
        return f"a {type(value).__name__}"
