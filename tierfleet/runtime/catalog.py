"""The catalog: which version of a tenant's model is current, one small pointer object per tenant.

catalog/m37.json: {"tenant": "m37", "version": "2027-09-14", "target_model": "m37/2027-09-14.tar.gz", ...}
A removed tenant's pointer has "removed_at" and no "target_model" until models gc deletes it.
"""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tierfleet.runtime import errors
from tierfleet.runtime.names import WORD_PATTERN, catalog_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


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
        if errors.classify(error).kind is errors.Kind.MISSING_MODEL:
            raise NoSuchModelError(f"tenant {tenant} has no published model: no {where}") from error
        raise
    try:
        pointer = json.loads(content)
        if "removed_at" in pointer and "target_model" not in pointer:
            raise NoSuchModelError(f"tenant {tenant} was removed at {pointer['removed_at']}: {where}")
        named_tenant, version, target_model = pointer["tenant"], pointer["version"], pointer["target_model"]
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"{where} is malformed: {type(error).__name__}: {error}") from error
    if named_tenant != tenant:
        raise CatalogError(f"{where} is of tenant {named_tenant!r}")
    if not isinstance(target_model, str) or not re.fullmatch(f"{tenant}/[^/]+", target_model):
        raise CatalogError(f"{where} points to {target_model!r}, allowed: {tenant}/<version>.tar.gz")
    return Pointer(tenant, str(version), target_model)
