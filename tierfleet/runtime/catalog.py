"""The catalog: which version of a tenant's model is current, one small pointer object per tenant.

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


# It becomes a header's value, of at most 1,024 characters in all (API reference, InvokeEndpoint).
_KEY_PART: Final = re.compile(r"[!-.0-~][ -.0-~]{0,900}")


class CatalogError(Exception):
    """A pointer cannot be used; the message is one sentence that says why."""


class NoSuchModelError(CatalogError):
    """No model of this tenant has been published."""


@dataclass(frozen=True)
class Pointer:
    """target_model: the key under the models prefix, what InvokeEndpoint takes as TargetModel."""

    tenant: str
    version: str
    target_model: str


def read_pointer(s3: "S3Client", *, bucket: str, tenant: str) -> Pointer:
    """The tenant's current pointer.

    Raises NoSuchModelError if nothing is published or the tenant was removed, CatalogError if the pointer is malformed
    or points outside the tenant's own folder (no caller may reach another tenant's model), else botocore's errors.
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
        raise CatalogError(f"{where} is of tenant {_shown(named_tenant)}")
    if not isinstance(version, str) or not version:
        raise CatalogError(f"{where} has version {_shown(version)}, allowed: a text")
    name = target_model.removeprefix(f"{tenant}/") if isinstance(target_model, str) else ""
    if name == target_model or name in {"", ".", ".."} or not _KEY_PART.fullmatch(name):
        raise CatalogError(f"{where} points to {_shown(target_model)}, allowed: {tenant}/<version>.tar.gz")
    return Pointer(tenant, version, target_model)


def is_published(s3: "S3Client", *, bucket: str, tenant: str) -> bool:
    """Whether the tenant has a pointer, by a list of its one key: S3 answers a read of a missing key with 403 where
    the reader may not list the whole bucket. Raises botocore's errors."""
    key = catalog_key(tenant)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return any(item["Key"] == key for item in listed.get("Contents", []))


def _shown(value: object) -> str:
    """A value of the pointer for a person: its start, whatever it is."""
    try:
        return repr(value)[:80]
    except (ValueError, RecursionError):
        # An int of more than 4,300 digits; a list in a list in a list.
        return f"a {type(value).__name__}"
